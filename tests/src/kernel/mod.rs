//! The BPF programs on the running kernel, one frame at a time, by `BPF_PROG_TEST_RUN`.
//!
//! [`Kernel`] loads the object and holds its maps, [`World`] is the state of those maps in userspace,
//! [`frames`] builds what is given to the programs and [`differential`] compares what becomes of it
//! with the functions in `heartbeat-common`. Nothing here attaches or pins anything: all of it is
//! gone with the process.

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

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use nix::unistd::Uid;

pub use programs::{Kernel, Responder, Run, Sizes};
pub use rng::Rng;
pub use senders::cookie_of;
pub use world::{IFINDEX, MAX_LEASE, OTHER_IFINDEX, OWN_ROW, Program, ROWS, World};

/// The variable that says where the BPF object is.
const OBJECT: &str = "HEARTBEAT_BPF_OBJECT";

/// The BPF object that the test is about; `None` after saying why `test` is skipped.
pub fn object(test: &str) -> Option<PathBuf> {
    let path = env::var_os(OBJECT).map(PathBuf::from);
    if path.is_none() {
        skip(test, "no BPF object, run: cargo xtask test");
    }
    path
}

/// The programs, loaded with room for the rows of a [`World`]; `None` after saying why `test` is skipped.
pub fn open(test: &str) -> Result<Option<Kernel>> {
    open_sized(test, Sizes::default())
}

/// As [`open`], with maps of other sizes.
pub fn open_sized(test: &str, sizes: Sizes) -> Result<Option<Kernel>> {
    loadable(test)
        .map(|object| Kernel::load(&object, sizes))
        .transpose()
}

/// As [`object`], but `None` as well if the programs in it cannot be loaded by this user.
pub fn loadable(test: &str) -> Option<PathBuf> {
    let object = object(test)?;
    if !Uid::effective().is_root() {
        skip(
            test,
            "loading BPF programs needs root, run: cargo xtask test",
        );
        return None;
    }
    Some(object)
}

/// Says that `test` is skipped, and why.
///
/// Not by `eprintln!`, which the test harness holds back for a test that passes.
pub fn skip(test: &str, reason: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr(), "SKIP {test}: {reason}");
}
