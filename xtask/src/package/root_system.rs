//! The test of the .deb in a Debian system of its own, which debootstrap makes below the target
//! directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{apt::Apt, process, root, workspace::Workspace};

/// The story, in the words of a shell.
const STORY: &str = "tests/fixtures/package/from-zero.sh";
const RELEASE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";
/// What the story needs beyond a minimal system: `ip` and `ping`.
const INCLUDED: &str = "iproute2,iputils-ping";

/// Installs `first` in three nodes, and upgrades one of them to `next` while it serves.
pub(super) fn test(workspace: &Workspace, first: &Path, next: &Path) -> Result<()> {
    let mut apt = Apt::find().context("the test of the package needs Debian's debootstrap")?;
    apt.ensure(&["debootstrap", "iproute2"])?;
    let system = system(workspace)?;
    let nodes = workspace.package().join("nodes");
    // The agents refuse a private mount namespace, so the story unmounts what it mounts.
    let mut story = root::command("sh", &[])?;
    story
        .arg(workspace.root.join(STORY))
        .args([&system, &nodes])
        .args([first, next]);
    process::run_shown(&mut story).context("the test of the package failed")
}

/// The minimal Debian system. It is made once.
fn system(workspace: &Workspace) -> Result<PathBuf> {
    let system = workspace.package().join("debian");
    if system.exists() {
        return Ok(system);
    }
    let partial = workspace.package().join("debian.partial");
    if partial.exists() {
        process::run(root::command("rm", &[])?.arg("-rf").arg(&partial))?;
    }
    fs::create_dir_all(workspace.package())?;
    eprintln!("package: making a Debian system by debootstrap (a minute or so)");
    let mut debootstrap: Command = root::command("debootstrap", &[])?;
    debootstrap
        .args(["--variant=minbase", &format!("--include={INCLUDED}")])
        .arg(RELEASE)
        .arg(&partial)
        .arg(MIRROR);
    process::run(&mut debootstrap).context("see whether Debian's mirror can be reached")?;
    process::run(root::command("mv", &[])?.args([&partial, &system]))?;
    Ok(system)
}
