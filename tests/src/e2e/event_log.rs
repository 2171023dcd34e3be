//! The events of a cluster's agents from one instant on.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_user::control::protocol::{DownTrace, Event, EventKind, VipEvent};

use super::ownership::{self, Acquisition};
use crate::{Cluster, wait_until};

/// An event, and the node whose agent reported it.
#[derive(Clone, Debug)]
pub struct Reported {
    pub reporter: String,
    pub event: Event,
}

/// A report that a node is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownReport {
    pub reporter: String,
    pub node: String,
    /// `down` or `agent-stalled`.
    pub state: String,
    pub at_ns: u64,
    pub trace: Option<DownTrace>,
}

/// Events in the order in which they were collected.
#[derive(Debug)]
pub struct EventLog {
    /// The number of the last collected event, by reporter.
    seen: HashMap<String, u64>,
    told: Vec<Reported>,
}

impl EventLog {
    /// Begins with all agents that run. Earlier events do not count.
    pub fn begin(cluster: &Cluster) -> Result<Self> {
        let mut event_log = Self {
            seen: HashMap::new(),
            told: Vec::new(),
        };
        for node in cluster.nodes().iter().filter(|node| node.agent.is_some()) {
            event_log.listen(cluster, &node.name)?;
        }
        event_log.told.clear();
        Ok(event_log)
    }

    /// Collects the new events of `reporter`.
    pub fn listen(&mut self, cluster: &Cluster, reporter: &str) -> Result<()> {
        let seen = self.seen.entry(reporter.to_owned()).or_default();
        for event in cluster.node(reporter)?.control.events(*seen)?.events {
            *seen = event.number;
            self.told.push(Reported {
                reporter: reporter.to_owned(),
                event,
            });
        }
        Ok(())
    }

    /// Waits for an event of `reporter` that `wanted` accepts, and returns the first one.
    pub fn wait(
        &mut self,
        cluster: &Cluster,
        reporter: &str,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&EventKind) -> bool,
    ) -> Result<Event> {
        let mut found = None;
        wait_until(patience, &format!("{reporter} tells: {what}"), || {
            self.listen(cluster, reporter)?;
            found = self
                .reported_by(reporter)
                .find(|event| wanted(&event.what))
                .cloned();
            Ok(found.is_some())
        })
        .with_context(|| format!("told so far: {:#?}", self.told))?;
        found.context("no such event")
    }

    /// Waits until `reporter` reports that `node` is in `state`.
    pub fn wait_state(
        &mut self,
        cluster: &Cluster,
        reporter: &str,
        node: &str,
        state: &str,
        patience: Duration,
    ) -> Result<Event> {
        let what = format!("{node} is {state}");
        self.wait(
            cluster,
            reporter,
            patience,
            &what,
            |what| matches!(what, EventKind::Peer { node: n, to, .. } if n == node && to == state),
        )
    }

    pub fn reported_by(&self, reporter: &str) -> impl Iterator<Item = &Event> {
        self.told
            .iter()
            .filter(move |told| told.reporter == reporter)
            .map(|told| &told.event)
    }

    /// All reports that a node is dead.
    pub fn down_reports(&self) -> Vec<DownReport> {
        let report = |told: &Reported| match &told.event.what {
            EventKind::Peer {
                node, to, trace, ..
            } if to == "down" || to == "agent-stalled" => Some(DownReport {
                reporter: told.reporter.clone(),
                node: node.clone(),
                state: to.clone(),
                at_ns: told.event.at_ns,
                trace: *trace,
            }),
            _ => None,
        };
        self.told.iter().filter_map(report).collect()
    }

    /// All acquisitions of a group's lease.
    pub fn acquisitions(&self, group: &str) -> Vec<Acquisition> {
        let told = self.told.iter();
        let mut all =
            ownership::acquisitions(told.map(|told| (told.reporter.as_str(), &told.event)));
        all.retain(|acquisition| acquisition.group == group);
        all
    }

    /// The longest time from the decision to the address, in takeovers after `since`.
    pub fn longest_for_an_address(&self, since: Boottime) -> Duration {
        let took = |told: &Reported| match told.event.what.of_vip() {
            Some(&VipEvent::Takeover {
                decided_ns,
                address_ns,
                ..
            }) if decided_ns >= since.as_nanos() => {
                Some(Duration::from_nanos(address_ns.saturating_sub(decided_ns)))
            }
            _ => None,
        };
        self.told.iter().filter_map(took).max().unwrap_or_default()
    }

    /// Fails if any node was reported as dead.
    pub fn no_down_reports(&self) -> Result<()> {
        let down_reports = self.down_reports();
        ensure!(down_reports.is_empty(), "called dead: {down_reports:#?}");
        Ok(())
    }
}
