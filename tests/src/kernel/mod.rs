//! The BPF programs on the running kernel, one frame at a time, by `BPF_PROG_TEST_RUN`.
//!
//! [`Kernel`] loads the object and holds its maps, [`World`] is the state of those maps in
//! userspace, [`frames`] builds what is given to the programs and [`differential`] compares what
//! becomes of it with the functions in `heartbeat-common`. Nothing here attaches or pins anything:
//! all of it is gone with the process.

pub mod btf;
pub mod decode;
pub mod differential;
pub mod frames;
pub mod generate;
pub mod guard;
pub mod mutate;

mod counters;
mod programs;
mod rng;
mod senders;
mod world;

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result};

pub use programs::{Kernel, Responder, Run, Sizes};
pub use rng::Rng;
pub use senders::cookie_of;
pub use world::{Clock, IFINDEX, MAX_LEASE, OTHER_IFINDEX, OWN_ROW, Program, ROWS, World};

/// The variable with the path of the BPF object. `cargo xtask` sets it.
pub(crate) const OBJECT: &str = "HEARTBEAT_BPF_OBJECT";

/// The path of the BPF object.
pub fn object() -> Result<PathBuf> {
    let path = env::var_os(OBJECT).with_context(|| format!("{OBJECT} is not set"))?;
    Ok(path.into())
}

/// The programs, loaded with room for the rows of a [`World`].
pub fn open() -> Result<Kernel> {
    open_sized(Sizes::default())
}

/// As [`open`], with maps of other sizes.
pub fn open_sized(sizes: Sizes) -> Result<Kernel> {
    Kernel::load(&object()?, sizes)
}
