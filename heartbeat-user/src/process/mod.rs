//! Programs and processes of the host: starting, ending and identifying them.
//!
//! This module refers neither to resources nor to checks. The [`helper`](crate::helper) executes
//! its functions on behalf of resources, checks and hooks.

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
    program::{KEEP_BYTES, Program, Registration, SAFE_PATH},
    run::{launch, run},
    setting::Setting,
};
pub(crate) use self::{
    group::signal as signal_group,
    group::{gone, members},
    handle::Stat,
};
