//! keepalived as a contender: VRRP with one virtual address.

use std::time::Duration;

use anyhow::Result;
use heartbeat_common::time::Boottime;
use nix::unistd::Pid;

use super::{
    Contender, Daemons, World,
    machine::{self, Machine},
    tree, versions,
};
use crate::sandbox;

const PRODUCT: &str = "keepalived";
const LOG: &str = "keepalived.log";
/// The words in the log before and after the name of a state.
const ENTERING: &str = "Entering ";
const STATE: &str = " STATE";
/// The priority of the first node, and how much less each further one has.
const PRIORITY: usize = 150;
const STEP: usize = 50;

/// keepalived with its interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalived {
    key: &'static str,
    label: &'static str,
    settings: &'static str,
    advert: Duration,
}

pub(super) const DEFAULT: Keepalived = Keepalived {
    key: "keepalived-default",
    label: "keepalived, defaults",
    settings: "advert 1 s: the default",
    advert: Duration::from_secs(1),
};

pub(super) const FASTEST: Keepalived = Keepalived {
    key: "keepalived-10ms",
    label: "keepalived, 0.01 s",
    settings: "advert 0.01 s: its minimum",
    advert: Duration::from_millis(10),
};

impl Contender for Keepalived {
    fn key(&self) -> &'static str {
        self.key
    }

    fn product(&self) -> &'static str {
        PRODUCT
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

    fn start(&self, world: &mut World) -> Result<Box<dyn Daemons>> {
        let tree = tree(PRODUCT).map_err(anyhow::Error::msg)?;
        let mut machines = Vec::new();
        for (index, node) in world.names().iter().enumerate() {
            let mut machine = Machine::new(world, node, &tree)?;
            machine.write("keepalived.conf", &self.file(node, index))?;
            start(&mut machine, world)?;
            machines.push(machine);
        }
        Ok(Box::new(Routers { machines }))
    }
}

impl Keepalived {
    /// The configuration of node number `index`. Only version 3 of VRRP has fractions of a second.
    fn file(&self, node: &str, index: usize) -> String {
        let (interface, vip) = (World::interface(), World::vip_with_prefix());
        let state = if index == 0 { "MASTER" } else { "BACKUP" };
        let priority = PRIORITY - index * STEP;
        let advert = self.advert.as_secs_f64();
        format!(
            "global_defs {{\n router_id {node}\n vrrp_version 3\n}}\n\
             vrrp_instance service {{\n state {state}\n interface {interface}\n \
             virtual_router_id 51\n priority {priority}\n advert_int {advert}\n \
             virtual_ipaddress {{\n  {vip} dev {interface}\n }}\n}}\n"
        )
    }
}

fn start(machine: &mut Machine, world: &World) -> Result<()> {
    let path = |name: &str| machine.dir().join(name).display().to_string();
    let (file, pid, vrrp) = (path("keepalived.conf"), path("pid"), path("vrrp.pid"));
    let daemon = [
        "keepalived",
        "-n",
        "-l",
        "-D",
        "-P",
        "-f",
        &file,
        "-p",
        &pid,
        "-r",
        &vrrp,
    ];
    machine.start(world, LOG, &daemon)
}

/// The daemons on all nodes.
#[derive(Debug)]
struct Routers {
    machines: Vec<Machine>,
}

impl Daemons for Routers {
    fn pids(&mut self, _: &mut World, node: &str) -> Result<Vec<Pid>> {
        machine::find(&self.machines, node)?.pids()
    }

    fn downs(&mut self, _: &World) -> Result<u64> {
        let logs = self.machines.iter().map(|machine| machine.log(LOG));
        let became = |log: String| states(&log).filter(|state| *state == "MASTER").count();
        Ok(logs.map(became).sum::<usize>() as u64)
    }

    fn is_whole(&mut self, world: &mut World, owner: Option<&str>) -> Result<bool> {
        let first = world.names().into_iter().next();
        let right = |(index, machine): (usize, &Machine)| {
            let wanted = if index == 0 { "MASTER" } else { "BACKUP" };
            states(&machine.log(LOG)).last() == Some(wanted)
        };
        Ok(owner == first.as_deref() && self.machines.iter().enumerate().all(right))
    }

    fn called_dead(
        &mut self,
        _: &World,
        _: &str,
        _: &str,
        _: Boottime,
    ) -> Result<Option<Boottime>> {
        // Its log has whole seconds only.
        Ok(None)
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

/// The states that a daemon entered, in their order.
fn states(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| {
        let (_, rest) = line.split_once(ENTERING)?;
        Some(rest.split_once(STATE)?.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_the_log() {
        let log = "Tue Dec  1 02:00:00 2026: (service) Entering BACKUP STATE (init)\n\
                   Tue Dec  1 02:00:01 2026: Sending gratuitous ARP\n\
                   Tue Dec  1 02:00:01 2026: (service) Entering MASTER STATE\n";
        assert_eq!(states(log).collect::<Vec<_>>(), ["BACKUP", "MASTER"]);
    }
}
