//! One node of a cluster: its namespace, its service, its files, and perhaps its agent.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    agent::Agent,
    config::{Family, Shared, host, interface},
    control::Control,
    e2e::Program,
    netns::Namespace,
    sandbox::Sandbox,
    service::Service,
    switch::Switch,
    wait::slowness,
    workdir::{Pins, WorkDir, make_dir},
};

/// The key of all clusters of the rig. It protects nothing.
const KEY: &str = "1 000102030405060708090a0b0c0d0e0f";

/// The longest time for loading the responder.
const LOAD: Duration = Duration::from_secs(20);

/// A node. The drop order of its fields matters: processes first, the namespace last.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub control: Control,
    pub(crate) agent: Option<Agent>,
    pub(crate) sandbox: Option<Sandbox>,
    _service: Service,
    pub pins: Pins,
    pub ns: Namespace,
    /// The switch's ports to this node, one per link.
    pub(crate) ports: Vec<String>,
    dir: PathBuf,
}

impl Node {
    /// Builds node number `index`, plugged in and serving, with its files in place.
    pub(crate) fn new(
        index: usize,
        shared: &Shared,
        switch: &mut Switch,
        dir: &WorkDir,
    ) -> Result<Self> {
        let name = shared.names().nth(index).context("no such node")?.clone();
        let ns = Namespace::new(&name)?;
        let mut ports = Vec::new();
        for link in 0..shared.links {
            let interface = interface(link);
            let port = format!("{name}-{interface}");
            switch.plug(&ns, &interface, link, &port)?;
            ports.push(port);
            join(&ns, shared, link, host(index))?;
        }
        let instance = dir.instance(&name);
        let dir = dir.path().join(&name);
        make_dir(&dir)?;
        make_dir(&dir.join("run"))?;
        make_dir(&dir.join("state"))?;
        let node = Self {
            control: Control::new(dir.join("run").join(format!("{instance}.sock"))),
            agent: None,
            sandbox: None,
            _service: Service::start(&ns, &name)?,
            pins: Pins::new(&instance),
            ns,
            ports,
            dir,
            name,
        };
        fs::write(node.config(), shared.file(&node.name, &instance, &node.dir))?;
        let mut key = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(node.key())?;
        writeln!(key, "{KEY}")?;
        Ok(node)
    }

    /// Runs the agent and commands of this node in `sandbox` from now on.
    pub fn set_sandbox(&mut self, sandbox: Sandbox) {
        self.sandbox = Some(sandbox);
    }

    pub fn sandbox(&self) -> Result<&Sandbox> {
        let sandbox = self.sandbox.as_ref();
        sandbox.with_context(|| format!("{} is not enclosed", self.name))
    }

    /// The directory of the node's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("agent.log")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("heartbeat.toml")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// Makes a witness of this node: leaves the responder on `interface`.
    pub(crate) fn load_witness(&self, binary: &Path, interface: &str) -> Result<()> {
        let mut load = Command::new(binary);
        load.args(["load", "--iface", interface, "--config"]);
        load.arg(self.config());
        let ended = Program::run(Some(&self.ns), load, LOAD * slowness())?;
        ended
            .success()
            .map(drop)
            .with_context(|| format!("cannot make a witness of {}", self.name))
    }

    /// The running agent.
    pub fn agent(&mut self) -> Result<&mut Agent> {
        self.agent
            .as_mut()
            .with_context(|| format!("{} runs no agent", self.name))
    }
}

/// Configures `ns` as host number `host` of network `link`: adds the VLAN interface, if there is
/// one, and the addresses.
pub(crate) fn join(ns: &Namespace, shared: &Shared, link: usize, host: u8) -> Result<()> {
    let top = shared.interface(link);
    if let Some(id) = shared.vlan(link) {
        ns.add_vlan(&interface(link), &top, id)?;
    }
    let mut families = Family::ALL.iter();
    families.try_for_each(|family| {
        ns.add_address(&top, family.address(link, host), family.prefix_len())
    })
}
