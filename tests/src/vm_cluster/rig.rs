//! A whole cluster of virtual machines, its clients and its capture.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::time::Boottime;

use super::{
    answers::Clients,
    capture::Capture,
    machine::{Kernel, Qemu},
    network::Network,
    node::Node,
    setup::{Cards, LEASE, NODES, Setup},
};
use crate::{sys, wait::observe, wait_until};

/// The hardware clocks of the nodes.
const CLOCKS: [&str; 3] = [
    "2020-02-02T00:00:00",
    "2030-03-03T00:00:00",
    "2026-06-06T00:00:00",
];
/// The kernel of each node, as an index of the given ones.
const KERNELS: [usize; 3] = [0, 1, 0];
/// The kernel with `PREEMPT_RT`.
const REAL_TIME: usize = 2;
/// The time between the starts of two machines, so that their boot times differ.
const STAGGER: Duration = Duration::from_secs(3);
/// The longest time until all nodes vote after a start of their agents.
const SETTLE: Duration = Duration::from_secs(90);
/// The time for which one node alone must have answered to count as the owner.
pub(super) const ALONE: Duration = Duration::from_millis(400);
/// The longest takeover: the lease, and one second for an emulated machine.
pub(super) const TAKEOVER: Duration = LEASE.saturating_add(Duration::from_secs(1));

/// A cluster. The order of the fields is that of their end: machines before their network.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Clients,
    pub(super) capture: Capture,
    pub(super) network: Network,
    pub(super) qemu: Qemu,
    pub(super) setup: Setup,
    /// The kernel with `PREEMPT_RT`, which no node runs by default.
    pub(super) real_time: Option<Kernel>,
    /// Whether the image has an older agent.
    pub(super) upgrade: bool,
    /// Measured values of the running story.
    pub(super) notes: Vec<String>,
}

impl Rig {
    /// Builds the network and the disks, and boots all nodes. Their agents run when this returns.
    pub(super) fn new(
        qemu: &Qemu,
        kernels: &[Kernel],
        object: &Path,
        directory: &Path,
    ) -> Result<Self> {
        let ids: Vec<_> = (1..=NODES.len() as u8).collect();
        let mut network = Network::new(object, &ids)?;
        let mut nodes = Vec::new();
        for (index, name) in NODES.into_iter().enumerate() {
            let kernel = kernels.get(KERNELS[index]).context("too few kernels")?;
            let host = network.host.clone();
            let place = (name, ids[index]);
            nodes.push(Node::new(
                &mut network,
                &host,
                directory,
                place,
                kernel,
                CLOCKS[index],
            )?);
        }
        let ports: Vec<_> = nodes.iter().flat_map(Node::heartbeat_ports).collect();
        let mut rig = Self {
            capture: Capture::start(network.switch.namespace(), &ports)?,
            clients: Clients::start(&network)?,
            nodes,
            network,
            qemu: qemu.clone(),
            setup: Setup::MEMBERS,
            real_time: kernels.get(REAL_TIME).cloned(),
            upgrade: false,
            notes: Vec::new(),
        };
        for index in 0..rig.nodes.len() {
            rig.nodes[index].power_on(&rig.qemu, &rig.network)?;
            if index + 1 < rig.nodes.len() {
                observe(STAGGER, || Ok(()))?;
            }
        }
        for node in &mut rig.nodes {
            node.await_boot()?;
        }
        rig.each(|node| node.configure(&Setup::MEMBERS, &Setup::MEMBERS))?;
        rig.each(|node| node.start(&Setup::MEMBERS))?;
        rig.await_votes()?;
        Ok(rig)
    }

    pub(super) fn node(&self, name: &str) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.name == name);
        node.with_context(|| format!("there is no node {name}"))
    }

    pub(super) fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.name == name);
        node.with_context(|| format!("there is no node {name}"))
    }

    /// The names of the other nodes.
    pub(super) fn others(&self, name: &str) -> Vec<String> {
        let names = self.nodes.iter().map(|node| node.name.clone());
        names.filter(|other| other != name).collect()
    }

    /// The port of a node in the cluster's network.
    pub(super) fn port(&self, name: &str) -> Result<String> {
        Ok(self.node(name)?.port().to_owned())
    }

    /// Does `work` with all nodes at once.
    pub(super) fn each(&self, work: impl Fn(&Node) -> Result<()> + Sync) -> Result<()> {
        thread::scope(|scope| {
            let work = &work;
            let threads = self
                .nodes
                .iter()
                .map(|node| scope.spawn(move || work(node)));
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .try_for_each(|thread| match thread.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })
    }

    /// Switches a node off, as a loss of power does.
    pub(super) fn power_off(&mut self, name: &str) -> Result<()> {
        self.node_mut(name)?.power_off();
        Ok(())
    }

    /// Switches nodes on, and starts their agents. Does not wait for votes.
    pub(super) fn power_on(&mut self, names: &[&str]) -> Result<()> {
        let Self {
            nodes,
            qemu,
            network,
            setup,
            ..
        } = self;
        let chosen = |node: &&mut Node| names.contains(&node.name.as_str());
        for node in nodes.iter_mut().filter(chosen) {
            node.power_on(qemu, network)?;
        }
        for node in nodes.iter_mut().filter(chosen) {
            node.await_boot()?;
            let plain = Setup::on(Cards::Plain);
            node.configure(&plain, setup)?;
            node.start(setup)?;
        }
        Ok(())
    }

    /// Migrates a node to another process.
    pub(super) fn migrate(&mut self, name: &str) -> Result<()> {
        let Self {
            nodes,
            qemu,
            network,
            ..
        } = self;
        let node = nodes.iter_mut().find(|node| node.name == name);
        let node = node.with_context(|| format!("there is no node {name}"))?;
        node.migrate(qemu, network)
    }

    /// The node that serves: the only one that answered during the last moment.
    pub(super) fn owner(&self) -> Result<String> {
        self.await_server(TAKEOVER, |_| true)
    }

    /// Waits until another node than `former` serves alone.
    pub(super) fn successor(&self, former: &str, limit: Duration) -> Result<String> {
        self.await_server(limit, |name| name != former)
    }

    fn await_server(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut found = None;
        wait_until(limit + ALONE, "one node alone serves the address", || {
            found = self.clients.server(ALONE).filter(|name| wanted(name));
            Ok(found.is_some())
        })?;
        found.context("nobody serves")
    }

    /// Ends all faults, starts everything that is down, changes to `setup`, and waits until all
    /// nodes vote and one serves.
    pub(super) fn settle(&mut self, setup: Setup) -> Result<()> {
        let mut off = Vec::new();
        let Self { nodes, network, .. } = &mut *self;
        for (node, clock) in nodes.iter_mut().zip(CLOCKS) {
            network.heal(node.port())?;
            clock.clone_into(&mut node.clock);
            if !node.is_on() {
                off.push(node.name.clone());
                continue;
            }
            let machine = node.machine()?;
            machine.check()?;
            machine.set_carrier(0, true)?;
            if machine.state()? != "running" {
                machine.resume()?;
            }
        }
        let off: Vec<_> = off.iter().map(String::as_str).collect();
        self.power_on(&off)?;
        self.each(|node| node.sh("adjtimex -q -t 10000 >/dev/null").map(drop))?;
        if setup != self.setup {
            let from = self.setup;
            self.each(Node::stop)?;
            self.network.set_tagged(setup.cards == Cards::Vlan)?;
            self.each(|node| node.configure(&from, &setup))?;
            self.setup = setup;
        }
        self.each(|node| node.start(&setup))?;
        self.await_votes()
    }

    /// Waits until all nodes vote, and one serves. Fails as soon as an agent has ended.
    pub(super) fn await_votes(&self) -> Result<()> {
        let votes = self.nodes.len();
        let command = format!(
            "heartbeat wait service --votes {votes} --stable --timeout 5 || (sleep 1; false)"
        );
        let mut missing = String::new();
        wait_until(SETTLE, "all nodes vote", || {
            for node in &self.nodes {
                node.check_agent(&self.setup)?;
            }
            let output = self.nodes[0].try_sh(&command)?;
            missing = output.text;
            Ok(output.status == 0)
        })
        .with_context(|| format!("the cluster does not settle: {}", missing.trim()))?;
        self.owner().map(drop)
    }

    /// Lets time pass. Fails if a machine ends.
    pub(super) fn pass(&mut self, duration: Duration) -> Result<()> {
        observe(duration, || Ok(()))?;
        for node in self.nodes.iter_mut().filter(|node| node.is_on()) {
            node.machine()?.check()?;
        }
        Ok(())
    }

    /// Keeps a measured value for the report.
    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Consoles and lease requests since `since`, for a failure.
    pub(super) fn trouble(&self, since: Boottime) -> String {
        let mut text = format!("lease requests:\n{}", self.capture.changes(since, 60));
        for node in &self.nodes {
            text.push_str(&format!("console of {}:\n{}\n", node.name, node.console()));
        }
        text
    }
}

/// The present instant, on the host's clock.
pub(super) fn now() -> Boottime {
    sys::boottime()
}

/// A kernel from the three values of its option.
pub(super) fn kernel(values: &[PathBuf]) -> Result<Kernel> {
    let [release, image, initramfs] = values else {
        bail!("a kernel is a release, an image and an initramfs");
    };
    Ok(Kernel {
        release: release.to_string_lossy().into_owned(),
        image: image.clone(),
        initramfs: initramfs.clone(),
    })
}
