//! Pacemaker on Corosync as a contender: one IPaddr2, without fencing.

use std::fmt::Write as _;

use anyhow::{Error, Result};
use heartbeat_common::time::Boottime;
use nix::unistd::Pid;

use super::{
    Contender, Daemons, World,
    machine::{self, Machine},
    tree, versions,
    wall_clock::WallClock,
};
use crate::{config::Family, sandbox};

const PRODUCT: &str = "pacemaker";
const MEMBERSHIP: &str = "corosync.log";
const MANAGER: &str = "pacemaker.log";
const RESOURCE: &str = "service";
/// The words of Corosync's log before the ids of the nodes that it lost.
const LEFT: &str = "Members left:";

/// Makes the user, the group and the directories that the packages make at their installation.
const PREPARE: &str = include_str!("pacemaker_prepare.sh");

/// Pacemaker with Corosync's token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacemaker {
    key: &'static str,
    label: &'static str,
    settings: &'static str,
    /// In milliseconds, for any number of nodes; `None` for the default.
    token: Option<u32>,
}

pub(super) const DEFAULT: Pacemaker = Pacemaker {
    key: "pacemaker-default",
    label: "Pacemaker, defaults",
    settings: "IPaddr2, token 3650 ms: the default of three nodes",
    token: None,
};

pub(super) const FASTEST: Pacemaker = Pacemaker {
    key: "pacemaker-500ms",
    label: "Pacemaker, token 500 ms",
    settings: "IPaddr2, token 500 ms: the lowest that is stable",
    token: Some(500),
};

impl Contender for Pacemaker {
    fn key(&self) -> &'static str {
        self.key
    }

    fn product(&self) -> &'static str {
        "Pacemaker"
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
        let tree = tree(PRODUCT).map_err(Error::msg)?;
        let names = world.names();
        let mut machines = Vec::new();
        for node in &names {
            let mut machine = Machine::new(world, node, &tree)?;
            let log = machine.dir().join(MEMBERSHIP).display().to_string();
            let file = machine.write("corosync.conf", &self.file(&names, &log))?;
            let cib = machine.write("cib.xml", &cib(&names))?;
            let prepare = format!("set -- {} {}\n{PREPARE}", file.display(), cib.display());
            machine.run(world, &prepare)?;
            start(&mut machine, world)?;
            machines.push(machine);
        }
        Ok(Box::new(Managers {
            machines,
            clock: WallClock::read()?,
        }))
    }
}

impl Pacemaker {
    fn file(&self, names: &[String], log: &str) -> String {
        let token = self.token.map(|token| {
            // The coefficient would add to the token for each node above two.
            format!(" token: {token}\n token_coefficient: 0\n")
        });
        let mut text = format!(
            "totem {{\n version: 2\n cluster_name: rig\n transport: knet\n{}}}\n\
             quorum {{\n provider: corosync_votequorum\n}}\n\
             logging {{\n to_logfile: yes\n logfile: {log}\n to_stderr: no\n to_syslog: no\n \
             timestamp: hires\n}}\nnodelist {{\n",
            token.unwrap_or_default()
        );
        for (index, name) in names.iter().enumerate() {
            let (id, address) = (index + 1, World::address(index));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                " node {{\n  ring0_addr: {address}\n  name: {name}\n  nodeid: {id}\n }}"
            );
        }
        text + "}\n"
    }
}

/// The cluster's configuration. `dc-deadtime` shortens only the first start.
fn cib(names: &[String]) -> String {
    let option = |name: &str, value: &str| {
        format!("<nvpair id=\"o-{name}\" name=\"{name}\" value=\"{value}\"/>")
    };
    let parameter = |name: &str, value: &str| {
        format!("<nvpair id=\"p-{name}\" name=\"{name}\" value=\"{value}\"/>")
    };
    let nodes = names.iter().enumerate().map(|(index, name)| {
        let id = index + 1;
        format!("<node id=\"{id}\" uname=\"{name}\"/>")
    });
    // The first node is preferred, as in every contender that has preferences.
    let locations = names.iter().enumerate().map(|(index, name)| {
        let score = 100 - index * 10;
        format!(
            "<rsc_location id=\"l-{name}\" rsc=\"{RESOURCE}\" node=\"{name}\" score=\"{score}\"/>"
        )
    });
    format!(
        "<cib crm_feature_set=\"3.0.14\" validate-with=\"pacemaker-3.0\" epoch=\"1\" \
         num_updates=\"0\" admin_epoch=\"1\"><configuration><crm_config>\
         <cluster_property_set id=\"options\">{}{}</cluster_property_set></crm_config>\
         <nodes>{}</nodes><resources>\
         <primitive id=\"{RESOURCE}\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">\
         <instance_attributes id=\"p\">{}{}{}</instance_attributes>\
         <operations><op id=\"m\" name=\"monitor\" interval=\"10s\" timeout=\"20s\"/></operations>\
         </primitive></resources><constraints>{}</constraints></configuration><status/></cib>\n",
        option("stonith-enabled", "false"),
        option("dc-deadtime", "2s"),
        nodes.collect::<String>(),
        parameter("ip", &Family::V4.vip().to_string()),
        parameter("cidr_netmask", &Family::V4.prefix_len().to_string()),
        parameter("nic", &World::interface()),
        locations.collect::<String>(),
    )
}

fn start(machine: &mut Machine, world: &World) -> Result<()> {
    machine.start(world, "corosync.out", &["corosync", "-f"])?;
    // Pacemaker ends if Corosync does not answer yet.
    let connected = "for i in $(seq 100); do corosync-cfgtool -s >/dev/null 2>&1 && exit 0; \
                     sleep 0.1; done; exit 1";
    machine.run(world, connected)?;
    machine.start(world, MANAGER, &["pacemakerd", "-V"])
}

/// The daemons on all nodes.
#[derive(Debug)]
struct Managers {
    machines: Vec<Machine>,
    clock: WallClock,
}

impl Daemons for Managers {
    fn pids(&mut self, _: &mut World, node: &str) -> Result<Vec<Pid>> {
        machine::find(&self.machines, node)?.pids()
    }

    fn downs(&mut self, _: &World) -> Result<u64> {
        let logs = self.machines.iter().map(|machine| machine.log(MEMBERSHIP));
        let lost = |log: String| losses(&log).map(|loss| loss.ids.len()).sum::<usize>();
        Ok(logs.map(lost).sum::<usize>() as u64)
    }

    fn is_whole(&mut self, world: &mut World, owner: Option<&str>) -> Result<bool> {
        let names = world.names();
        let first = names.first().map(String::as_str);
        if owner != first || world.cluster.holders()?.len() != 1 {
            return Ok(false);
        }
        let online = format!("Online: [ {} ]", names.join(" "));
        for machine in &self.machines {
            // It fails while the local daemons are not connected.
            let shown = machine.run(world, "crm_mon -1 2>&1 || :")?;
            if !shown.contains(&online) {
                return Ok(false);
            }
        }
        Ok(true)
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
        let log = machine::find(&self.machines, by)?.log(MEMBERSHIP);
        let of_node = losses(&log).filter(|loss| loss.ids.contains(&(index + 1)));
        let mut at = of_node.filter_map(|loss| self.clock.without_year(loss.time));
        Ok(at.find(|at| *at >= since))
    }

    fn restart(&mut self, world: &mut World, node: &str) -> Result<()> {
        let machine = machine::find_mut(&mut self.machines, node)?;
        machine.forget();
        start(machine, world)
    }

    fn logs(&mut self, world: &World) -> String {
        let logs = |machine: &Machine| {
            let seen = machine.run(
                world,
                "crm_mon -1 2>&1; tail -n 25 /var/log/pacemaker/*.log",
            );
            let seen = seen.unwrap_or_else(|error| format!("{error:#}"));
            machine.tail(MEMBERSHIP) + &machine.tail(MANAGER) + &seen
        };
        self.machines.iter().map(logs).collect()
    }
}

/// Nodes that Corosync lost from its membership.
#[derive(Debug, PartialEq, Eq)]
struct Loss<'a> {
    /// The first three words of the line: `Dec 01 02:00:00.123`.
    time: &'a str,
    ids: Vec<usize>,
}

fn losses(log: &str) -> impl Iterator<Item = Loss<'_>> {
    log.lines().filter_map(|line| {
        let (before, ids) = line.split_once(LEFT)?;
        let end = before
            .match_indices(' ')
            .nth(2)
            .map_or(before.len(), |(end, _)| end);
        let ids = ids.split_whitespace().map_while(|id| id.parse().ok());
        Some(Loss {
            time: &before[..end],
            ids: ids.collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_from_the_log() {
        let log = "Dec 01 02:00:00.123 [42] a corosync notice  [TOTEM ] A new membership (1.e) \
                   was formed. Members left: 1 3\n\
                   Dec 01 02:00:01.000 [42] a corosync notice  [TOTEM ] A new membership (1.12) \
                   was formed. Members joined: 1\n";
        let found: Vec<_> = losses(log).collect();
        let expected = Loss {
            time: "Dec 01 02:00:00.123",
            ids: vec![1, 3],
        };
        assert_eq!(found, [expected]);
    }
}
