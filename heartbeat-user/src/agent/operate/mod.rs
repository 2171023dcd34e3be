//! The requests of an operator to the cluster: move a group, put a node on standby, stop a
//! resource.
//!
//! A request goes to the node that can carry it out, over the channel between agents if that is
//! another node. The node that received it from the client then observes the result, and answers
//! when the request has been carried out or has failed. This module only makes requests: the core
//! decides.

mod cleanup;
mod events;
mod moves;
mod nodes;
mod resources;
mod settled;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use heartbeat_common::{
    maps::PeerRow,
    time::Boottime,
    wire::{NodeId, NodeState},
};
use heartbeat_sys::files::atomic_file::Writer;
pub(super) use nodes::remembered;
use tokio::{sync::Notify, time::sleep};

use super::view::{self, Shared};
use crate::{
    clock,
    config::{Config, Group, Node, ResourceKind, Role, key::Keys},
    control::protocol::{self, Request, Response},
    dataplane::{LeaseSlots, PeerRows},
    logging,
    messages::ResourceCommand,
    peering::{self, AskError},
    pulse::{Directives, PulseStats, mailbox::Post},
};
use heartbeat_core::index::GroupIndex;

/// The time limit for a request, beside the delay of leases.
const PATIENCE: Duration = Duration::from_secs(3);
/// The time limit for a request that stops or starts slow resources.
const LONG_PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(1);
/// The poll interval for state that only reports carry.
const SLOW_POLL: Duration = Duration::from_millis(10);

/// The begin of the answer to a request of a peer that this release does not know. Later releases
/// recognise an older one by it, so it never changes.
pub(super) const NOT_UNDERSTOOD: &str = "the request is not understood by this release";

/// The source of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The control socket: this node may pass the request on, and observes the result.
    Local,
    /// Another node, which chose this one to carry out the request, and observes the result itself.
    Peer,
}

#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) config: Arc<Config>,
    pub(super) keys: Arc<Keys>,
    pub(super) directives: Directives,
    pub(super) commands: Post<ResourceCommand>,
    pub(super) view: Shared,
    /// Notifies the control task of a decision.
    pub(super) decided: Arc<Notify>,
    pub(super) stats: Arc<PulseStats>,
    pub(super) slots: Arc<LeaseSlots>,
    pub(super) rows: Arc<PeerRows>,
    /// The number of operator decisions on this node. The thread that writes a decision to disk
    /// also counts it and sends it to the pulse, so all three happen in the same order.
    pub(super) turns: Arc<Mutex<u64>>,
    /// The writer for state that must outlive the agent.
    pub(super) writer: Writer,
}

/// Returns the refusal of a witness's command: a witness votes, and decides nothing.
pub(super) fn refused_witness(name: &str) -> Response {
    Response::Error {
        message: format!(
            "node {name} is a witness, which votes and sends no commands: run this on a member of \
             the cluster"
        ),
    }
}

impl Operator {
    /// Carries out any request that changes something.
    pub(super) async fn carry_out(self: &Arc<Self>, request: Request, origin: Origin) -> Response {
        let local = self.config.local();
        if local.role == Role::Witness && origin == Origin::Local {
            return refused_witness(&local.name);
        }
        let result = match &request {
            Request::Move { group, node } => self.move_group(group, node, &request, origin).await,
            Request::Unmove { group } => self.unmove(group, &request, origin).await,
            Request::Standby { node, force } => self.stand_by(node, *force, &request, origin).await,
            Request::Online { node } => self.turn(node, false, &request, origin).await,
            Request::Drain { node } => self.drain(node, &request, origin).await,
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

    /// Waits until `test` accepts the state of a group.
    async fn watch<T>(
        &self,
        index: GroupIndex,
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

    fn describe(&self, index: GroupIndex) -> protocol::Group {
        let owner = self.owner(&self.config.groups[index]);
        let view = view::lock(&self.view);
        let lives = |node| self.latest(node).is_some();
        let described = view
            .groups
            .describe(index, owner, lives, |node| self.name(node));
        protocol::Group {
            cut_off: view.cut_off(&self.config.groups[index], &described.cut_off),
            ..described
        }
    }

    /// Returns the time limit for a group to stop and to start.
    fn patience(&self, group: &Group) -> Duration {
        let slow = |kind: &ResourceKind| !matches!(kind, ResourceKind::Vip(_));
        if group.resources.iter().any(|resource| slow(&resource.kind)) {
            LONG_PATIENCE
        } else {
            PATIENCE
        }
    }

    /// Returns the latest answer of a peer's kernel, if it is recent.
    fn latest(&self, node: NodeId) -> Option<PeerRow> {
        let links = self.config.links.len();
        let peer = self.config.peer_index(node)?;
        let recent = self.config.timeout * 2;
        let row = self.rows.latest(peer, links);
        let age = clock::now().since(Boottime::from_nanos(row.last_reply_at));
        (age <= recent).then_some(row)
    }

    /// Passes the request to the agent of `node`, and returns its answer.
    async fn pass_on(&self, node: NodeId, request: &Request, origin: Origin) -> Result<Response> {
        let name = self.name(node);
        if origin == Origin::Peer {
            bail!("the group has moved, and node {name} must carry out the request: try again");
        }
        let payload = serde_json::to_vec(request)?;
        let answer = peering::ask(&self.config, &self.keys, node, &payload, peering::PATIENCE)
            .await
            .with_context(|| format!("could not ask node {name}"))?;
        match understood(&answer, &name)? {
            Response::Checked(_) => bail!("the answer of node {name} belongs to another request"),
            answer => Ok(answer),
        }
    }

    /// Passes a step of a reload of all nodes to the agent of `node`, encrypted, because a
    /// configuration may contain passwords.
    pub(super) async fn configure(
        &self,
        node: &str,
        request: &Request,
        origin: Origin,
    ) -> Response {
        let asked = async {
            let target = self.node(node)?;
            if origin == Origin::Peer {
                bail!("this is for node {node}: ask there");
            }
            let payload = serde_json::to_vec(request)?;
            let (config, keys) = (&self.config, &self.keys);
            let patience = peering::SECRET_PATIENCE;
            let asked = peering::ask_in_secret(config, keys, target.id, &payload, patience).await;
            result(asked, node)
        };
        asked.await.unwrap_or_else(|error| Response::Error {
            message: format!("{error:#}"),
        })
    }

    /// Waits for an owner of `group` in the records of this node's acceptor, and returns it.
    ///
    /// A takeover, or a renewal that reached only the other acceptors in time, leaves it without
    /// one for less than two leases.
    async fn owner_soon(&self, group: &Group) -> Option<NodeId> {
        let until = clock::now().after(self.config.lease * 2);
        loop {
            let owner = self.owner(group);
            if owner.is_some() || clock::now() > until {
                return owner;
            }
            sleep(POLL).await;
        }
    }

    /// Returns the owner of the group, as this node's acceptor has recorded it.
    fn owner(&self, group: &Group) -> Option<NodeId> {
        self.slots.slot(group.id).live_owner(clock::now())
    }

    fn group(&self, name: &str) -> Result<GroupIndex> {
        let groups = || self.config.groups.iter().map(|group| group.name.as_str());
        self.config
            .groups
            .position(|group| group.name == name)
            .with_context(|| {
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

/// Returns the result of a step on another node, which may have an effect without an answer.
fn result(asked: Result<Vec<u8>, AskError>, node: &str) -> Result<Response> {
    match asked {
        Ok(answer) => understood(&answer, node),
        Err(error @ AskError::Unreachable { .. }) => Ok(Response::NotReached {
            message: error.to_string(),
        }),
        Err(error @ (AskError::Unanswered { .. } | AskError::Refused { .. })) => {
            Ok(Response::Unanswered {
                message: error.to_string(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Parses the answer of another node, and removes control characters from its texts.
fn understood(answer: &[u8], name: &str) -> Result<Response> {
    let answer = serde_json::from_slice(answer)
        .with_context(|| format!("the answer of node {name} is not understood"))?;
    Ok(match answer {
        Response::Done { text } => Response::Done {
            text: logging::clean(&text),
        },
        Response::Error { message } => Response::Error {
            message: logging::clean(&message),
        },
        Response::Checked(checked) => {
            Response::Checked(Box::new(checked.map_texts(logging::clean)))
        }
        other => bail!("the answer of node {name} belongs to another request: {other:?}"),
    })
}

/// Fails if only an operator can unblock the group.
fn can_go_on(now: &protocol::Group) -> Result<()> {
    if let Some(node) = &now.blocked {
        bail!(
            "it is blocked on {node}, where a stop failed: stop by hand what runs of it there, \
             then `heartbeat cleanup`"
        );
    }
    Ok(())
}

/// Returns the state that a node's agent announced last.
fn announced_state(row: &PeerRow) -> NodeState {
    u8::try_from(row.state).map_or(NodeState::Responder, NodeState::from_wire)
}

fn done(text: String) -> Result<Response> {
    Ok(Response::Done { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_without_an_answer_is_not_refused() {
        let busy = AskError::Refused {
            node: "b".to_owned(),
            reason: "its agent is busy since 60 s and may still carry it out".to_owned(),
        };
        let Ok(Response::Unanswered { message }) = result(Err(busy), "b") else {
            panic!("not unanswered");
        };
        assert!(message.contains("may still carry it out"), "{message}");
        let gone = AskError::Unreachable {
            node: "b".to_owned(),
            attempts: Vec::new(),
        };
        assert!(matches!(
            result(Err(gone), "b"),
            Ok(Response::NotReached { .. })
        ));
        let refused = Response::Error {
            message: "no".to_owned(),
        };
        let answer = serde_json::to_vec(&refused).unwrap();
        assert_eq!(result(Ok(answer), "b").unwrap(), refused);
        let nobody = AskError::NoSuchPeer(NodeId(9));
        assert!(result(Err(nobody), "b").is_err());
    }
}
