//! One node's kernel: the real stamp and receive functions over tables in memory, its acceptor and
//! its guard, and the deadline timers as `heartbeat-ebpf` arms them. This module must never decide
//! about a silence.
//!
//! All times are the machine's own.

use std::collections::BTreeSet;

use bytemuck::Zeroable as _;
use heartbeat_common::{
    lease::Slot,
    maps::{Local, PeerRow, VoteEvent},
    packet::SlicePacket,
    receive::{LOOPBACK, receive},
    stamp::stamp,
    time::Boottime,
    verdict::Verdict,
    wire::{
        GroupId, Incarnation, LEASE_LEN, LeaseEntry, LinkId, MAX_LEASES, NodeState, Sequence,
        offset,
    },
};
use heartbeat_core::{Cluster, ReadSlot};

use super::packets::{Endpoint, Family, KEY, Node};

/// The greatest number of votes that wait for the agent: the capacity of the ring buffer.
const RING: usize = 256 * 1024 / (size_of::<VoteEvent>() + 8);

#[derive(Debug)]
pub(crate) struct Kernel {
    node: Node,
    ends: Vec<Endpoint>,
    peers: Vec<Endpoint>,
    /// The frame for the agent's socket for each row, by the number of lease entries, without the
    /// sequence; and the offset of the heartbeat.
    probes: Vec<Vec<(Vec<u8>, usize)>>,
    /// The rows whose deadline timers run.
    armed: Vec<bool>,
    timeout_ns: u64,
    /// The number of probes that the agent sent to its own acceptor.
    asked_own: u64,
    /// Whether votes came that cannot wait for the agent's tick.
    wake: bool,
    /// By group: the time until which its traffic may pass.
    pub(crate) guard: Vec<u64>,
    /// The groups whose addresses are on the interface.
    pub(crate) addresses: BTreeSet<usize>,
}

impl Kernel {
    /// The kernel of node `me` with `links` links to each of `peers`, without an agent. Its
    /// acceptor votes at once.
    pub(crate) fn new(me: u16, peers: &[u16], links: u8, timeout_ns: u64) -> Self {
        let end = |node, link| Endpoint::of(node, Family::V4).on_link(link);
        let ends: Vec<_> = (0..links).map(|link| end(me, link)).collect();
        let peers: Vec<_> = peers
            .iter()
            .flat_map(|peer| (0..links).map(|link| end(*peer, link)))
            .collect();
        let node = tables(&ends, &peers, timeout_ns);
        let mut kernel = Self {
            node,
            ends,
            probes: Vec::new(),
            armed: vec![false; peers.len()],
            peers,
            timeout_ns,
            asked_own: 0,
            wake: false,
            guard: Vec::new(),
            addresses: BTreeSet::new(),
        };
        kernel.probes = kernel.blank_probes();
        kernel
    }

    /// Sets the end of the acceptor's abstention, its longest lease, and the number of guarded
    /// groups.
    pub(crate) fn with_leases(mut self, votes_from: u64, max_lease_ns: u64, groups: usize) -> Self {
        let config = &mut self.node.tables.config;
        (config.votes_from, config.max_lease_ns) = (votes_from, max_lease_ns);
        self.guard = vec![0; groups];
        self
    }

    /// Loads the programs anew, as a new agent does. The acceptor's slots and the guard stay, and
    /// all other maps are empty.
    pub(crate) fn reload(&mut self) {
        let slots = std::mem::take(&mut self.node.tables.slots);
        let config = self.node.tables.config;
        self.node = tables(&self.ends, &self.peers, self.timeout_ns);
        (self.node.tables.slots, self.node.tables.config) = (slots, config);
        self.armed.fill(false);
        (self.asked_own, self.wake) = (0, false);
    }

    fn blank_probes(&mut self) -> Vec<Vec<(Vec<u8>, usize)>> {
        let peers = self.peers.clone();
        let of_row = |to: &Endpoint| {
            let header = self.node.next_probe(to);
            self.node.at = self.ends[usize::from(to.link.0)];
            let with = |leases| {
                let entries = [LeaseEntry::default(); MAX_LEASES];
                let spec = self.node.frame(to, &header, &entries[..leases], None);
                (spec.build(), spec.payload_at())
            };
            (0..=MAX_LEASES).map(with).collect()
        };
        peers.iter().map(of_row).collect()
    }

    /// Writes the incarnation of a new agent, which is its first action.
    pub(crate) fn introduce(&mut self, incarnation: Incarnation, state: NodeState) {
        let local = &mut self.node.tables.local;
        local.incarnation = incarnation.0;
        local.nonce = incarnation.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        local.state = state as u8;
    }

    /// The agent's data for its kernel.
    pub(crate) fn local(&mut self) -> &mut Local {
        &mut self.node.tables.local
    }

    /// The last tick of the agent's control task.
    pub(crate) fn reason_tick(&self) -> Boottime {
        Boottime::from_nanos(self.node.tables.local.reason_tick_at)
    }

    pub(crate) fn rows(&self) -> &[PeerRow] {
        &self.node.tables.rows[..self.peers.len()]
    }

    pub(crate) fn row(&self, row: usize) -> &PeerRow {
        &self.node.tables.rows[row]
    }

    /// The end of the acceptor's abstention.
    pub(crate) fn abstains_until(&self) -> u64 {
        self.node.tables.config.votes_from
    }

    /// Sends the next probe of `row` with at most [`MAX_LEASES`] `entries`. Returns the leaving
    /// frame.
    pub(crate) fn send(&mut self, row: usize, entries: &[LeaseEntry], now: u64) -> Vec<u8> {
        let Local {
            incarnation, nonce, ..
        } = *self.local();
        let sequence = self.row(row).last_probe_seq + 1;
        let (probe, payload) = &self.probes[row][entries.len()];
        let mut frame = probe.clone();
        for (at, value) in [
            (offset::SEQUENCE, sequence),
            (offset::INCARNATION, incarnation),
            (offset::NONCE, nonce),
        ] {
            frame[payload + at..payload + at + 8].copy_from_slice(&value.to_be_bytes());
        }
        let leases = &mut frame[payload + offset::LEASES..];
        for (out, entry) in leases.chunks_exact_mut(LEASE_LEN).zip(entries) {
            out.copy_from_slice(&entry.encode());
        }
        let link = row % self.ends.len();
        self.node.tables.ifindex = self.ends[link].ifindex;
        // The agent has a socket for each link.
        self.node.tables.sender = Some(self.ends[link].link.0.into());
        self.node.tables.clock.set(now);
        let verdict = stamp(&mut SlicePacket(&mut frame), &mut self.node.tables);
        assert_eq!(verdict, Some(Verdict::Stamped), "the agent's own probe");
        frame
    }

    /// Sends a request of the agent to its own acceptor: a frame from the node to itself.
    pub(crate) fn ask_own(&mut self, entries: &[LeaseEntry], now: u64) -> VoteEvent {
        self.asked_own += 1;
        let me = self.ends[0];
        self.node.at = me;
        let mut header = self.node.next_probe(&me);
        header.sequence = Sequence(self.asked_own);
        header.t1 = Boottime::from_nanos(now);
        let spec = self.node.frame(&me, &header, entries, Some(KEY));
        let mut frame = spec.build();
        self.node.tables.ifindex = LOOPBACK;
        self.node.tables.clock.set(now);
        let received = receive(&mut SlicePacket(&mut frame), &mut self.node.tables);
        assert_eq!(received.verdict, Verdict::Answered, "the node's own probe");
        let mut event = VoteEvent {
            count: entries.len() as u32,
            t1: now,
            ..VoteEvent::zeroed()
        };
        let (votes, _) = frame[spec.payload_at() + offset::LEASES..].as_chunks::<LEASE_LEN>();
        for (entry, vote) in event.entries[..entries.len()].iter_mut().zip(votes) {
            *entry = LeaseEntry::decode(vote);
        }
        event
    }

    /// Handles a frame that arrives on `link`. Returns the reply if it was a probe.
    pub(crate) fn arrive(&mut self, link: LinkId, mut frame: Vec<u8>, now: u64) -> Option<Vec<u8>> {
        self.node.tables.ifindex = self.ends[usize::from(link.0)].ifindex;
        self.node.tables.clock.set(now);
        let told = self.node.tables.votes.len();
        let received = receive(&mut SlicePacket(&mut frame), &mut self.node.tables);
        let votes = &mut self.node.tables.votes;
        votes.truncate(RING.max(told));
        self.wake |= votes[told..].iter().any(|(_, wake)| *wake);
        match (received.verdict, received.row) {
            (Verdict::Answered, _) => Some(frame),
            (Verdict::Recorded, Some(row)) => {
                self.armed[row as usize] = true;
                None
            }
            _ => None,
        }
    }

    /// Whether votes came since the last call that wake the agent.
    pub(crate) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.wake)
    }

    /// The votes that the agent has not read yet.
    pub(crate) fn take_votes(&mut self) -> Vec<(VoteEvent, bool)> {
        std::mem::take(&mut self.node.tables.votes)
    }

    /// The time of the next deadline timer.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        (0..self.armed.len())
            .filter(|row| self.armed[*row])
            .map(|row| self.row(row).last_reply_at + self.timeout_ns)
            .min()
    }

    /// Runs the timers at `now`. Returns whether one found its deadline passed and so wakes the
    /// agent.
    pub(crate) fn fire_timers(&mut self, now: u64) -> bool {
        let mut fired = false;
        for (row, armed) in self.node.tables.rows.iter_mut().zip(&mut self.armed) {
            if *armed && row.last_reply_at + self.timeout_ns <= now {
                row.deadline_fired_at = now;
                row.deadlines += 1;
                (*armed, fired) = (false, true);
            }
        }
        fired
    }
}

impl Kernel {
    /// The slots that the core needs in a step at `now`.
    pub(crate) fn read_slots(&self, cluster: &Cluster, now: Boottime) -> Vec<ReadSlot> {
        let leases = cluster.slots_to_read(now, self.votes_from());
        let read = |lease| ReadSlot {
            lease,
            slot: self.slot(lease),
        };
        leases.map(read).collect()
    }

    pub(crate) fn slot(&self, lease: GroupId) -> Slot {
        let slots = &self.node.tables.slots;
        slots.get(&lease).copied().unwrap_or_default()
    }

    pub(crate) fn votes_from(&self) -> Boottime {
        Boottime::from_nanos(self.abstains_until())
    }
}

/// The tables of a node with these links, its `peers`, and behind them the node itself.
fn tables(ends: &[Endpoint], peers: &[Endpoint], timeout_ns: u64) -> Node {
    let mut node = Node::new(ends[0], peers);
    ends[1..].iter().for_each(|end| node.link(end));
    node.know(&ends[0]);
    node.tables.config.timeout_ns = timeout_ns;
    let key_id = node.tables.local.key_id;
    node.tables.local = Local {
        key_id,
        config_version: 1,
        claiming_version: 1,
        ..Local::default()
    };
    node
}

/// The time of the row's last evidence of life.
pub(crate) fn last_reply(row: &PeerRow) -> Boottime {
    Boottime::from_nanos(row.last_reply_at)
}
