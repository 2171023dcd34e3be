//! A process of a node, for health checks.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Result;

use super::{Program, SOON};
use crate::{node::Node, wait_until};

/// The file with its process id; in a configuration, `%DIR%/worker.pid`.
pub fn pidfile(node: &Node) -> PathBuf {
    node.dir().join("worker.pid")
}

/// Starts the process, and waits until its id is in the file. It ends when the returned value is
/// dropped.
pub fn start(node: &Node) -> Result<Program> {
    let pidfile = pidfile(node);
    let new = pidfile.with_extension("new");
    let script = format!(
        "echo $$ >{0} && mv {0} {1} && exec sleep 600",
        new.display(),
        pidfile.display()
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]).stderr(Stdio::null());
    let program = Program::start(None, command)?;
    wait_until(SOON, "the process says its number", || Ok(pidfile.exists()))?;
    Ok(program)
}
