//! A node as a machine of a product: its files, and the daemons that it runs over unpacked
//! packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

use super::World;
use crate::{agent::tail, e2e::Program, sandbox::Sandbox, wait::slowness};

/// The longest time for a command.
const COMMAND: Duration = Duration::from_secs(20);
/// Runs the rest of its arguments, with the output appended to the first.
const LOGGED: &str = r#"log=$1; shift; exec "$@" >>"$log" 2>&1"#;

/// A node with daemons. The drop order of the fields matters: the daemons first.
#[derive(Debug)]
pub(super) struct Machine {
    name: String,
    daemons: Vec<Program>,
    sandbox: Sandbox,
    dir: PathBuf,
}

impl Machine {
    /// Makes a machine of `node` over `tree`.
    pub(super) fn new(world: &World, node: &str, tree: &Path) -> Result<Self> {
        let dir = world.make_dir(node, "peer")?;
        Ok(Self {
            name: node.to_owned(),
            daemons: Vec::new(),
            sandbox: Sandbox::over(tree, &dir, node)?,
            dir,
        })
    }

    /// The directory of the product's files on this node.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the product, and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Runs a shell script to its end, and returns its output.
    pub(super) fn run(&self, world: &World, script: &str) -> Result<String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", script]);
        let ns = &world.cluster.node(&self.name)?.ns;
        let program = Program::start_in(Some(ns), Some(&self.sandbox), command)?;
        let ended = program.end(COMMAND * slowness())?;
        ended
            .success()
            .with_context(|| format!("on node {}", self.name))
    }

    /// Starts a daemon in the foreground. Its output is appended to the log `log`.
    pub(super) fn start(&mut self, world: &World, log: &str, daemon: &[&str]) -> Result<()> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LOGGED, "sh"])
            .arg(self.dir.join(log))
            .args(daemon);
        // Times in logs are read by this program.
        command.env("TZ", "UTC").env("LC_ALL", "C");
        let ns = &world.cluster.node(&self.name)?.ns;
        let program = Program::start_in(Some(ns), Some(&self.sandbox), command)?;
        self.daemons.push(program);
        Ok(())
    }

    /// Forgets the daemons, which have been killed.
    pub(super) fn forget(&mut self) {
        self.daemons.clear();
    }

    /// All processes of this machine, the oldest first.
    pub(super) fn pids(&self) -> Result<Vec<Pid>> {
        let all = self.sandbox.watch().started()?;
        Ok(all.into_iter().map(|one| one.pid).collect())
    }

    /// The text of a log; empty before its first line.
    pub(super) fn log(&self, name: &str) -> String {
        let text = fs::read(self.dir.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The last lines of a log, with a title.
    pub(super) fn tail(&self, name: &str) -> String {
        let text = tail(&self.dir.join(name), 25);
        format!("--- {name} of {}\n{text}\n", self.name)
    }
}

/// The machine of node `name`.
pub(super) fn find<'a>(machines: &'a [Machine], name: &str) -> Result<&'a Machine> {
    let found = machines.iter().find(|machine| machine.name == name);
    found.with_context(|| format!("there is no node {name}"))
}

/// The same, to change it.
pub(super) fn find_mut<'a>(machines: &'a mut [Machine], name: &str) -> Result<&'a mut Machine> {
    let found = machines.iter_mut().find(|machine| machine.name == name);
    found.with_context(|| format!("there is no node {name}"))
}
