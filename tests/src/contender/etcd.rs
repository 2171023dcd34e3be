//! A lock of etcd as a contender: a script on each node takes the lock and serves the address.
//!
//! The script checks the lock all the time and removes the address as soon as it cannot be
//! confirmed, as a careful operator would write it.

use std::time::Duration;

use anyhow::{Error, Result};
use heartbeat_common::time::Boottime;
use nix::unistd::Pid;

use super::{
    Contender, Daemons, World,
    machine::{self, Machine},
    tree, versions,
};
use crate::sandbox;

const PRODUCT: &str = "etcd";
const LOG: &str = "lock.log";
const SERVES: &str = "serves";

/// Takes the lock again and again.
const LOOP: &str = include_str!("etcd_lock.sh");
/// Serves while the lock is held.
const SERVE: &str = include_str!("etcd_serve.sh");

/// A lock of etcd with the lifetime of its lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Etcd {
    key: &'static str,
    label: &'static str,
    settings: &'static str,
    ttl: Duration,
}

pub(super) const TTL_2S: Etcd = Etcd {
    key: "etcd-2s",
    label: "etcd lock, TTL 2 s",
    settings: "a lock with TTL 2 s, and a script that serves",
    ttl: Duration::from_secs(2),
};

impl Contender for Etcd {
    fn key(&self) -> &'static str {
        self.key
    }

    fn product(&self) -> &'static str {
        "etcd lock"
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
        let member = |(index, name): (usize, &String)| {
            format!("{name}=http://{}:2380", World::address(index))
        };
        let cluster: Vec<_> = names.iter().enumerate().map(member).collect();
        let mut members = Members {
            machines: Vec::new(),
            cluster: cluster.join(","),
            ttl: self.ttl,
        };
        for node in &names {
            let machine = Machine::new(world, node, &tree)?;
            machine.write("lock.sh", LOOP)?;
            machine.write("serve.sh", SERVE)?;
            members.machines.push(machine);
            members.start(world, node)?;
        }
        Ok(Box::new(members))
    }
}

/// The members on all nodes.
#[derive(Debug)]
struct Members {
    machines: Vec<Machine>,
    cluster: String,
    ttl: Duration,
}

impl Members {
    fn start(&mut self, world: &World, node: &str) -> Result<()> {
        let index = world.names().iter().position(|name| name == node);
        let address = World::address(index.unwrap_or_default());
        let machine = machine::find_mut(&mut self.machines, node)?;
        let path = |name: &str| machine.dir().join(name).display().to_string();
        let (data, lock, serve) = (path("data"), path("lock.sh"), path("serve.sh"));
        let peer = format!("http://{address}:2380");
        let client = format!("http://{address}:2379");
        let listen = format!("{client},http://127.0.0.1:2379");
        let member = [
            "etcd",
            "--name",
            node,
            "--data-dir",
            &data,
            "--initial-cluster",
            &self.cluster,
            "--initial-advertise-peer-urls",
            &peer,
            "--listen-peer-urls",
            &peer,
            "--advertise-client-urls",
            &client,
            "--listen-client-urls",
            &listen,
        ];
        machine.start(world, "etcd.log", &member)?;
        let (vip, interface) = (World::vip_with_prefix(), World::interface());
        let ttl = self.ttl.as_secs().to_string();
        let lock = ["/bin/sh", &lock, &serve, &ttl, &vip, &interface];
        machine.start(world, LOG, &lock)
    }
}

impl Daemons for Members {
    fn pids(&mut self, _: &mut World, node: &str) -> Result<Vec<Pid>> {
        machine::find(&self.machines, node)?.pids()
    }

    fn downs(&mut self, _: &World) -> Result<u64> {
        let logs = self.machines.iter().map(|machine| machine.log(LOG));
        let served = |log: String| log.lines().filter(|line| *line == SERVES).count();
        Ok(logs.map(served).sum::<usize>() as u64)
    }

    fn is_whole(&mut self, world: &mut World, owner: Option<&str>) -> Result<bool> {
        if owner.is_none() {
            return Ok(false);
        }
        // Each member answers only if it reaches a majority.
        let check = "etcdctl endpoint health --endpoints=http://127.0.0.1:2379 \
                     --command-timeout=1s >/dev/null 2>&1 && echo well || echo ill";
        for machine in &self.machines {
            if machine.run(world, check)?.trim() != "well" {
                return Ok(false);
            }
        }
        Ok(world.cluster.holders()?.len() == 1)
    }

    fn called_dead(
        &mut self,
        _: &World,
        _: &str,
        _: &str,
        _: Boottime,
    ) -> Result<Option<Boottime>> {
        // A lock tells nothing of nodes.
        Ok(None)
    }

    fn restart(&mut self, world: &mut World, node: &str) -> Result<()> {
        machine::find_mut(&mut self.machines, node)?.forget();
        self.start(world, node)
    }

    fn logs(&mut self, _: &World) -> String {
        let logs = |machine: &Machine| machine.tail(LOG) + &machine.tail("etcd.log");
        self.machines.iter().map(logs).collect()
    }
}
