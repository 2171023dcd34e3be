//! A cluster in namespaces, with faults that can be injected and healed.

use std::{
    env,
    net::IpAddr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_user::{control::protocol::Status, dataplane::pins::mount_bpffs};
use nix::sys::signal::Signal;

use crate::{
    agent::{Agent, tail},
    client::Client,
    config::{CLIENT, Family, Shared, host, interface},
    interrupt,
    netns::Namespace,
    node::{Node, join},
    relay::Relay,
    switch::{Switch, Way},
    wait::{slowness, wait_until},
    workdir::{WorkDir, sweep},
};

/// The variable with the path of the `heartbeat` binary. `cargo xtask` sets it.
pub const BINARY: &str = "HEARTBEAT_BIN";
/// The variable with the path of the rig's own BPF object. `cargo xtask` sets it.
pub const OBJECT: &str = "HEARTBEAT_RIG_OBJECT";

/// The longest start of an agent.
const START: Duration = Duration::from_secs(20);
/// The number of log lines of each agent that are shown after a failure.
const LOG_LINES: usize = 40;

/// The description of a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members by rank; ids are 1, 2, 3, ...
    pub nodes: Vec<String>,
    /// Nodes whose kernels only vote, without an agent. Their ids follow.
    pub witnesses: Vec<String>,
    /// Separate networks that connect the nodes; the client and the virtual address are on the
    /// first.
    pub links: usize,
    /// The VLAN of the first network: its interfaces are VLAN interfaces on top of the plugged
    /// ones. Not every kernel has them.
    pub vlan: Option<u16>,
    pub family: Family,
    pub interval: Duration,
    pub timeout: Duration,
    pub agent_stall: Duration,
    pub lease: Duration,
    /// The longest lease that acceptors grant. A freshly loaded acceptor abstains as long.
    pub max_lease: Duration,
    /// TOML of the groups, instead of the one address `service`. The groups must serve that
    /// address, too.
    pub groups: Option<String>,
    /// TOML that is appended to each configuration file. `%NODE%` and `%DIR%` in it stand for the
    /// node's name and directory.
    pub extra: String,
    /// A program that starts agents in the place of the binary, with the same arguments.
    pub launcher: Option<PathBuf>,
    /// Whether the work directory with the logs stays.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            witnesses: Vec::new(),
            links: 1,
            vlan: None,
            family: Family::V4,
            interval: Duration::from_millis(1),
            timeout: Duration::from_millis(3),
            agent_stall: Duration::from_millis(200),
            lease: Duration::from_millis(5),
            max_lease: Duration::from_millis(50),
            groups: None,
            extra: String::new(),
            launcher: None,
            keep: false,
        }
    }
}

/// A fault of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// All its links lose their carrier.
    Cut,
    /// The switch stops forwarding for it; the carrier stays.
    Silent,
    /// No frame reaches the node, but its own frames arrive.
    Deaf,
    /// No frame of the node arrives, but frames reach it.
    Mute,
    /// The agent of the node is killed.
    Kill,
    /// The agent of the node is stopped, as by a debugger.
    Stop,
}

/// A cluster. All that it made is removed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    client: Namespace,
    switch: Switch,
    shared: Shared,
    binary: PathBuf,
    dir: WorkDir,
}

impl Cluster {
    /// Builds network, services and configuration files. No agent runs yet.
    pub fn new(options: Options) -> Result<Self> {
        interrupt::install();
        sweep();
        // The file system is mounted here, since a mount inside a sandbox is invisible outside.
        mount_bpffs()?;
        let binary = match options.launcher {
            Some(launcher) => launcher,
            None => from_env(BINARY)?,
        };
        let mut switch = Switch::new(options.links, &from_env(OBJECT)?)?;
        let dir = WorkDir::new(options.keep)?;
        let shared = Shared {
            cluster: "rig".to_owned(),
            nodes: options.nodes,
            witnesses: options.witnesses,
            links: options.links,
            vlan: options.vlan,
            family: options.family,
            interval: options.interval,
            timeout: options.timeout,
            agent_stall: options.agent_stall,
            lease: options.lease,
            max_lease: options.max_lease,
            settings: String::new(),
            groups: options.groups,
            extra: options.extra,
        };
        let client = Namespace::new("client")?;
        switch.plug(&client, &interface(0), 0, "client")?;
        join(&client, &shared, 0, CLIENT)?;
        let nodes = (0..shared.names().count())
            .map(|index| Node::new(index, &shared, &mut switch, &dir))
            .collect::<Result<_>>()?;
        Ok(Self {
            nodes,
            client,
            switch,
            shared,
            binary,
            dir,
        })
    }

    /// Builds a cluster for `test`, and shows the agents' logs if `test` fails.
    pub fn run(options: Options, test: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut cluster = Self::new(options)?;
        test(&mut cluster).inspect_err(|_| eprintln!("{}", cluster.logs(LOG_LINES)))
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| no_such(name))
    }

    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes
            .iter_mut()
            .find(|node| node.name == name)
            .with_context(|| no_such(name))
    }

    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    pub fn client_namespace(&self) -> &Namespace {
        &self.client
    }

    pub fn vip(&self) -> IpAddr {
        self.shared.family.vip()
    }

    /// The length of a lease.
    pub fn lease(&self) -> Duration {
        self.shared.lease
    }

    /// The directory of logs, keys and configuration files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a client that sends a request to the virtual address each `period`.
    pub fn client(&self, period: Duration) -> Result<Client> {
        Client::start(&self.client, self.vip(), period)
    }

    pub fn start_agent(&mut self, name: &str) -> Result<()> {
        let binary = self.binary.clone();
        let node = self.node_mut(name)?;
        let agent = Agent::start(
            &binary,
            &node.ns,
            node.sandbox.as_ref(),
            &node.config(),
            &node.log(),
        )?;
        node.agent = Some(agent);
        Ok(())
    }

    /// Loads the witnesses, and starts the agents one after the other, so that the first one runs
    /// before a lease can be granted.
    pub fn start_agents(&mut self) -> Result<()> {
        for witness in &self.shared.witnesses {
            let interface = self.shared.interface(0);
            self.node(witness)?.load_witness(&self.binary, &interface)?;
        }
        for name in self.shared.nodes.clone() {
            self.start_agent(&name)?;
            wait_until(
                START * slowness(),
                &format!("the agent of {name} runs"),
                || {
                    self.check_agents()?;
                    Ok(self.node(&name)?.control.status().is_ok())
                },
            )?;
        }
        Ok(())
    }

    /// Fails if an agent that should run has ended.
    pub fn check_agents(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Some(agent) = &mut node.agent {
                agent
                    .check()
                    .with_context(|| format!("node {}", node.name))?;
            }
        }
        Ok(())
    }

    /// Waits until every node sees every node up, and `owner` alone serves the virtual address.
    pub fn wait_well(&mut self, deadline: Duration, owner: &str) -> Result<()> {
        let mut reason = String::new();
        let what = format!("all nodes are up and {owner} serves {}", self.vip());
        let waited = wait_until(deadline, &what, || {
            reason = self.complaints(owner)?;
            Ok(reason.is_empty())
        });
        waited.map_err(|error| match reason.as_str() {
            "" => error,
            reason => error.context(format!("the cluster is not well:{reason}\n")),
        })
    }

    /// The reasons why the cluster is not well, that is, why not every node sees every node up and
    /// `owner` alone serve. Empty if it is.
    pub fn complaints(&mut self, owner: &str) -> Result<String> {
        self.check_agents()?;
        let mut reason = String::new();
        for node in &self.nodes[..self.shared.nodes.len()] {
            match node.control.status() {
                Ok(status) => reason.push_str(&unwell(&status, self.nodes.len(), owner)),
                Err(error) => reason.push_str(&format!("\n  {}: {error:#}", node.name)),
            }
        }
        Ok(reason)
    }

    /// Injects `fault` at node `name`.
    pub fn inject(&mut self, name: &str, fault: Fault) -> Result<()> {
        match fault {
            Fault::Cut => self.each_port(name, |switch, port| switch.set_port_up(port, false)),
            Fault::Silent => {
                self.each_port(name, |switch, port| switch.set_port_forwarding(port, false))
            }
            Fault::Deaf => self.each_port(name, |switch, port| {
                switch.set_port_blocked(port, Way::ToNode, true)
            }),
            Fault::Mute => self.each_port(name, |switch, port| {
                switch.set_port_blocked(port, Way::FromNode, true)
            }),
            Fault::Kill => {
                let node = self.node_mut(name)?;
                node.agent()?.kill()?;
                node.agent = None;
                Ok(())
            }
            Fault::Stop => self.node_mut(name)?.agent()?.signal(Signal::SIGSTOP),
        }
    }

    /// Undoes what [`Cluster::inject`] did.
    pub fn heal(&mut self, name: &str, fault: Fault) -> Result<()> {
        match fault {
            Fault::Cut => self.each_port(name, |switch, port| switch.set_port_up(port, true)),
            Fault::Silent => {
                self.each_port(name, |switch, port| switch.set_port_forwarding(port, true))
            }
            Fault::Deaf => self.each_port(name, |switch, port| {
                switch.set_port_blocked(port, Way::ToNode, false)
            }),
            Fault::Mute => self.each_port(name, |switch, port| {
                switch.set_port_blocked(port, Way::FromNode, false)
            }),
            Fault::Kill => self.start_agent(name),
            Fault::Stop => self.node_mut(name)?.agent()?.signal(Signal::SIGCONT),
        }
    }

    /// Puts a relay in front of the first interface of `name`, which can delay its incoming frames.
    /// Faults of the node's port do not work with it.
    pub fn slow_down(&self, name: &str) -> Result<Relay> {
        let ports = &self.node(name)?.ports;
        let port = ports.first().with_context(|| no_such(name))?;
        self.switch.slow_down(port, 0)
    }

    /// Takes the carrier from the port of `name` in network `link`, or gives it back.
    pub fn set_carrier(&self, name: &str, link: usize, up: bool) -> Result<()> {
        self.switch.set_port_up(&self.node(name)?.ports[link], up)
    }

    /// Stops or resumes forwarding for `name` in network `link`. The carrier stays.
    pub fn set_forwarding(&self, name: &str, link: usize, forwards: bool) -> Result<()> {
        let port = &self.node(name)?.ports[link];
        self.switch.set_port_forwarding(port, forwards)
    }

    /// Plugs `interface`, made in `ns`, into network `link`.
    pub fn plug(&mut self, ns: &Namespace, interface: &str, link: usize) -> Result<()> {
        let port = format!("port-{interface}");
        self.switch.plug(ns, interface, link, &port)
    }

    /// Makes the interface of `name` on network `link` anew, with its addresses, after it was
    /// deleted.
    pub fn plug_anew(&mut self, name: &str, link: usize) -> Result<()> {
        let index = self.index(name)?;
        let (node, interface) = (&self.nodes[index], interface(link));
        self.switch
            .plug(&node.ns, &interface, link, &node.ports[link])?;
        join(&node.ns, &self.shared, link, host(index))
    }

    /// Plugs in two network cards of this machine that are connected outside: `card` becomes the
    /// node's interface, `far` the switch's port.
    pub fn plug_cards(&mut self, name: &str, link: usize, [card, far]: [&str; 2]) -> Result<()> {
        let index = self.index(name)?;
        let (node, interface) = (&self.nodes[index], interface(link));
        node.ns.take(card, &interface)?;
        node.ns.set_up(&interface, true)?;
        self.switch.plug_card(far, link, &node.ports[link])?;
        join(&node.ns, &self.shared, link, host(index))
    }

    fn index(&self, name: &str) -> Result<usize> {
        let index = self.nodes.iter().position(|node| node.name == name);
        index.with_context(|| no_such(name))
    }

    /// The nodes that have the virtual address on an interface, whatever their agents say.
    pub fn holders(&self) -> Result<Vec<&str>> {
        let mut holders = Vec::new();
        for node in &self.nodes {
            if node
                .ns
                .addresses()?
                .iter()
                .any(|(_, address)| *address == self.vip())
            {
                holders.push(node.name.as_str());
            }
        }
        Ok(holders)
    }

    /// The last `lines` lines of every agent's log.
    pub fn logs(&self, lines: usize) -> String {
        let logs = self
            .nodes
            .iter()
            .map(|node| (&node.name, tail(&node.log(), lines)));
        logs.map(|(name, text)| format!("--- log of {name}\n{text}\n"))
            .collect()
    }

    fn each_port(
        &mut self,
        name: &str,
        act: impl Fn(&mut Switch, &str) -> Result<()>,
    ) -> Result<()> {
        let ports = self.node(name)?.ports.clone();
        ports
            .iter()
            .try_for_each(|port| act(&mut self.switch, port))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.logs(LOG_LINES));
        }
    }
}

/// The faults of a cluster, as `status` has them; empty if all is well.
fn unwell(status: &Status, nodes: usize, owner: &str) -> String {
    let mut reasons = Vec::new();
    if status.state != "active" {
        reasons.push(format!("its agent is {}", status.state));
    }
    if !status.quorum.quorate || status.quorum.alive != nodes {
        reasons.push(format!(
            "{} of {nodes} nodes are alive",
            status.quorum.alive
        ));
    }
    for node in status
        .nodes
        .iter()
        .filter(|node| !node.local && node.state != "up")
    {
        reasons.push(format!("{} is {}", node.name, node.state));
    }
    for vip in &status.vips {
        if vip.owner.as_deref() != Some(owner) || vip.held != (status.node == owner) {
            let owner = vip.owner.as_deref().unwrap_or("nobody");
            reasons.push(format!(
                "{} belongs to {owner}, held here: {}",
                vip.name, vip.held
            ));
        }
    }
    if reasons.is_empty() {
        return String::new();
    }
    format!("\n  {}: {}", status.node, reasons.join(", "))
}

/// The path in the variable `name`.
pub(crate) fn from_env(name: &str) -> Result<PathBuf> {
    match env::var_os(name) {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => bail!("{name} is not set: run this through `cargo xtask`"),
    }
}

fn no_such(name: &str) -> String {
    format!("there is no node {name}")
}
