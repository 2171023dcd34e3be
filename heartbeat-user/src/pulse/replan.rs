//! A changed configuration, or changed peers, for a running pulse.

use heartbeat_core::{
    cluster::Member, index::VipIndex, index_vec::ByGroup, membership::Membership, placement::Layout,
};

use super::{
    Identity,
    plan::{addresses, layout, member},
    sender::Round,
};
use crate::{
    config::{Config, key::Keys},
    dataplane::{GuardView, PeerRows},
};

/// A configuration that changed while the agent runs. Earlier groups and addresses keep their
/// indices.
#[derive(Debug)]
pub struct Replan {
    pub(super) layout: Layout,
    pub(super) auto_failback: bool,
    pub(super) guarded: ByGroup<Vec<VipIndex>>,
    pub(super) guard: GuardView,
    pub(super) generation: u32,
    pub(super) reform: Option<Reform>,
}

/// A changed list of peers.
#[derive(Debug)]
pub struct Reform {
    pub(super) peers: Vec<Member>,
    pub(super) membership: Membership,
    pub(super) rounds: Vec<Round>,
    pub(super) rows: PeerRows,
}

impl Reform {
    /// Returns the peers of `config`, with their rows, for the agent with this `identity`.
    pub fn new(
        config: &Config,
        membership: Membership,
        identity: Identity,
        rows: PeerRows,
    ) -> Self {
        Self {
            peers: config.peers().map(member).collect(),
            membership,
            rounds: Round::all(config, identity.incarnation, identity.nonce),
            rows,
        }
    }
}

impl Replan {
    /// Returns the plan of `config`. The addresses of its groups have their rows in `guard`.
    pub fn new(config: &Config, keys: &Keys, guard: GuardView, reform: Option<Reform>) -> Self {
        Self {
            reform,
            layout: layout(config),
            auto_failback: config.auto_failback,
            guarded: config.served_groups().iter().map(addresses).collect(),
            guard,
            generation: config.digest(keys.active.1),
        }
    }
}
