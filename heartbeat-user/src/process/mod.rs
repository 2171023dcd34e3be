//! Programs and processes of the host: how a program runs, how it ends, which process is meant.
//!
//! This module knows neither resources nor checks, and takes no name from them. The
//! [`helper`](crate::helper) executes what stands here; resources, checks and hooks ask it to.

mod control_group;
mod ended;
mod group;
mod handle;
mod output;
mod program;
mod run;
pub mod runs;
mod setting;

pub use self::{
    ended::{Ended, Lingers},
    handle::{Process, StartTime, process_end, read_pidfile},
    program::{LAST_WORDS, Program, Registration, SAFE_PATH},
    run::{launch, run},
    setting::Setting,
};
pub(crate) use self::{
    group::signal as signal_group,
    group::{gone, members},
    handle::Stat,
};
