//! What runs short, hangs, or is too much: disks, readers, descriptors, queues, rings, peers, clocks. The cluster goes
//! on, and says what it lacks.

mod clocks;
mod crowd;
mod descriptors;
mod disk;
mod output;
mod queue;
mod rings;

use std::{fs, path::PathBuf};

use anyhow::Result;
use heartbeat_tests::{Cluster, e2e::scene::patient, node::Node, skip::rig_runs};

/// Plays `story` with a patient cluster whose agents do not run yet, if the rig runs here.
fn unstarted(test: &str, story: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    if !rig_runs(test) {
        return Ok(());
    }
    Cluster::play(patient(), story)
}

/// A shell script that starts an agent: the binary is `$HEARTBEAT_BIN`, its arguments are `"$@"`.
fn launcher(node: &Node, script: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = node.dir().join("launcher");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    Ok(path)
}
