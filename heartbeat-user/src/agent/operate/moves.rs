//! Moves of a group to another node.

use anyhow::{Context as _, Result, bail};
use heartbeat_common::{
    time::Boottime,
    units::Short,
    wire::{Health, NodeId, NodeState},
};
use heartbeat_core::{group::Note, index::GroupIndex, placement::Score};
use tokio::time::sleep;

use super::{Operator, Origin, PATIENCE, POLL, SLOW_POLL, announced_state, can_go_on, done, view};
use crate::{
    clock,
    config::Node,
    control::protocol::{self, Request, Response},
    messages::Directive,
};

impl Operator {
    pub(super) async fn move_group(
        &self,
        group: &str,
        node: &str,
        request: &Request,
        origin: Origin,
    ) -> Result<Response> {
        let index = self.group(group)?;
        let plan = &self.config.groups[index];
        let to = self.node(node)?;
        if !plan.rank.contains(&to.id) {
            bail!("node {node} is a witness: it serves nothing");
        }
        let Some(owner) = self.owner_soon(plan).await else {
            bail!(
                "no node serves {group} at the moment, so it cannot be moved: see `heartbeat \
                 status`"
            );
        };
        let began = clock::now();
        if owner != self.config.local().id {
            let passed = self.pass_on(owner, request, origin).await?;
            if owner == to.id || matches!(passed, Response::Error { .. }) {
                return Ok(passed);
            }
        } else {
            if to.id != owner {
                self.is_fit(index, to)?;
                self.until_settled(index, to).await?;
            }
            self.directives.send(Directive::Move {
                group: index,
                to: to.id,
            });
            if to.id == owner {
                return done(format!("{group} is on {node} already, and stays there"));
            }
            if origin == Origin::Peer {
                return done(format!("{group} is on its way to {node}"));
            }
        }
        self.watch_move(index, owner, to, began).await
    }

    /// Waits until a group that `from` hands over runs on `to`.
    async fn watch_move(
        &self,
        index: GroupIndex,
        from: NodeId,
        to: &Node,
        began: Boottime,
    ) -> Result<Response> {
        let plan = &self.config.groups[index];
        let (group, node) = (&plan.name, &to.name);
        let patience = self.patience(plan).saturating_add(self.config.lease * 2);
        // The known state may be older than the clean-up of the group's failures.
        let mut was_fit = false;
        let mut failed = |now: &protocol::Group| {
            was_fit |= !now.barred.contains(node);
            if was_fit { can_run_on(now, to) } else { Ok(()) }
        };
        let mut released = false;
        let took = loop {
            let now = self.describe(index);
            can_go_on(&now)?;
            failed(&now)?;
            let owner = self.owner(plan);
            released |= owner.is_none();
            match owner {
                Some(owner) if owner == to.id => break clock::now().since(began),
                Some(owner) if owner == from && released => bail!(
                    "{group} was released for {node}, which did not take it, so {} has it again: \
                     see the log of the agent on {node}",
                    self.name(from)
                ),
                Some(owner) if owner != from => bail!(
                    "{group} was released for {node}, but {} was faster; move it again",
                    self.name(owner)
                ),
                _ if clock::now().since(began) > patience => bail!(
                    "{group} did not reach {node} within {} s: see `heartbeat status` and the \
                     agents' logs",
                    patience.as_secs()
                ),
                _ => sleep(POLL).await,
            }
        };
        self.watch(index, patience, |now| match failed(now) {
            Ok(()) => (now.running && now.owner.as_ref() == Some(node)).then_some(Ok(())),
            failed => Some(failed),
        })
        .await
        .and_then(|outcome| outcome)
        .with_context(|| format!("{group} moved to {node}, but does not run there"))?;
        self.has_left(index, from).await?;
        done(format!(
            "{group} moved from {} to {node} in {}",
            self.name(from),
            Short(took)
        ))
    }

    /// Fails if a group may still run on its former node. A node releases a group that has not
    /// stopped only if its agent hangs or it lost its majority.
    async fn has_left(&self, index: GroupIndex, from: NodeId) -> Result<()> {
        let until = clock::now().after(PATIENCE);
        loop {
            // The node's report may be one behind.
            let left = view::lock(&self.view).groups.left_at(from, index);
            if left.is_empty() {
                return Ok(());
            }
            if clock::now() > until {
                bail!(
                    "the group moved, but {} may still run on {} as well: that node lost its lease \
                     before they had stopped",
                    left.join(", "),
                    self.name(from)
                );
            }
            sleep(SLOW_POLL).await;
        }
    }

    pub(super) async fn unmove(
        &self,
        group: &str,
        request: &Request,
        origin: Origin,
    ) -> Result<Response> {
        let index = self.group(group)?;
        match self.owner_soon(&self.config.groups[index]).await {
            Some(owner) if owner != self.config.local().id => {
                self.pass_on(owner, request, origin).await
            }
            owner => {
                let note = Note::Unpinned;
                self.directives.send(Directive::Note { group: index, note });
                done(match owner {
                    Some(_) => format!("{group} is no longer pinned"),
                    None => format!("{group} is not pinned: no node serves it at the moment"),
                })
            }
        }
    }

    /// Waits until `to` is active and has probed this group: it acquires nothing before.
    async fn until_settled(&self, group: GroupIndex, to: &Node) -> Result<()> {
        let name = &self.config.groups[group].name;
        let until = clock::now().after(PATIENCE);
        loop {
            // The node may have died just before the command arrived, or since.
            let Some(row) = self.latest(to.id) else {
                bail!("node {} does not answer: it takes no group", to.name);
            };
            let settled = {
                let groups = &view::lock(&self.view).groups;
                announced_state(&row) == NodeState::Active
                    && (row.report, row.incarnation) == groups.known(to.id)
                    && groups.is_settled_at(to.id, name)
            };
            if settled {
                return Ok(());
            }
            if clock::now() > until {
                bail!(
                    "node {} is starting, or has not probed {name} yet: see `heartbeat status` \
                     there, and try again",
                    to.name
                );
            }
            sleep(SLOW_POLL).await;
        }
    }

    /// Fails if `to` could not acquire this group now, as far as known.
    fn is_fit(&self, group: GroupIndex, to: &Node) -> Result<()> {
        let Some(row) = self.latest(to.id) else {
            bail!("node {} does not answer: it takes no group", to.name);
        };
        let state = announced_state(&row);
        // A starting node is waited for.
        if !matches!(state, NodeState::Active | NodeState::Starting) {
            bail!(
                "node {} is {}: it takes no group{}",
                to.name,
                state.name(),
                match state {
                    NodeState::Standby => "; `heartbeat online` ends the standby",
                    _ => "",
                }
            );
        }
        if Health(row.health).is_fatal() {
            let failing = view::lock(&self.view).load_and_failing(to.id).1;
            bail!(
                "node {} is unhealthy: it takes no group until its health check {} succeeds",
                to.name,
                failing.join(", ")
            );
        }
        let now = self.describe(group);
        can_run_on(&now, to)?;
        let location = self.config.groups[group].location(to.id);
        if location == Score::NEVER {
            bail!("a [[location]] bans {} from node {}", now.name, to.name);
        }
        for colocation in &self.config.colocations {
            if colocation.with == group && colocation.score == Score::NEVER {
                let other = &self.config.groups[colocation.group];
                if self.owner(other) == Some(to.id) {
                    bail!(
                        "{} keeps apart from {} and is on {}: move that first",
                        other.name,
                        now.name,
                        to.name
                    );
                }
            }
            if colocation.group != group {
                continue;
            }
            let with = &self.config.groups[colocation.with];
            let is_there = self.owner(with) == Some(to.id);
            if colocation.score == Score::MUST && !is_there {
                bail!(
                    "{} follows {}, which is not on {}: move that",
                    now.name,
                    with.name,
                    to.name
                );
            }
            if colocation.score == Score::NEVER && is_there {
                bail!(
                    "{} keeps apart from {}, which is on {}",
                    now.name,
                    with.name,
                    to.name
                );
            }
        }
        Ok(())
    }
}

/// Fails if the group is barred from the node or cut off from its network there.
fn can_run_on(now: &protocol::Group, node: &Node) -> Result<()> {
    if now.barred.contains(&node.name) {
        bail!(
            "{} is barred from {} after failures there: `heartbeat cleanup` clears them",
            now.name,
            node.name
        );
    }
    if now.cut_off.contains(&node.name)
        && now
            .owner
            .as_ref()
            .is_none_or(|owner| !now.cut_off.contains(owner))
    {
        bail!(
            "{} is cut off from the network of {}'s addresses: see its links in `heartbeat status`",
            node.name,
            now.name
        );
    }
    Ok(())
}
