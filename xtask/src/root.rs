//! Runs the one program that needs root as root.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io::{IsTerminal, stdin},
    os::unix::process::CommandExt,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::process;

pub(crate) fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail, touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// A command that runs `program` as root, by sudo if necessary, with additional variables in
/// `environment`.
pub(crate) fn command(
    program: impl AsRef<OsStr>,
    environment: &[(&str, OsString)],
) -> Result<Command> {
    let program = program.as_ref();
    if is_root() {
        let mut command = Command::new(program);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        return Ok(command);
    }
    let Some(sudo) = process::find("sudo") else {
        bail!(
            "{} needs root, but we are not root and there is no sudo: run this as root",
            program.display()
        );
    };
    let mut command = Command::new(sudo);
    if !stdin().is_terminal() {
        // No user can type a password here, so this fails instead of waiting.
        command.arg("-n");
    }
    // The variables are set by env(1), since sudo clears the environment and may forbid to set it.
    command.args(["--", "env"]);
    for (name, value) in environment {
        let mut pair = OsString::from(name);
        pair.push("=");
        pair.push(value);
        command.arg(pair);
    }
    command.arg(program);
    Ok(command)
}

/// Replaces this process, so that signals and the exit status are the program's own.
pub(crate) fn exec(mut command: Command) -> Result<Infallible> {
    let error = command.exec();
    Err(error).with_context(|| format!("could not run {}", command.get_program().display()))
}
