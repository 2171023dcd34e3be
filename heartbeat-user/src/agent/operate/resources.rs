//! Maintenance, start, stop and restart of resources.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use heartbeat_common::wire::NodeId;
use tokio::time::sleep;

use super::{Operator, Origin, PATIENCE, SLOW_POLL, done, view};
use crate::{
    clock,
    config::Group,
    control::protocol::{self, Request, Response},
    decision_store::Subject,
    messages::{ResourceCommand, ResourceRef},
};

impl Operator {
    pub(super) async fn maintain(&self, on: bool, group: Option<&str>) -> Result<Response> {
        let (subject, what) = match group {
            Some(name) => {
                self.group(name)?;
                let subject = Subject::GroupMaintenance(name.to_owned());
                (subject, format!("group {name}"))
            }
            None => (Subject::Maintenance, "all groups".to_owned()),
        };
        self.decide(subject, on).await?;
        done(if on {
            format!("maintenance mode on for {what}: nothing is started, stopped or monitored")
        } else {
            format!("maintenance mode off for {what}")
        })
    }

    pub(super) async fn enable(&self, name: &str, enabled: bool) -> Result<Response> {
        let whole = self.group(name).ok();
        let (index, subject) = match whole {
            Some(index) => (index, Subject::GroupStopped(name.to_owned())),
            None => {
                let reference = self.resource_named(name)?;
                (reference.group, Subject::ResourceStopped(name.to_owned()))
            }
        };
        let group = &self.config.groups[index];
        if view::lock(&self.view).groups.is_maintained(group) {
            bail!(
                "group {} is in maintenance: `heartbeat maintenance off` first",
                group.name
            );
        }
        self.decide(subject, !enabled).await?;
        let whole = whole.is_some();
        let is_one = |resource: &protocol::Resource| whole || resource.name == name;
        let patience = self.patience(group).max(PATIENCE);
        self.watch(index, patience, |now| {
            let mut resources = now.resources.iter().filter(|resource| is_one(resource));
            let as_wanted = if enabled {
                resources.all(|resource| resource.state == "started")
            } else {
                resources.all(|resource| resource.state == "stopped")
                    && (!whole || now.owner.is_none())
            };
            let hopeless = (enabled && !as_wanted && now.owner.is_none())
                .then(|| self.may_run_somewhere(group, now).err())
                .flatten();
            hopeless.map(Err).or(as_wanted.then_some(Ok(())))
        })
        .await
        .and_then(|outcome| outcome)
        .with_context(|| match enabled {
            true => format!("{name} is enabled but has not started"),
            false => format!("{name} is disabled but has not stopped"),
        })?;
        done(match (enabled, self.describe(index).owner) {
            (true, Some(owner)) => format!("{name} runs on {owner}"),
            (true, None) => format!("{name} runs"),
            (false, _) => {
                format!("{name} is stopped, and stays so until `heartbeat resource start`")
            }
        })
    }

    pub(super) async fn restart(
        &self,
        name: &str,
        request: &Request,
        origin: Origin,
    ) -> Result<Response> {
        let reference = self.resource_named(name)?;
        let group = &self.config.groups[reference.group];
        let Some(owner) = self.owner_soon(group).await else {
            bail!("`{name}` runs nowhere, so it cannot be restarted: see `heartbeat status`");
        };
        let patience = self.patience(group).max(PATIENCE);
        if owner == self.config.local().id {
            if view::lock(&self.view).groups.is_maintained(group) {
                bail!("group {} is in maintenance", group.name);
            }
            self.commands.send(ResourceCommand::Restart { reference });
            if origin == Origin::Peer {
                return done(format!("{name} is being restarted"));
            }
        } else {
            let passed = self.pass_on(owner, request, origin).await?;
            if matches!(passed, Response::Error { .. }) {
                return Ok(passed);
            }
        }
        // The node's report may be one behind.
        sleep(SLOW_POLL * 20).await;
        self.watch(reference.group, patience, |now| {
            let state = now.resources.get(reference.resource.0);
            let runs = state.is_some_and(|resource| resource.state == "started");
            (runs && now.running).then_some(())
        })
        .await
        .with_context(|| format!("`{name}` was restarted, but does not run"))?;
        done(format!("{name} was restarted on {}", self.name(owner)))
    }

    /// Fails if a group failed on all nodes that could run it.
    fn may_run_somewhere(&self, group: &Group, now: &protocol::Group) -> Result<()> {
        let lives = |node: NodeId| node == self.config.local().id || self.latest(node).is_some();
        let mut able = group.rank.iter().copied().filter(|node| lives(*node));
        if able.all(|node| now.barred.contains(&self.name(node))) {
            bail!(
                "failed on {}: see `heartbeat status`, then `heartbeat cleanup`",
                now.barred.join(", ")
            );
        }
        Ok(())
    }

    /// Writes a decision to disk and puts it in force afterwards, even if the requester has given
    /// up waiting.
    async fn write_down(&self, subject: Subject, value: bool) -> Result<()> {
        let proposal = view::lock(&self.view).groups.propose(subject, value);
        let (view, decided) = (Arc::clone(&self.view), Arc::clone(&self.decided));
        let settle = move || {
            view::lock(&view)
                .groups
                .settle(proposal.subject, proposal.decision);
            decided.notify_one();
        };
        proposal.written.then(settle).in_time().await
    }

    /// Decides something for the whole cluster, and waits until all live nodes have the decision.
    async fn decide(&self, subject: Subject, value: bool) -> Result<()> {
        self.write_down(subject, value).await?;
        let until = clock::now().after(PATIENCE);
        loop {
            let silent: Vec<String> = {
                let view = view::lock(&self.view);
                let peers = self.config.peers();
                peers
                    .filter(|peer| peer.role == crate::config::Role::Member)
                    .filter(|peer| view.is_awake(peer.id))
                    .filter(|peer| !view.groups.has_decisions_of(peer.id))
                    .map(|peer| peer.name.clone())
                    .collect()
            };
            if silent.is_empty() {
                return Ok(());
            }
            if clock::now() > until {
                bail!(
                    "applied here; not yet on {} (unreachable; will be applied when they return)",
                    silent.join(", ")
                );
            }
            sleep(SLOW_POLL).await;
        }
    }

    pub(super) fn all_resources(&self) -> Vec<ResourceRef> {
        let groups = self.config.served_groups().iter_enumerated();
        groups
            .flat_map(|(group, plan)| {
                plan.resources
                    .indices()
                    .map(move |resource| ResourceRef { group, resource })
            })
            .collect()
    }

    /// Returns the resources with this name: all of a group, or one resource.
    pub(super) fn resources_of(&self, name: &str) -> Result<Vec<ResourceRef>> {
        match self.config.groups.position(|group| group.name == name) {
            Some(group) => Ok(self
                .all_resources()
                .into_iter()
                .filter(|reference| reference.group == group)
                .collect()),
            None => self.resource_named(name).map(|reference| vec![reference]),
        }
    }

    fn resource_named(&self, name: &str) -> Result<ResourceRef> {
        let groups = self.config.groups.iter_enumerated();
        let found = groups.flat_map(|(group, plan)| {
            let resources = plan.resources.iter_enumerated();
            resources
                .map(move |(resource, plan)| (ResourceRef { group, resource }, plan.name.as_str()))
        });
        let all: Vec<_> = found.collect();
        let found = all.iter().find(|(_, known)| *known == name);
        found.map(|(reference, _)| *reference).with_context(|| {
            let known: Vec<_> = all.iter().map(|(_, name)| *name).collect();
            format!(
                "no resource is called `{name}`; there are {}",
                known.join(", ")
            )
        })
    }
}
