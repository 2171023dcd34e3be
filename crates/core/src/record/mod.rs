//! A run of the core as values: its inputs and decisions, and the replay from a file.
//!
//! The caller encodes each call into the core with an [`Encoder`]. [`Decoder`] reads the
//! entries back, and [`Replay`] runs a core over them and compares its decisions with the recorded
//! ones. Nothing here does I/O. A record contains no keys, because the core never receives one.
//!
//! ```text
//!   file    MAGIC | version: u16 | frame | frame | …
//!   frame   length: u32 | check: u32 | entry
//! ```
//!
//! Numbers are little-endian, an entry is encoded by postcard, and `check` is the 32-bit FNV-1a
//! hash of the entry. An entry contains only those words of the kernel's rows that differ from the
//! step before.

mod decode;
mod encode;
mod replay;
pub mod text;

use std::{borrow::Cow, time::Duration};

use heartbeat_common::{
    time::Boottime,
    wire::{GroupId, Health, LeaseEntry, LinkSet, NodeId},
};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::{Cluster, Command, Intent, Member, Plan},
    group::Note,
    index::{GroupIndex, PeerIndex},
    membership::Membership,
    observation::ReadSlot,
    placement::Layout,
    report::GroupReports,
};
pub use decode::{DecodeError, Decoder};
pub use encode::{Encoder, Full};
pub use replay::{Outcome, Replay, ReplayError};

/// The first bytes of a record.
pub const MAGIC: &[u8; 16] = b"heartbeat-record";
/// The version grows with each change of an entry, or of a part of one: `tests/record_format.rs`
/// reads a record of this version, and explains how to write one of the next.
pub const VERSION: u16 = 3;
/// The number of bytes before the first entry.
pub const HEADER_LEN: usize = MAGIC.len() + size_of::<u16>();
/// The number of bytes of a frame before its entry.
const FRAME_LEN: usize = 2 * size_of::<u32>();

/// The bytes before the first entry.
pub fn header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let (magic, version) = header.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    version.copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// A call into the core, other than a step and votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// [`Cluster::inherit`].
    Inherit { group: GroupIndex, until: Boottime },
    /// [`Cluster::freed`].
    Freed(GroupId),
    /// [`Cluster::stopped`].
    Stopped { group: GroupIndex, now: Boottime },
    /// [`Cluster::move_to`].
    Move { group: GroupIndex, to: NodeId },
    /// [`Cluster::note`].
    Note { group: GroupIndex, note: Note },
    /// [`Cluster::reported`].
    Reported { node: NodeId, report: GroupReports },
    /// [`Cluster::set_broken`].
    Broken(LinkSet),
    /// [`Cluster::set_health`].
    Health(Health),
    /// [`Cluster::set_load`].
    Load(u16),
    /// [`Cluster::intend`].
    Intend(Intent),
    /// [`Cluster::prepare_restart`].
    GracefulRestart(Duration),
    /// [`Cluster::reform`].
    Reform {
        peers: Vec<Member>,
        links: usize,
        membership: Membership,
    },
    /// [`Cluster::replan`].
    Replan(Layout),
    /// [`Cluster::set_auto_failback`].
    AutoFailback(bool),
}

impl Cluster {
    /// Makes the call that `input` describes. Returns an outdated report, for a caller that must
    /// not free memory.
    pub fn apply(&mut self, input: Input) -> Option<GroupReports> {
        match input {
            Input::Inherit { group, until } => self.inherit(group, until),
            Input::Freed(lease) => self.freed(lease),
            Input::Stopped { group, now } => self.stopped(group, now),
            Input::Move { group, to } => self.move_to(group, to),
            Input::Note { group, note } => self.note(group, note),
            Input::Reported { node, report } => return Some(self.reported(node, report)),
            Input::Broken(links) => self.set_broken(links),
            Input::Health(health) => self.set_health(health),
            Input::Load(load) => self.set_load(load),
            Input::Intend(intent) => self.intend(intent),
            Input::GracefulRestart(lease) => self.prepare_restart(lease),
            Input::Reform {
                peers,
                links,
                membership,
            } => self.reform(peers, links, membership),
            Input::Replan(layout) => self.replan(layout),
            Input::AutoFailback(on) => self.set_auto_failback(on),
        }
        None
    }
}

/// One entry of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// The first entry of each record: the initial plan of the core.
    Start(Box<Cow<'a, Plan>>),
    Input(Cow<'a, Input>),
    /// [`Cluster::count`].
    Votes {
        acceptor: Option<PeerIndex>,
        /// The departure of the probe that requested these votes.
        left: Boottime,
        entries: Cow<'a, [LeaseEntry]>,
        now: Boottime,
    },
    /// [`Cluster::step`], and its decisions.
    Step {
        now: Boottime,
        late: Duration,
        control_tick_at: Boottime,
        votes_from: Boottime,
        /// The number of rows, and their changes.
        rows: usize,
        changes: Cow<'a, [Change]>,
        slots: Cow<'a, [ReadSlot]>,
        decided: Cow<'a, [Command]>,
    },
    /// The last entry, if there is one.
    End(End),
}

/// A word of the rows that differs from the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The number of unchanged words between this word and the change before it.
    pub skip: u32,
    /// The difference to the last step, modulo 2^64.
    pub by: u64,
}

/// The reason for the end of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The agent ended.
    Stopped,
    /// The record has reached its largest size.
    Limit,
    /// The disk was too slow: an entry was lost.
    Lost,
}

fn check(entry: &[u8]) -> u32 {
    entry.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
