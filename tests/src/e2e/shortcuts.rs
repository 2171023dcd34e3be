//! Shortcuts for what many tests do with a cluster.

use std::{
    env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_user::control::protocol::{Node as NodeStatus, Status};
use nix::ifaddrs::getifaddrs;

use super::{Ended, MILLISECOND, Program, SOON};
use crate::{
    Cluster, Options, agent::Agent, cluster::BINARY, netns::Namespace, node::Node, wait::slowness,
    wait_until,
};

/// The longest run of a command of the `heartbeat` binary.
const COMMAND: Duration = Duration::from_secs(20);

/// Three nodes with short deadlines that a busy machine can keep: hosts stand still for 30 ms now
/// and then, which must not look like a fault.
pub fn options() -> Options {
    Options {
        interval: 5 * MILLISECOND,
        timeout: 50 * MILLISECOND,
        agent_stall: 500 * MILLISECOND,
        lease: 100 * MILLISECOND,
        max_lease: 200 * MILLISECOND,
        ..Options::default()
    }
}

/// Three nodes with very short deadlines, for tests that measure takeovers, where one more does no
/// harm.
pub fn swift() -> Options {
    Options {
        timeout: 20 * MILLISECOND,
        lease: 30 * MILLISECOND,
        max_lease: 100 * MILLISECOND,
        ..options()
    }
}

/// Two agents, and a witness without one, with times for an emulated machine.
pub fn emulated() -> Options {
    let unit = MILLISECOND * slowness();
    Options {
        nodes: ["a", "b"].map(str::to_owned).to_vec(),
        witnesses: vec!["w".to_owned()],
        interval: 10 * unit,
        timeout: 60 * unit,
        agent_stall: 500 * unit,
        lease: 200 * unit,
        max_lease: 200 * unit,
        ..Options::default()
    }
}

/// The `heartbeat` binary with `args`, in an environment without settings of the user.
pub fn heartbeat(args: &[&str]) -> Result<Command> {
    let binary = env::var_os(BINARY).with_context(|| format!("{BINARY} is not set"))?;
    let mut command = Command::new(binary);
    command.args(args);
    for variable in ["HEARTBEAT_CONFIG", "HEARTBEAT_LOG", "NO_COLOR"] {
        command.env_remove(variable);
    }
    Ok(command)
}

impl Node {
    /// Runs `heartbeat ARGS --config FILE` here, with this node's file.
    pub fn heartbeat(&self, args: &[&str]) -> Result<Ended> {
        self.run(self.command(args)?)
    }

    /// Runs `command` on this node to its end.
    pub fn run(&self, command: Command) -> Result<Ended> {
        Program::start_in(Some(&self.ns), self.sandbox.as_ref(), command)?.end(COMMAND)
    }

    /// The command `heartbeat ARGS --config FILE`, not started yet.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = heartbeat(args)?;
        command.arg("--config").arg(self.config());
        Ok(command)
    }

    /// Runs a tool of the system in this namespace.
    pub fn tool<const N: usize>(&self, program: &str, args: [&str; N]) -> Result<String> {
        self.ns.tool(program, args)
    }

    /// Starts the agent by `launcher`, with the arguments of the binary.
    pub fn start_by(&mut self, launcher: &Path) -> Result<()> {
        self.agent = Some(Agent::start(
            launcher,
            &self.ns,
            self.sandbox.as_ref(),
            &self.config(),
            &self.log(),
        )?);
        Ok(())
    }

    /// Stops the agent in order, and returns whether it succeeded.
    pub fn stop(&mut self) -> Result<bool> {
        let status = self.agent()?.terminate(SOON)?;
        self.agent = None;
        Ok(status.success())
    }

    /// Forgets the agent, which has ended and been waited for.
    pub fn forget_agent(&mut self) {
        self.agent = None;
    }

    /// Replaces `old`, which must be in the configuration, by `new`.
    pub fn reconfigure(&self, old: &str, new: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())?;
        ensure!(text.contains(old), "no `{old}` in the configuration");
        Ok(fs::write(self.config(), text.replace(old, new))?)
    }

    /// The agent's log so far.
    pub fn logged(&self) -> Result<String> {
        Ok(fs::read_to_string(self.log())?)
    }

    /// The number of packets with this verdict, by the status.
    pub fn counter(&self, verdict: &str) -> Result<u64> {
        let status = self.control.status()?;
        let count = status.counters.get(verdict);
        count
            .copied()
            .with_context(|| format!("no counter {verdict} in {:?}", status.counters))
    }
}

/// Runs `test` with a cluster that is well, and shows the agents' logs if it fails.
pub fn with_cluster(options: Options, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let owner = options.nodes[0].clone();
    Cluster::run(options, |cluster| {
        cluster.start_agents()?;
        cluster.wait_well(SOON, &owner)?;
        test(cluster)
    })
}

/// Starts all agents of a cluster without witnesses, and waits until all is well. A shell script
/// starts the first one: the binary is `$HEARTBEAT_BIN`.
pub fn start_first_by(cluster: &mut Cluster, script: &str) -> Result<()> {
    let launcher = cluster.dir().join("launcher");
    fs::write(&launcher, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&launcher, fs::Permissions::from_mode(0o700))?;
    let names: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| node.name.clone())
        .collect();
    let [first, others @ ..] = &names[..] else {
        return Ok(());
    };
    cluster.node_mut(first)?.start_by(&launcher)?;
    for name in others {
        cluster.start_agent(name)?;
    }
    cluster.wait_well(SOON, first)
}

/// Waits until the agent's log has `part`. Another thread writes the log, a little after the event.
pub fn wait_logged(node: &Node, part: &str) -> Result<()> {
    wait_until(SOON, &format!("`{part}` in the log"), || {
        Ok(node.logged()?.contains(part))
    })
}

/// Waits until the agent of `node` gives a status that is as `wanted`.
pub fn wait_status(node: &Node, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<()> {
    let mut last = None;
    wait_until(SOON * slowness(), &format!("{}: {what}", node.name), || {
        let status = node.control.status();
        let good = status.as_ref().is_ok_and(&wanted);
        last = Some(status);
        Ok(good)
    })
    .with_context(|| format!("the last answer was {last:#?}"))
}

/// Waits until `name` alone has the virtual address on an interface; `None` means no node.
pub fn wait_holder(cluster: &Cluster, name: Option<&str>) -> Result<()> {
    let mut holders = Vec::new();
    wait_until(
        SOON * slowness(),
        &format!("{name:?} alone has the address"),
        || {
            holders = cluster.holders()?;
            Ok(holders.iter().copied().eq(name))
        },
    )
    .with_context(|| format!("the last holders were {holders:?}"))
}

/// The state of node `name` in `status`.
pub fn node_in<'a>(status: &'a Status, name: &str) -> Result<&'a NodeStatus> {
    let node = status.nodes.iter().find(|node| node.name == name);
    node.with_context(|| format!("no node {name} in {status:?}"))
}

impl Namespace {
    /// Runs a tool of the system in this namespace.
    pub fn tool<const N: usize>(&self, program: &str, args: [&str; N]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(args);
        Program::run(Some(self), command, COMMAND)?.success()
    }

    /// The Ethernet address of an interface in this namespace, as `ip link` prints it.
    pub fn mac(&self, interface: &str) -> Result<Option<String>> {
        let mac = self.mac_address(interface)?;
        Ok(mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")))
    }

    /// The Ethernet address of an interface in this namespace.
    pub fn mac_address(&self, interface: &str) -> Result<Option<[u8; 6]>> {
        let all: Vec<_> = self.enter(|| Ok(getifaddrs()?.collect()))?;
        let mut macs = all
            .into_iter()
            .filter(|entry| entry.interface_name == interface);
        Ok(macs.find_map(|entry| entry.address?.as_link_addr()?.addr()))
    }
}
