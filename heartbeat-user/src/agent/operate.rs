//! What an operator asks of the cluster: move a group, put a node on standby, take it back.
//!
//! A request reaches the node that can carry it out, by the channel between agents if that is another
//! one, and is answered when it has been carried out or has failed. This only asks: the core decides.

use std::{fs, io::ErrorKind, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, NodeState},
};
use heartbeat_core::{
    Rows as _,
    cluster::{Intent, Slots as _},
};
use tokio::time::sleep;

use crate::{
    clock,
    config::{Config, Node, Vip, key::Keys},
    control::protocol::{Request, Response},
    dataplane::{LeaseSlots, PeerRows},
    peering,
    pulse::{Directive, Directives, PulseStats},
};

/// How long a node may take to carry out a request, beside what its leases make it take.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(1);
const STANDBY: &str = "standby";

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The control socket: it may be passed on.
    Local,
    /// Another node, which took this one for the right one.
    Peer,
}

#[derive(Debug)]
pub(super) struct Operator {
    pub(super) config: Arc<Config>,
    pub(super) keys: Keys,
    pub(super) directives: Directives,
    pub(super) stats: Arc<PulseStats>,
    pub(super) slots: LeaseSlots,
    pub(super) rows: PeerRows,
}

impl Operator {
    /// What this node did when it last ran: an operator's standby outlives a restart.
    pub(super) fn remembered(config: &Config) -> Intent {
        if flag(config).exists() {
            Intent::Standby
        } else {
            Intent::Serve
        }
    }

    /// Carries out a [`Request::Move`], [`Request::Standby`] or [`Request::Online`].
    pub(super) async fn carry_out(&self, request: Request, origin: Origin) -> Response {
        let result = match &request {
            Request::Move { group, node } => self.move_group(group, node, &request, origin).await,
            Request::Standby { node } => self.turn(node, true, &request, origin).await,
            Request::Online { node } => self.turn(node, false, &request, origin).await,
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
        let vip = &self.config.vips[index];
        let to = self.node(node)?;
        if !self.config.groups[index].rank.contains(&to.id) {
            bail!("node {node} is a witness: it serves nothing");
        }
        let Some(owner) = self.owner(vip) else {
            bail!(
                "nobody serves {group} just now, so there is nobody to hand it over: see `heartbeat status`"
            );
        };
        let local = self.config.local().id;
        if owner != local {
            return self.pass_on(owner, request, origin).await;
        }
        if to.id == local {
            self.directives.tell(Directive::Move {
                group: index,
                to: to.id,
            });
            return done(format!("{group} is on {node} already, and stays there"));
        }
        self.is_fit(to)?;
        let began = clock::now();
        self.directives.tell(Directive::Move {
            group: index,
            to: to.id,
        });
        let patience = PATIENCE.saturating_add(self.config.lease * 2);
        loop {
            match self.owner(vip) {
                Some(owner) if owner == to.id => {
                    let from = &self.config.local().name;
                    let took = clock::now().since(began).as_micros();
                    return done(format!("{group} moved from {from} to {node} in {took} us"));
                }
                Some(owner) if owner != local => bail!(
                    "{group} was released for {node}, but {} was faster; move it again",
                    self.name(owner)
                ),
                _ if clock::now().since(began) > patience => bail!(
                    "{group} did not reach {node} within {} s: see `heartbeat status` and the agents' logs",
                    patience.as_secs()
                ),
                _ => sleep(POLL).await,
            }
        }
    }

    /// Whether `to` could take a group now, as its kernel says.
    fn is_fit(&self, to: &Node) -> Result<()> {
        let links = self.config.links.len();
        let peer = self
            .config
            .peers()
            .position(|peer| peer.id == to.id)
            .context("this node is no peer of itself")?;
        let recent = self.config.timeout * 2;
        let row = (peer * links..(peer + 1) * links)
            .map(|row| self.rows.row(row))
            .max_by_key(|row| row.last_reply_at)
            .filter(|row| clock::now().since(Boottime::from_nanos(row.last_reply_at)) <= recent);
        let Some(row) = row else {
            bail!("node {} does not answer: it cannot take anything", to.name);
        };
        let state = u8::try_from(row.state).map_or(NodeState::Responder, NodeState::from_wire);
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
        Ok(())
    }

    async fn turn(
        &self,
        node: &str,
        standby: bool,
        request: &Request,
        origin: Origin,
    ) -> Result<Response> {
        let target = self.node(node)?;
        if target.id != self.config.local().id {
            return self.pass_on(target.id, request, origin).await;
        }
        remember(&self.config, standby)?;
        if !standby {
            self.directives.tell(Directive::Intend(Intent::Serve));
            return done(format!("node {node} is online"));
        }
        self.directives.tell(Directive::Intend(Intent::Standby));
        let until = clock::now().after(PATIENCE.saturating_add(self.config.lease * 2));
        // The pulse needs a moment to hear of it.
        sleep(POLL.max(self.config.interval)).await;
        while !self.stats.is_idle() {
            if clock::now() > until {
                bail!(
                    "node {node} is on standby, but it still serves something: see `heartbeat status` \
                     and its log"
                );
            }
            sleep(POLL).await;
        }
        done(format!("node {node} is on standby and serves nothing"))
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
    fn owner(&self, vip: &Vip) -> Option<NodeId> {
        self.slots.slot(vip.group).live_owner(clock::now())
    }

    fn group(&self, name: &str) -> Result<usize> {
        let groups = || self.config.vips.iter().map(|vip| vip.name.as_str());
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

fn done(text: String) -> Result<Response> {
    Ok(Response::Done { text })
}

/// The file that says that this node is on standby.
fn flag(config: &Config) -> PathBuf {
    config.state_dir().join(STANDBY)
}

fn remember(config: &Config, standby: bool) -> Result<()> {
    let flag = flag(config);
    let result = if standby {
        fs::write(&flag, "an operator put this node on standby\n")
    } else {
        match fs::remove_file(&flag) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    };
    result.with_context(|| format!("could not change {}", flag.display()))
}
