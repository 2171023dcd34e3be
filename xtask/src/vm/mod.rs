//! `cargo xtask test --vm`: the tests that must pass on every kernel, on older ones, in QEMU. And
//! `cargo xtask test --vm-cluster`: a cluster of virtual machines.
//!
//! The kernels are Debian's, downloaded and unpacked below the target directory, never installed;
//! so is QEMU, if it is missing. Each kernel boots with one initramfs that contains everything: the
//! agent, test programs, the libraries of both, busybox. The CPU is emulated, so times mean nothing
//! there, but results do.

mod cluster;
mod image;
mod packages;
mod qemu;

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use anyhow::Result;

pub(crate) use self::cluster::Options as ClusterOptions;
use self::packages::Series;
use crate::{
    cargo::{self, Profile},
    launch::Built,
    setup::{self, Verbosity},
    tally::Tally,
    workspace::Workspace,
};

/// The test programs that run in QEMU, and their selected tests: each behaviour that may differ
/// between kernels, once. Each test loads the programs anew, which takes an emulated verifier
/// seconds.
const PROGRAMS: [(&str, &str); 8] = [
    ("kernel", "verifier_cost::"),
    ("interfaces", "--ignored cards::"),
    ("interfaces", "--ignored vlans::"),
    ("kernel", "any_kernel::"),
    (
        "kernel",
        "verdicts::each_verdict_is_met verdicts::loopback::own_vote_is",
    ),
    ("kernel", "guard::random_frames_meet"),
    ("kernel", "timer::silence_is_reported"),
    ("kernel", "differential::arriving_frames"),
];

/// The kernels of `test --vm`.
const KERNELS: [Series; 2] = [packages::OLD, packages::NEW];
/// The kernels of `test --vm-cluster`. Its nodes have the first two, and one story of the long form
/// has the third.
const CLUSTER_KERNELS: [Series; 3] = [packages::OLD, packages::NEW, packages::REAL_TIME];

/// Downloads the missing packages.
pub(crate) fn setup(workspace: &Workspace, verbosity: Verbosity) -> Result<()> {
    setup::rig_tools(verbosity)?;
    packages::provide(workspace, &CLUSTER_KERNELS, verbosity).map(drop)
}

/// Runs the tests under each kernel.
pub(crate) fn test(workspace: &Workspace) -> Result<Tally> {
    setup::rig_tools(Verbosity::Changes)?;
    let packages = packages::provide(workspace, &KERNELS, Verbosity::Changes)?;
    let built = Built::new(workspace, Profile::Debug)?;
    let image = image::make(workspace, &packages, &built, &programs(workspace)?)?;
    let mut total = Tally::default();
    for kernel in &packages.kernels {
        eprintln!("\nLinux {} in QEMU", kernel.release);
        total += qemu::run(&packages.qemu, kernel, &image)?;
    }
    Ok(total)
}

/// The command that runs the tests of a cluster of virtual machines.
pub(crate) fn cluster(workspace: &Workspace, options: ClusterOptions<'_>) -> Result<Command> {
    setup::rig_tools(Verbosity::Changes)?;
    let kernels = match options.short {
        true => &CLUSTER_KERNELS[..2],
        false => &CLUSTER_KERNELS[..],
    };
    let packages = packages::provide(workspace, kernels, Verbosity::Changes)?;
    cluster::command(workspace, &packages, options)
}

/// Builds the test programs, and returns each with its name.
fn programs(workspace: &Workspace) -> Result<Vec<(String, PathBuf)>> {
    let mut compile = cargo::command(workspace);
    compile.args(["test", "--package", "heartbeat-tests", "--no-run"]);
    for name in PROGRAMS
        .map(|(name, _)| name)
        .iter()
        .collect::<BTreeSet<_>>()
    {
        compile.args(["--test", name]);
    }
    let built = cargo::build(&mut compile)?;
    let tests = built.into_iter().filter(|program| program.is_test);
    Ok(tests.map(|program| (program.name, program.path)).collect())
}
