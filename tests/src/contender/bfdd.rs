//! The bfdd of FRR as a contender: it detects, and serves no address.

use std::time::Duration;

use anyhow::{Error, Result};
use heartbeat_common::time::Boottime;
use nix::unistd::Pid;

use super::{
    Contender, Daemons, World,
    machine::{self, Machine},
    tree, versions,
    wall_clock::WallClock,
};
use crate::sandbox;

const PRODUCT: &str = "frr";
const LOG: &str = "bfdd.log";
/// The words of a line about a session that changed its state.
const CHANGE: &str = "state-change: ";
const PEER: &str = "peer:";
const UP: &str = "-> up";
const DOWN: &str = "-> down";
/// The user and the groups that the daemons look up.
const PREPARE: &str = "groupadd() { echo \"$1:x:$2:\" >> /etc/group; }\n\
                       groupadd frr 64101; groupadd frrvty 64102\n\
                       echo 'frr:x:64101:64101::/nonexistent:/usr/sbin/nologin' >> /etc/passwd\n\
                       mkdir -p /run/frr /etc/frr\n\
                       chown frr:frr /run/frr";

/// bfdd with its timing: the interval, three of which make a peer down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bfdd {
    key: &'static str,
    settings: &'static str,
    interval: Duration,
}

pub(super) const DEFAULT: Bfdd = Bfdd {
    key: "bfdd-default",
    settings: "300 ms x 3: the default; detection only",
    interval: Duration::from_millis(300),
};

pub(super) const FASTEST: Bfdd = Bfdd {
    key: "bfdd-10ms",
    settings: "10 ms x 3: its minimum; detection only",
    interval: Duration::from_millis(10),
};

impl Contender for Bfdd {
    fn key(&self) -> &'static str {
        self.key
    }

    fn product(&self) -> &'static str {
        "FRR bfdd"
    }

    fn settings(&self) -> &'static str {
        self.settings
    }

    fn version(&self) -> Result<String> {
        versions(PRODUCT)
    }

    fn missing(&self) -> Option<String> {
        tree(PRODUCT).err().or_else(sandbox::missing)
    }

    fn serves(&self) -> bool {
        false
    }

    fn start(&self, world: &mut World) -> Result<Box<dyn Daemons>> {
        let tree = tree(PRODUCT).map_err(Error::msg)?;
        let mut machines = Vec::new();
        let names = world.names();
        for (index, node) in names.iter().enumerate() {
            let mut machine = Machine::new(world, node, &tree)?;
            machine.run(world, PREPARE)?;
            machine.write("bfdd.conf", &self.file(index, names.len()))?;
            machine.write("zebra.conf", "")?;
            start(&mut machine, world)?;
            machines.push(machine);
        }
        Ok(Box::new(Detectors {
            machines,
            clock: WallClock::read()?,
        }))
    }
}

impl Bfdd {
    /// The configuration of node number `index` of `nodes`: a session with each other node.
    fn file(&self, index: usize, nodes: usize) -> String {
        let interval = self.interval.as_millis();
        let others = (0..nodes).filter(|other| *other != index);
        let sessions = others.map(|other| {
            format!(
                " peer {} local-address {} interface {}\n  detect-multiplier 3\n  \
                 receive-interval {interval}\n  transmit-interval {interval}\n  no shutdown\n !\n",
                World::address(other),
                World::address(index),
                World::interface()
            )
        });
        format!(
            "log timestamp precision 6\ndebug bfd peer\nbfd\n{}!\n",
            sessions.collect::<String>()
        )
    }
}

fn start(machine: &mut Machine, world: &World) -> Result<()> {
    let path = |name: &str| machine.dir().join(name).display().to_string();
    let (zebra, bfdd) = (path("zebra.conf"), path("bfdd.conf"));
    let (zebra_pid, bfdd_pid) = (path("zebra.pid"), path("bfdd.pid"));
    let zebra = [
        "/usr/lib/frr/zebra",
        "-f",
        &zebra,
        "-i",
        &zebra_pid,
        "-A",
        "127.0.0.1",
    ];
    let bfdd = [
        "/usr/lib/frr/bfdd",
        "-f",
        &bfdd,
        "-i",
        &bfdd_pid,
        "-A",
        "127.0.0.1",
        "--log",
        "stdout",
        "--log-level",
        "debug",
    ];
    machine.start(world, "zebra.log", &zebra)?;
    machine.start(world, LOG, &bfdd)
}

/// The daemons on all nodes.
#[derive(Debug)]
struct Detectors {
    machines: Vec<Machine>,
    clock: WallClock,
}

impl Daemons for Detectors {
    fn pids(&mut self, _: &mut World, node: &str) -> Result<Vec<Pid>> {
        machine::find(&self.machines, node)?.pids()
    }

    fn downs(&mut self, _: &World) -> Result<u64> {
        let logs = self.machines.iter().map(|machine| machine.log(LOG));
        let downs = |log: String| changes(&log).filter(|change| !change.up).count();
        Ok(logs.map(downs).sum::<usize>() as u64)
    }

    fn is_whole(&mut self, _: &mut World, _: Option<&str>) -> Result<bool> {
        let nodes = self.machines.len();
        Ok(self.machines.iter().enumerate().all(|(index, machine)| {
            let log = machine.log(LOG);
            let is_up = |other| {
                let address = World::address(other);
                let last = changes(&log).filter(|change| change.peer == address).last();
                last.is_some_and(|change| change.up)
            };
            (0..nodes).filter(|other| *other != index).all(is_up)
        }))
    }

    fn called_dead(
        &mut self,
        world: &World,
        by: &str,
        node: &str,
        since: Boottime,
    ) -> Result<Option<Boottime>> {
        let Some(index) = world.names().iter().position(|name| name == node) else {
            return Ok(None);
        };
        let address = World::address(index);
        let log = machine::find(&self.machines, by)?.log(LOG);
        let downs = changes(&log).filter(|change| !change.up && change.peer == address);
        let mut at = downs.filter_map(|change| self.clock.boottime(change.time));
        Ok(at.find(|at| *at >= since))
    }

    fn restart(&mut self, world: &mut World, node: &str) -> Result<()> {
        let machine = machine::find_mut(&mut self.machines, node)?;
        machine.forget();
        start(machine, world)
    }

    fn logs(&mut self, _: &World) -> String {
        self.machines
            .iter()
            .map(|machine| machine.tail(LOG))
            .collect()
    }
}

/// A session that changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change<'a> {
    /// Date and time in UTC, as the log has them.
    time: &'a str,
    peer: &'a str,
    up: bool,
}

/// The changes to up and to down in a log, in their order.
fn changes(log: &str) -> impl Iterator<Item = Change<'_>> {
    log.lines().filter_map(|line| {
        let (before, change) = line.split_once(CHANGE)?;
        let (_, peer) = change.split_once(PEER)?;
        let peer = peer.split([' ', ']', ',']).next()?;
        let up = change.contains(UP);
        // Date and time are the first two words.
        let time = before
            .match_indices(' ')
            .nth(1)
            .map_or(before, |(end, _)| &before[..end]);
        (up || change.contains(DOWN)).then_some(Change { time, peer, up })
    })
}
