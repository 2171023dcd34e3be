//! What the agents of a cluster tell, from one moment on.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_user::control::protocol::{DownTrace, Event, EventKind, VipEvent};

use super::ownership::{self, Acquisition};
use crate::{Cluster, wait_until};

/// An event, and whose agent told it.
#[derive(Clone, Debug)]
pub struct Reported {
    pub reporter: String,
    pub event: Event,
}

/// A node was called dead.
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
    /// Number of the last event that we have, by reporter.
    seen: HashMap<String, u64>,
    told: Vec<Reported>,
}

impl EventLog {
    /// Begins now, with all agents that run: what they told before does not count.
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

    /// Takes over what `reporter` told since.
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

    /// The agent of `reporter` is another one from here on, and counts its events anew.
    pub fn restarted(&mut self, reporter: &str) {
        self.seen.remove(reporter);
    }

    /// Waits until `reporter` has told something that `wanted` takes, and returns the first such event.
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

    /// Waits until `reporter` calls `node` what `state` says.
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

    /// Who was called dead, by whom.
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

    /// Who acquired the lease of a group, and when.
    pub fn acquisitions(&self, group: &str) -> Vec<Acquisition> {
        let told = self.told.iter();
        let mut all =
            ownership::acquisitions(told.map(|told| (told.reporter.as_str(), &told.event)));
        all.retain(|acquisition| acquisition.group == group);
        all
    }

    /// The longest time from a decision to take over until the address was there, in takeovers after `since`.
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

    /// Fails if anybody was called dead.
    pub fn no_down_reports(&self) -> Result<()> {
        let down_reports = self.down_reports();
        ensure!(down_reports.is_empty(), "called dead: {down_reports:#?}");
        Ok(())
    }
}
