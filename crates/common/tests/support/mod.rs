//! Two nodes on one link, for tests of the per-packet functions, and of the kernel's.
//!
//! [`tables`] has the maps of a node's programs, and [`frames`] builds their input. This file
//! combines them into nodes that can send, stamp and receive.

// Each test program uses its own part of this module.
#![allow(dead_code)]

pub(crate) mod frames;
// `heartbeat-tests` has this file as a module, too, and offers its items to its tests.
#[allow(unreachable_pub)]
pub(crate) mod tables;

use std::net::IpAddr;

use heartbeat_common::{
    maps::{Config, LAYOUT_VERSION, Local},
    packet::SlicePacket,
    receive::{Received, receive},
    siphash::SipKey,
    stamp::stamp,
    time::Boottime,
    verdict::Verdict,
    wire::{
        ClusterId, DEFAULT_PORT, Header, Incarnation, Kind, LeaseEntry, LinkId, Liveness, NodeId,
        NodeState, Sequence,
    },
};

use frames::{FrameSpec, heartbeat};
use tables::UserTables;

pub(crate) const CLUSTER: u32 = 0x00c1_0572;
pub(crate) const KEY_ID: u8 = 7;
pub(crate) const KEY: SipKey = SipKey {
    k0: 0x0706_0504_0302_0100,
    k1: 0x0f0e_0d0c_0b0a_0908,
};
pub(crate) const TIMEOUT_NS: u64 = 30_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// One node's end of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) node: NodeId,
    pub(crate) link: LinkId,
    pub(crate) mac: [u8; 6],
    pub(crate) ip: IpAddr,
    /// The index of the interface on that node.
    pub(crate) ifindex: u32,
}

impl Endpoint {
    /// The end of node `node` on link 0.
    pub(crate) fn of(node: u16, family: Family) -> Self {
        let [high, low] = node.to_be_bytes();
        Self {
            node: NodeId(node),
            link: LinkId(0),
            mac: [0x02, 0xbe, 0xa7, 0x00, high, low],
            ip: match family {
                Family::V4 => [10, 77, high, low].into(),
                Family::V6 => [0xfd00, 0x77, 0, 0, 0, 0, 0, node].into(),
            },
            ifindex: 100 + u32::from(node),
        }
    }

    /// The same node's end of another link.
    pub(crate) fn on_link(mut self, link: u8) -> Self {
        self.link = LinkId(link);
        self.mac[3] = link;
        self.ifindex += 1_000 * u32::from(link);
        self.ip = match self.ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                [a, b + link, c, d].into()
            }
            IpAddr::V6(ip) => {
                let mut segments = ip.segments();
                segments[2] = link.into();
                segments.into()
            }
        };
        self
    }
}

/// A node with its agent running: an endpoint and the maps of its programs.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Endpoint,
    pub(crate) tables: UserTables,
    /// The number of the last probe.
    pub(crate) sequence: u64,
}

/// Nodes 1 and 2, which know each other as row 0 and share [`KEY`].
pub(crate) fn pair(family: Family) -> (Node, Node) {
    let (a, b) = (Endpoint::of(1, family), Endpoint::of(2, family));
    (Node::new(a, &[b]), Node::new(b, &[a]))
}

impl Node {
    /// A node at `at` that knows `peers` in the order of their rows.
    pub(crate) fn new(at: Endpoint, peers: &[Endpoint]) -> Self {
        let number = at.node.0;
        let config = Config {
            layout_version: LAYOUT_VERSION,
            cluster: CLUSTER,
            timeout_ns: TIMEOUT_NS,
            max_lease_ns: 1_000_000_000,
            node: number,
            port: DEFAULT_PORT,
            ..Config::default()
        };
        let local = Local {
            incarnation: 1_000 + u64::from(number),
            nonce: 0x0101_0101_0101_0101 * u64::from(number),
            state: NodeState::Active as u8,
            config_version: 1,
            claiming_version: 1,
            ..Local::default()
        };
        let mut node = Self {
            at,
            tables: UserTables::of(config, local),
            sequence: 0,
        };
        node.tables.ifindex = at.ifindex;
        node.tables.sender = Some(at.link.0.into());
        node.link(&at);
        node.tables.set_key(KEY_ID, KEY);
        for peer in peers {
            node.know(peer);
        }
        node
    }

    /// Gives the node another link, or its first.
    pub(crate) fn link(&mut self, at: &Endpoint) {
        let link = at.link.0.into();
        self.tables.add_link(at.ip.into(), at.ifindex, link);
    }

    /// Puts a peer on the allow-list, with a row of its own.
    pub(crate) fn know(&mut self, peer: &Endpoint) {
        let link = peer.link.0.into();
        self.tables.add_peer(peer.ip.into(), peer.node.0, link);
    }

    /// The header of the next probe to `to`, as the agent fills it in.
    pub(crate) fn next_probe(&mut self, to: &Endpoint) -> Header {
        self.sequence += 1;
        let local = self.tables.local;
        Header {
            kind: Kind::Probe,
            key_id: local.key_id,
            lease_count: 0,
            cluster: ClusterId(CLUSTER),
            source: self.at.node,
            destination: to.node,
            link: to.link,
            liveness: Liveness {
                voter_set: local.voter_set(),
                ..Liveness::default()
            },
            incarnation: Incarnation(local.incarnation),
            sequence: Sequence(self.sequence),
            nonce: local.nonce,
            t1: Boottime::default(),
            t2: Boottime::default(),
            t3: Boottime::default(),
            responder_incarnation: Incarnation::default(),
        }
    }

    /// A frame from this node to `to` around `header` and `leases`, sealed if a key is given.
    pub(crate) fn frame(
        &self,
        to: &Endpoint,
        header: &Header,
        leases: &[LeaseEntry],
        key: Option<SipKey>,
    ) -> FrameSpec {
        let header = Header {
            lease_count: leases.len() as u8,
            ..*header
        };
        FrameSpec {
            from: self.at,
            to: *to,
            vlans: Vec::new(),
            source_port: DEFAULT_PORT,
            port: DEFAULT_PORT,
            ttl: 61,
            payload: heartbeat(&header, leases, key),
        }
    }

    /// Lets `frame` leave by this node's link at `now`.
    pub(crate) fn stamp_at(&mut self, now: u64, frame: &mut [u8]) -> Option<Verdict> {
        self.tables.clock.set(now);
        stamp(&mut SlicePacket(frame), &mut self.tables)
    }

    /// Lets `frame` arrive on this node's link at `now`.
    pub(crate) fn receive_at(&mut self, now: u64, frame: &mut [u8]) -> Received {
        self.tables.clock.set(now);
        receive(&mut SlicePacket(frame), &mut self.tables)
    }
}
