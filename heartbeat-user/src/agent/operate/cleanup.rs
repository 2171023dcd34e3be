//! `cleanup`: clears failures, probes blocked resources again, and reports the result.

use std::{collections::HashSet, time::Duration};

use anyhow::{Result, bail};
use heartbeat_common::{time::Boottime, wire::NodeId};
use heartbeat_core::index::GroupIndex;
use tokio::time::sleep;

use super::{
    Operator, Origin, SLOW_POLL, done,
    settled::{Mark, PATIENCE, Settled, fresh, judge, mark},
    view,
};
use crate::{
    clock,
    control::protocol::{FailedAction, Request, Response},
    messages::{ResourceCommand, ResourceRef},
};

/// A group without changes for this time has settled.
const QUIET: Duration = Duration::from_secs(2);

/// A group whose result is awaited.
struct Waited {
    group: GroupIndex,
    result: Option<Settled>,
    /// The last observed state, and the time of its first observation.
    seen: String,
    since: Boottime,
}

impl Operator {
    pub(super) async fn cleanup(
        &self,
        resource: Option<&str>,
        node: Option<&str>,
        origin: Origin,
    ) -> Result<Response> {
        let resources = match resource {
            Some(name) => self.resources_of(name)?,
            None => self.all_resources(),
        };
        let what = resource.map_or_else(|| "all resources".to_owned(), |name| format!("`{name}`"));
        let nodes: Vec<NodeId> = match node {
            Some(name) => vec![self.node(name)?.id],
            None => self.config.members().map(|node| node.id).collect(),
        };
        let before = self.failures().iter().map(mark).collect();
        let (cleaned, failed) = self.clean(resource, &resources, nodes, origin).await;
        let cleaned = match cleaned.as_slice() {
            [] => "no node".to_owned(),
            cleaned => cleaned.join(", "),
        };
        let text = format!("cleaned up {what} on {cleaned}");
        if !failed.is_empty() {
            bail!("{text}, but not everywhere: {}", failed.join("; "));
        }
        if origin == Origin::Peer {
            return done(text);
        }
        let (runs, mut well, wrong) = self.settle(&resources, &before).await;
        if resource.is_some() {
            well.extend(runs);
        }
        let lines = |lines: &[String]| -> String {
            lines.iter().map(|line| format!("\n  {line}")).collect()
        };
        if wrong.is_empty() {
            return done(text + &lines(&well));
        }
        bail!("{text}, but:{}{}", lines(&wrong), lines(&well));
    }

    /// Cleans up on each of `nodes`. Returns the names of those that succeeded, and the errors of
    /// the others.
    async fn clean(
        &self,
        resource: Option<&str>,
        resources: &[ResourceRef],
        nodes: Vec<NodeId>,
        origin: Origin,
    ) -> (Vec<String>, Vec<String>) {
        let mut cleaned = Vec::new();
        let mut failed = Vec::new();
        for node in nodes {
            let name = self.name(node);
            if node == self.config.local().id {
                self.clean_here(resources);
                cleaned.push(name);
                continue;
            }
            let request = Request::Cleanup {
                resource: resource.map(str::to_owned),
                node: Some(name.clone()),
            };
            match self.pass_on(node, &request, origin).await {
                Ok(Response::Done { .. }) => cleaned.push(name),
                Ok(Response::Error { message }) => failed.push(format!("{name}: {message}")),
                Ok(_) => failed.push(format!("{name}: its answer belongs to another request")),
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        (cleaned, failed)
    }

    fn clean_here(&self, resources: &[ResourceRef]) {
        view::lock(&self.view).groups.forget(resources);
        for ResourceRef { group, resource } in resources.iter().copied() {
            let resource = Some(resource);
            self.commands
                .send(ResourceCommand::Cleanup { group, resource });
        }
        self.decided.notify_one();
    }

    /// Waits for the result of each group. Returns texts for the groups that run, for other good
    /// results, and for bad ones.
    async fn settle(
        &self,
        resources: &[ResourceRef],
        before: &HashSet<Mark>,
    ) -> (Vec<String>, Vec<String>, Vec<String>) {
        let groups = resources.iter().map(|reference| reference.group);
        let is_there = |group: &GroupIndex| !self.config.groups[*group].is_removed();
        let mut groups: Vec<GroupIndex> = groups.filter(is_there).collect();
        groups.dedup();
        let begun = clock::now();
        let waited = |group| Waited {
            group,
            result: None,
            seen: String::new(),
            since: begun,
        };
        let mut waited: Vec<Waited> = groups.into_iter().map(waited).collect();
        // A start may need the lease first.
        let quiet = QUIET.max(self.config.lease * 2);
        loop {
            let failures = self.failures();
            let now = clock::now();
            for one in waited.iter_mut().filter(|one| one.result.is_none()) {
                let group = self.describe(one.group);
                let fresh = fresh(&group, &failures, before);
                let seen = format!("{group:?} {fresh:?}");
                if one.seen != seen {
                    (one.seen, one.since) = (seen, now);
                }
                let is_quiet = now.since(one.since) >= quiet;
                let late = now.since(begun) >= PATIENCE;
                one.result = judge(&group, &fresh, is_quiet, late);
            }
            if waited.iter().all(|one| one.result.is_some()) {
                break;
            }
            sleep(SLOW_POLL).await;
        }
        let (mut runs, mut well, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for result in waited.into_iter().filter_map(|one| one.result) {
            match result {
                Settled::Runs(text) => runs.push(text),
                Settled::Well(text) => well.push(text),
                Settled::Wrong(text) => wrong.push(text),
            }
        }
        (runs, well, wrong)
    }

    fn failures(&self) -> Vec<FailedAction> {
        view::lock(&self.view).groups.failures()
    }
}
