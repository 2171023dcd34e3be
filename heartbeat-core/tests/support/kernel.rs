//! One node's kernel: the real stamp and receive functions over tables in memory, and the deadline
//! timers as `heartbeat-ebpf` arms them. Must never judge a silence.

use heartbeat_common::{
    maps::{Local, PeerRow},
    packet::SlicePacket,
    receive::receive,
    stamp::stamp,
    time::Boottime,
    verdict::Verdict,
    wire::{Incarnation, LinkId, NodeState, offset},
};

use super::packets::{Endpoint, Family, Node};

#[derive(Debug)]
pub(crate) struct Kernel {
    node: Node,
    ends: Vec<Endpoint>,
    /// What the agent hands to its socket for each row, but for the sequence, and where that is.
    probes: Vec<(Vec<u8>, usize)>,
    /// Which rows' deadline timers run.
    armed: Vec<bool>,
    timeout_ns: u64,
}

impl Kernel {
    /// The kernel of node `me` with `links` links to each of `peers`, without an agent.
    pub(crate) fn new(me: u16, peers: &[u16], links: u8, timeout_ns: u64) -> Self {
        let end = |node, link| Endpoint::of(node, Family::V4).on_link(link);
        let ends: Vec<_> = (0..links).map(|link| end(me, link)).collect();
        let rows: Vec<_> = peers
            .iter()
            .flat_map(|peer| (0..links).map(|link| end(*peer, link)))
            .collect();
        let mut node = Node::new(ends[0], &rows);
        ends[1..].iter().for_each(|end| node.tables.add_link(end));
        node.tables.config_mut().timeout_ns = timeout_ns;
        let key_id = node.tables.local_mut().key_id;
        *node.tables.local_mut() = Local {
            key_id,
            ..Local::default()
        };
        Self {
            node,
            ends,
            probes: Vec::new(),
            armed: vec![false; rows.len()],
            timeout_ns,
        }
        .with_probes(&rows)
    }

    fn with_probes(mut self, rows: &[Endpoint]) -> Self {
        self.probes = rows
            .iter()
            .map(|to| {
                let header = self.node.next_probe(to);
                self.node.at = self.ends[usize::from(to.link.0)];
                let spec = self.node.frame(to, &header, &[], None);
                (spec.build(), spec.payload_at())
            })
            .collect();
        self
    }

    /// What an agent does first: it says which life it is.
    pub(crate) fn introduce(&mut self, incarnation: Incarnation, state: NodeState) {
        let local = self.node.tables.local_mut();
        local.incarnation = incarnation.0;
        local.nonce = incarnation.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        local.state = state as u8;
    }

    /// What the agent tells its kernel, to be changed.
    pub(crate) fn local(&mut self) -> &mut Local {
        self.node.tables.local_mut()
    }

    /// The agent's tick, both threads'.
    pub(crate) fn tick(&mut self, now: u64) {
        let local = self.local();
        (local.pulse_tick_at, local.reason_tick_at) = (now, now);
    }

    pub(crate) fn rows(&self) -> &[PeerRow] {
        &self.node.tables.rows
    }

    pub(crate) fn row(&self, row: usize) -> &PeerRow {
        &self.node.tables.rows[row]
    }

    /// The agent sends the next probe of `row`; returns what leaves the machine.
    pub(crate) fn send(&mut self, row: usize, now: u64) -> Vec<u8> {
        let Local {
            incarnation, nonce, ..
        } = *self.local();
        let sequence = self.row(row).last_probe_seq + 1;
        let (probe, payload) = &self.probes[row];
        let mut frame = probe.clone();
        for (at, value) in [
            (offset::SEQUENCE, sequence),
            (offset::INCARNATION, incarnation),
            (offset::NONCE, nonce),
        ] {
            frame[payload + at..payload + at + 8].copy_from_slice(&value.to_be_bytes());
        }
        let link = row % self.ends.len();
        self.node.tables.ifindex = self.ends[link].ifindex;
        self.node.tables.clock.set(now);
        let verdict = stamp(&mut SlicePacket(&mut frame), &mut self.node.tables);
        assert_eq!(verdict, Some(Verdict::Stamped), "the agent's own probe");
        frame
    }

    /// A frame arrives by `link`; returns the reply if it was a probe.
    pub(crate) fn arrive(&mut self, link: LinkId, mut frame: Vec<u8>, now: u64) -> Option<Vec<u8>> {
        self.node.tables.ifindex = self.ends[usize::from(link.0)].ifindex;
        self.node.tables.clock.set(now);
        let received = receive(&mut SlicePacket(&mut frame), &mut self.node.tables);
        match (received.verdict, received.row) {
            (Verdict::Answered, _) => Some(frame),
            (Verdict::Recorded, Some(row)) => {
                self.armed[row as usize] = true;
                None
            }
            _ => None,
        }
    }

    /// When the next deadline timer is due.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        (0..self.armed.len())
            .filter(|row| self.armed[*row])
            .map(|row| self.row(row).last_reply_at + self.timeout_ns)
            .min()
    }

    /// Runs the timers at `now`; true if one found its deadline passed and so wakes the agent.
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

/// When the row last recorded evidence.
pub(crate) fn last_reply(row: &PeerRow) -> Boottime {
    Boottime::from_nanos(row.last_reply_at)
}
