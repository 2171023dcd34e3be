//! What an operator asks of the cluster: move a group, put a node on standby, stop a resource.
//!
//! A request reaches the node that can carry it out, by the channel between agents if that is another
//! one. The node that was asked then watches what becomes of it, and answers when it has been carried out
//! or has failed. This only asks: the core decides.

mod nodes;
mod resources;

use std::{
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use heartbeat_common::{
    maps::PeerRow,
    time::Boottime,
    wire::{NodeId, NodeState},
};
use heartbeat_core::{
    Rows as _,
    cluster::{Intent, Slots as _},
    group::Note,
    placement::Score,
};
use tokio::{sync::Notify, time::sleep};

use super::view::{self, Shared};
use crate::{
    clock,
    conductor::Order,
    config::{Config, Group, Node, ResourceKind, key::Keys},
    control::protocol::{self, Request, Response},
    dataplane::{LeaseSlots, PeerRows},
    peering,
    pulse::{Directive, Directives, PulseStats},
};

/// How long a node may take to carry out a request, beside what its leases make it take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same where resources are to be stopped or started that take their time.
const LONG_PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(1);
/// The same for what only reports tell.
const SLOW_POLL: Duration = Duration::from_millis(10);

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The control socket: it may be passed on, and is watched.
    Local,
    /// Another node, which took this one for the right one, and watches itself.
    Peer,
}

#[derive(Debug)]
pub(super) struct Operator {
    pub(super) config: Arc<Config>,
    pub(super) keys: Keys,
    pub(super) directives: Directives,
    pub(super) orders: Sender<Order>,
    pub(super) view: Shared,
    /// Rings when something was decided.
    pub(super) decided: Arc<Notify>,
    pub(super) stats: Arc<PulseStats>,
    pub(super) slots: LeaseSlots,
    pub(super) rows: PeerRows,
}

impl Operator {
    /// What this node did when it last ran: an operator's standby outlives a restart.
    pub(super) fn remembered(config: &Config) -> Intent {
        if nodes::is_on_standby(config) {
            Intent::Standby
        } else {
            Intent::Serve
        }
    }

    /// Carries out whatever changes something.
    pub(super) async fn carry_out(&self, request: Request, origin: Origin) -> Response {
        let result = match &request {
            Request::Move { group, node } => self.move_group(group, node, &request, origin).await,
            Request::Unmove { group } => self.unmove(group, &request, origin).await,
            Request::Standby { node } => self.turn(node, true, &request, origin).await,
            Request::Online { node } => self.turn(node, false, &request, origin).await,
            Request::Cleanup { resource, node } => {
                self.cleanup(resource.as_deref(), node.as_deref(), origin)
                    .await
            }
            Request::Maintenance { on, group } => self.maintain(*on, group.as_deref()).await,
            Request::Enable { name, enabled } => self.enable(name, *enabled).await,
            Request::Restart { resource } => self.restart(resource, &request, origin).await,
            other => Err(anyhow!("{other:?} is not for other nodes")),
        };
        result.unwrap_or_else(|error| Response::Error {
            message: format!("{error:#}"),
        })
    }

    async fn move_group(
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
        let Some(owner) = self.owner(plan) else {
            bail!(
                "nobody serves {group} just now, so there is nobody to hand it over: see `heartbeat status`"
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
            }
            self.directives.tell(Directive::Move {
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
        index: usize,
        from: NodeId,
        to: &Node,
        began: Boottime,
    ) -> Result<Response> {
        let plan = &self.config.groups[index];
        let (group, node) = (&plan.name, &to.name);
        let patience = self.patience(plan).saturating_add(self.config.lease * 2);
        // What is known of it may be from before its failures were forgotten.
        let mut was_fit = false;
        let mut failed = |now: &protocol::Group| {
            was_fit |= !now.barred.contains(node);
            if was_fit { can_run_on(now, to) } else { Ok(()) }
        };
        let took = loop {
            let now = self.describe(index);
            can_go_on(&now)?;
            failed(&now)?;
            match self.owner(plan) {
                Some(owner) if owner == to.id => break clock::now().since(began),
                Some(owner) if owner != from => bail!(
                    "{group} was released for {node}, but {} was faster; move it again",
                    self.name(owner)
                ),
                _ if clock::now().since(began) > patience => bail!(
                    "{group} did not reach {node} within {} s: see `heartbeat status` and the agents' logs",
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
        done(format!(
            "{group} moved from {} to {node} in {} us",
            self.name(from),
            took.as_micros()
        ))
    }

    /// Waits until what is known of a group is as `test` wants it.
    async fn watch<T>(
        &self,
        index: usize,
        patience: Duration,
        mut test: impl FnMut(&protocol::Group) -> Option<T>,
    ) -> Result<T> {
        let until = clock::now().after(patience);
        loop {
            let now = self.describe(index);
            if let Some(found) = test(&now) {
                return Ok(found);
            }
            can_go_on(&now)?;
            if clock::now() > until {
                let states = now.resources.iter().map(|resource| {
                    let at = resource.node.as_deref();
                    let at = at.map_or_else(String::new, |node| format!(" on {node}"));
                    format!("{} is {}{at}", resource.name, resource.state)
                });
                bail!(
                    "not within {} s: {}; see `heartbeat status`",
                    patience.as_secs(),
                    states.collect::<Vec<_>>().join(", ")
                );
            }
            sleep(SLOW_POLL).await;
        }
    }

    fn describe(&self, index: usize) -> protocol::Group {
        let owner = self.owner(&self.config.groups[index]);
        let view = view::lock(&self.view);
        let lives = |node| self.latest(node).is_some();
        view.groups
            .describe(index, owner, lives, |node| self.name(node))
    }

    /// How long a group may take to stop and to start.
    fn patience(&self, group: &Group) -> Duration {
        let slow = |kind: &ResourceKind| !matches!(kind, ResourceKind::Vip(_));
        if group.resources.iter().any(|resource| slow(&resource.kind)) {
            LONG_PATIENCE
        } else {
            PATIENCE
        }
    }

    async fn unmove(&self, group: &str, request: &Request, origin: Origin) -> Result<Response> {
        let index = self.group(group)?;
        match self.owner(&self.config.groups[index]) {
            Some(owner) if owner != self.config.local().id => {
                self.pass_on(owner, request, origin).await
            }
            owner => {
                let note = Note::Unpinned;
                self.directives.tell(Directive::Note { group: index, note });
                done(match owner {
                    Some(_) => format!("{group} may go wherever it is best"),
                    None => format!("nobody serves {group} just now: it goes wherever it is best"),
                })
            }
        }
    }

    /// Whether `to` could take this group now, as far as is known.
    fn is_fit(&self, group: usize, to: &Node) -> Result<()> {
        let Some(row) = self.latest(to.id) else {
            bail!("node {} does not answer: it cannot take anything", to.name);
        };
        let state = said(&row);
        if state != NodeState::Active {
            bail!(
                "node {} is {}: it cannot take anything{}",
                to.name,
                state.name(),
                match state {
                    NodeState::Standby => "; `heartbeat online` takes it back",
                    _ => "",
                }
            );
        }
        let now = self.describe(group);
        can_run_on(&now, to)?;
        let location = self.config.groups[group].location(to.id);
        if location == Score::NEVER {
            bail!("a [[location]] bans {} from node {}", now.name, to.name);
        }
        let bound = self.config.colocations.iter();
        for colocation in bound.filter(|colocation| colocation.group == group) {
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

    /// What a peer's kernel said last, if that was just now.
    fn latest(&self, node: NodeId) -> Option<PeerRow> {
        let links = self.config.links.len();
        let peer = self.config.peers().position(|peer| peer.id == node)?;
        let recent = self.config.timeout * 2;
        (peer * links..(peer + 1) * links)
            .map(|row| self.rows.row(row))
            .max_by_key(|row| row.last_reply_at)
            .filter(|row| clock::now().since(Boottime::from_nanos(row.last_reply_at)) <= recent)
    }

    /// Lets the agent of `node` carry it out.
    async fn pass_on(&self, node: NodeId, request: &Request, origin: Origin) -> Result<Response> {
        let name = self.name(node);
        if origin == Origin::Peer {
            bail!("it moved meanwhile, now this is for node {name}: try again");
        }
        let payload = serde_json::to_vec(request)?;
        let answer = peering::ask(&self.config, &self.keys, node, &payload, peering::PATIENCE)
            .await
            .with_context(|| format!("could not ask node {name}"))?;
        serde_json::from_slice(&answer)
            .with_context(|| format!("the answer of node {name} is not understood"))
    }

    /// Who serves it, as this node's acceptor knows.
    fn owner(&self, group: &Group) -> Option<NodeId> {
        self.slots.slot(group.id).live_owner(clock::now())
    }

    fn group(&self, name: &str) -> Result<usize> {
        let groups = || self.config.groups.iter().map(|group| group.name.as_str());
        groups().position(|group| group == name).with_context(|| {
            let known: Vec<&str> = groups().collect();
            format!(
                "no group is called `{name}`; there are {}",
                known.join(", ")
            )
        })
    }

    fn node(&self, name: &str) -> Result<&Node> {
        self.config.node_named(name).with_context(|| {
            let nodes = self.config.nodes.iter();
            let known: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
            format!("no node is called `{name}`; there are {}", known.join(", "))
        })
    }

    fn name(&self, node: NodeId) -> String {
        self.config
            .node(node)
            .map_or_else(|| node.0.to_string(), |node| node.name.clone())
    }
}

/// Fails if only an operator can get it going again.
fn can_go_on(now: &protocol::Group) -> Result<()> {
    if let Some(node) = &now.blocked {
        bail!(
            "it is blocked on {node}, where a stop failed: stop by hand what runs of it there, then \
             `heartbeat cleanup`"
        );
    }
    Ok(())
}

/// Fails if it failed on that node.
fn can_run_on(now: &protocol::Group, node: &Node) -> Result<()> {
    if now.barred.contains(&node.name) {
        bail!(
            "{} failed on {} and is kept away from it: `heartbeat cleanup` forgets its failures",
            now.name,
            node.name
        );
    }
    Ok(())
}

/// What a node's agent last said of the node.
fn said(row: &PeerRow) -> NodeState {
    u8::try_from(row.state).map_or(NodeState::Responder, NodeState::from_wire)
}

fn done(text: String) -> Result<Response> {
    Ok(Response::Done { text })
}
