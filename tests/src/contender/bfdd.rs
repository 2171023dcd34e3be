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
/// Makes the user, the groups and the directories that the package makes at its installation. The
/// daemons give up root, so their files are their own. Arguments: the files.
const PREPARE: &str = "echo 'frr:x:64101:' >> /etc/group\n\
                       echo 'frrvty:x:64102:frr' >> /etc/group\n\
                       echo 'frr:x:64101:64101::/nonexistent:/usr/sbin/nologin' >> /etc/passwd\n\
                       mkdir -p /run/frr /etc/frr\n\
                       cp \"$@\" /etc/frr/\n\
                       chown -R frr:frr /run/frr /etc/frr";

/// bfdd with its timing: the interval, three of which make a peer down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bfdd {
    key: &'static str,
    label: &'static str,
    settings: &'static str,
    interval: Duration,
}

pub(super) const DEFAULT: Bfdd = Bfdd {
    key: "bfdd-default",
    label: "FRR bfdd, defaults",
    settings: "300 ms x 3: the default; detection only",
    interval: Duration::from_millis(300),
};

pub(super) const FASTEST: Bfdd = Bfdd {
    key: "bfdd-10ms",
    label: "FRR bfdd, 10 ms x 3",
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

    fn label(&self) -> &'static str {
        self.label
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
            let bfdd = machine.write("bfdd.conf", &self.file(index, names.len()))?;
            let zebra = machine.write("zebra.conf", "")?;
            let files = format!("set -- {} {}", bfdd.display(), zebra.display());
            machine.run(world, &format!("{files}\n{PREPARE}"))?;
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
    let local = ["-A", "127.0.0.1"];
    let zebra = ["/usr/lib/frr/zebra", "-f", "/etc/frr/zebra.conf"];
    machine.start(world, "zebra.log", &[&zebra[..], &local].concat())?;
    let bfdd = ["/usr/lib/frr/bfdd", "-f", "/etc/frr/bfdd.conf"];
    let log = ["--log", "stdout", "--log-level", "debug"];
    machine.start(world, LOG, &[&bfdd[..], &local, &log].concat())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_from_the_log() {
        let log = "2026/12/01 02:00:00.123456 BFD: [A-B] state-change: [mhop:no peer:10.77.0.1 \
                   local:10.77.0.2 vrf:default ifname:hb0] init -> up\n\
                   2026/12/01 02:00:01.000001 BFD: [A-B] state-change: [mhop:no peer:10.77.0.1 \
                   local:10.77.0.2 vrf:default ifname:hb0] up -> down reason:timer\n\
                   2026/12/01 02:00:02.000001 BFD: [A-B] state-change: [mhop:no peer:10.77.0.1] \
                   down -> init\n";
        let found: Vec<_> = changes(log).collect();
        let change = |time, up| Change {
            time,
            peer: "10.77.0.1",
            up,
        };
        let expected = [
            change("2026/12/01 02:00:00.123456", true),
            change("2026/12/01 02:00:01.000001", false),
        ];
        assert_eq!(found, expected);
    }
}
