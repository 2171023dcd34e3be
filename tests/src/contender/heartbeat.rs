//! heartbeat as a contender: the agents of the world's own cluster.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::time::Boottime;
use heartbeat_user::control::protocol::{EventKind, Request, Response};
use nix::unistd::Pid;

use super::{Contender, Daemons, World};
use crate::{
    Options,
    cluster::{BINARY, OBJECT},
    sandbox,
    skip::Need,
};

/// The number of log lines of each node that are shown after a failure.
const LOG_LINES: usize = 25;

/// heartbeat with its timing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heartbeat {
    key: &'static str,
    label: &'static str,
    settings: &'static str,
    interval: Duration,
    timeout: Duration,
    lease: Duration,
}

/// The default timing.
pub(super) const DEFAULT: Heartbeat = Heartbeat {
    key: "heartbeat-default",
    label: "heartbeat, defaults",
    settings: "probes each 10 ms, timeout 30 ms, lease 60 ms: the defaults",
    interval: Duration::from_millis(10),
    timeout: Duration::from_millis(30),
    lease: Duration::from_millis(60),
};

/// The timing of the demo.
pub(super) const FASTEST: Heartbeat = Heartbeat {
    key: "heartbeat-1ms",
    label: "heartbeat, 1 ms",
    settings: "probes each 1 ms, timeout 3 ms, lease 5 ms",
    interval: Duration::from_millis(1),
    timeout: Duration::from_millis(3),
    lease: Duration::from_millis(5),
};

impl Contender for Heartbeat {
    fn key(&self) -> &'static str {
        self.key
    }

    fn product(&self) -> &'static str {
        "heartbeat"
    }

    fn label(&self) -> &'static str {
        self.label
    }

    fn settings(&self) -> &'static str {
        self.settings
    }

    fn version(&self) -> Result<String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn missing(&self) -> Option<String> {
        let unset = |name: &&str| std::env::var_os(name).is_none();
        let variable = [BINARY, OBJECT].into_iter().find(|name| unset(name));
        variable
            .map(|name| format!("{name} is not set: run this through `cargo xtask`"))
            .or_else(|| Need::Cluster.missing())
    }

    fn options(&self) -> Options {
        Options {
            interval: self.interval,
            timeout: self.timeout,
            lease: self.lease,
            agent_stall: Duration::from_secs(2),
            max_lease: Duration::from_secs(1),
            ..Options::default()
        }
    }

    fn start(&self, world: &mut World) -> Result<Box<dyn Daemons>> {
        world.cluster.start_agents()?;
        Ok(Box::new(Agents {
            seen: HashMap::new(),
            called: Vec::new(),
        }))
    }
}

/// A report that a node is dead.
#[derive(Debug)]
struct Called {
    by: String,
    node: String,
    at: Boottime,
}

/// The agents, and the events that they told so far.
#[derive(Debug)]
struct Agents {
    /// The number of the last event, by node.
    seen: HashMap<String, u64>,
    called: Vec<Called>,
}

impl Agents {
    /// Reads the new events of all agents that answer.
    fn read(&mut self, world: &World) -> Result<()> {
        for node in world.cluster.nodes() {
            let seen = self.seen.entry(node.name.clone()).or_default();
            let events = match node.control.ask(&Request::Events {
                after: *seen,
                node: None,
            }) {
                Ok(Response::Events(events)) => events,
                Ok(other) => bail!("{} answered {other:?}", node.name),
                // The agent is killed, stopped, or starved.
                Err(_) => continue,
            };
            if events.lost > 0 && *seen > 0 {
                bail!(
                    "{} events of {} are lost: ask earlier",
                    events.lost,
                    node.name
                );
            }
            for event in events.events {
                *seen = event.number;
                match event.what {
                    EventKind::Peer { node: peer, to, .. }
                        if to == "down" || to == "agent-stalled" =>
                    {
                        self.called.push(Called {
                            by: node.name.clone(),
                            node: peer,
                            at: Boottime::from_nanos(event.at_ns),
                        });
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Daemons for Agents {
    fn pids(&mut self, world: &mut World, node: &str) -> Result<Vec<Pid>> {
        let agent = world.cluster.node_mut(node)?.agent()?.pid();
        sandbox::descendants(Pid::from_raw(agent.cast_signed()))
    }

    fn downs(&mut self, world: &World) -> Result<u64> {
        self.read(world)?;
        Ok(self.called.len() as u64)
    }

    fn is_whole(&mut self, world: &mut World, owner: Option<&str>) -> Result<bool> {
        // The first node is preferred, and takes the address back.
        let first = world.names().into_iter().next().context("no nodes")?;
        Ok(owner == Some(first.as_str()) && world.cluster.complaints(&first)?.is_empty())
    }

    fn called_dead(
        &mut self,
        world: &World,
        by: &str,
        node: &str,
        since: Boottime,
    ) -> Result<Option<Boottime>> {
        self.read(world)?;
        let mut found = self
            .called
            .iter()
            .filter(|one| one.by == by && one.node == node);
        Ok(found.find(|one| one.at >= since).map(|one| one.at))
    }

    fn restart(&mut self, world: &mut World, node: &str) -> Result<()> {
        self.seen.remove(node);
        world.cluster.start_agent(node)
    }

    fn lateness(&mut self, world: &World) -> Result<Option<Duration>> {
        let mut longest = None;
        for node in world.cluster.nodes() {
            let late = node.control.status()?.pulse.max_lateness_ns;
            longest = longest.max(Some(Duration::from_nanos(late)));
        }
        Ok(longest)
    }

    fn logs(&mut self, world: &World) -> String {
        world.cluster.logs(LOG_LINES)
    }
}
