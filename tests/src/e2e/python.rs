//! Scripts in `fixtures/` that make and read frames with scapy. They share no code with this code
//! base.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::Program;
use crate::netns::Namespace;

/// The distribution's, which sees the distribution's packages.
const PYTHON: &str = "/usr/bin/python3";
/// Importing scapy takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The reason why scapy cannot be used here.
pub fn scapy_missing() -> Option<String> {
    let check = "import importlib.util as u, sys; sys.exit(u.find_spec('scapy') is None)";
    let mut command = Command::new(PYTHON);
    command.args(["-c", check]);
    let found = Program::run(None, command, PATIENCE);
    let there = found.is_ok_and(|ended| ended.status.success());
    (!there).then(|| format!("no scapy for {PYTHON}, install python3-scapy"))
}

/// A script that reads commands: a line each, answered by a line.
#[derive(Debug)]
pub struct Script {
    program: Program,
    answers: usize,
}

impl Script {
    /// Starts `fixtures/NAME` in `ns` and waits until it is ready.
    pub fn start(ns: &Namespace, name: &str, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(PYTHON);
        // The option keeps Python from writing compiled files beside the sources.
        command.arg("-B").arg(fixture(name)?).args(args);
        let mut script = Self {
            program: Program::start(Some(ns), command)?,
            answers: 0,
        };
        let said = script.answer()?;
        ensure!(said == "ready", "{name} began with `{said}`");
        Ok(script)
    }

    /// Sends a command, and waits until it is done.
    pub fn order(&mut self, order: &str) -> Result<String> {
        self.program.say(order)?;
        self.answer()
    }

    /// Sends a command that goes on until the next one.
    pub fn begin(&mut self, order: &str) -> Result<()> {
        self.program.say(order)
    }

    /// Sends a command whose answer is a number.
    pub fn count(&mut self, order: &str) -> Result<u64> {
        let answer = self.order(order)?;
        let number = answer.parse();
        number.with_context(|| format!("`{order}` was answered by `{answer}`"))
    }

    /// The error output so far.
    pub fn err(&self) -> String {
        self.program.err()
    }

    fn answer(&mut self) -> Result<String> {
        self.answers += 1;
        self.program.line(self.answers, PATIENCE)
    }
}

fn fixture(name: &str) -> Result<PathBuf> {
    // Set by cargo, and by `cargo xtask` for programs that run as root.
    let package = env::var_os("CARGO_MANIFEST_DIR");
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let path = Path::new(&package).join("fixtures").join(name);
    ensure!(path.exists(), "there is no {}", path.display());
    Ok(path)
}
