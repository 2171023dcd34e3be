//! The readers of values: each knows one type, its range, how the file writes it, and the words for
//! it in messages and documents.

mod amounts;
mod command;
mod limits;
mod list;
mod number;
mod pairs;
mod score;
mod text;
mod time;
mod word;

pub(super) use amounts::{Amounts, unplaced_amounts};
pub(super) use command::Command;
pub(super) use limits::Limits;
pub(super) use list::{List, OneOrMore, unplaced};
pub(super) use number::{COUNT, Flag, Number, PER_MILLE, PPM, number};
pub(super) use pairs::Pairs;
pub(super) use score::Points;
pub(super) use text::{Text, Written, text};
pub(super) use time::{Time, TimeOrNever};
pub(super) use word::Word;
