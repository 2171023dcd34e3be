//! This node's own acceptor, from userspace: its slots, and the requests to it.
//!
//! A request runs the responder with a frame from this node to itself. So the acceptor decides by
//! the same code, under the same lock, as for every other node.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use aya::{
    TestRun as _, TestRunOptions,
    maps::{HashMap, Map, MapData},
    programs::Xdp,
};
use aya_obj::programs::XdpAttachType;
use heartbeat_common::{
    lease::Slot,
    maps::{LeaseRow, VoteEvent},
    siphash::SipKey,
    time::Boottime,
    wire::{
        self, GroupId, HEADER_LEN, Header, Incarnation, Kind, LEASE_LEN, LeaseEntry, Liveness,
        MAX_LEASES, Sequence, offset,
    },
};

use crate::{pins::Pins, setup::Setup};

/// `BPF_F_LOCK`, include/uapi/linux/bpf.h: read under the value's own lock.
const LOCKED: u64 = 4;
/// `XDP_TX`, include/uapi/linux/bpf.h.
const TRANSMIT: u32 = 3;
const ETHERNET_LEN: usize = 14;
const UDP_LEN: usize = 8;

/// The slots of this node's acceptor.
#[derive(Debug)]
pub struct LeaseSlots {
    map: HashMap<MapData, u32, LeaseRow>,
    votes_from: Boottime,
}

impl LeaseSlots {
    /// `votes_from` is the time at which the acceptor begins to vote.
    pub(crate) fn open(pins: &Pins, votes_from: Boottime) -> Result<Self> {
        Ok(Self {
            map: Map::HashMap(pins.map("leases")?).try_into()?,
            votes_from,
        })
    }
}

/// The end of the last lease in the slots of the pinned acceptor; none if there is no acceptor.
pub fn longest_grant(pins: &Pins) -> Option<Boottime> {
    if !pins.path("leases").exists() {
        return None;
    }
    let slots = LeaseSlots::open(pins, Boottime::default()).ok()?;
    let ends = slots.map.keys().map(|group| {
        let row = slots.map.get(&group.ok()?, LOCKED).ok()?;
        Some(Boottime::from_nanos(row.slot.expires))
    });
    // An unreadable slot may hold any lease.
    ends.collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()
        .or(Some(Boottime::default()))
}

impl LeaseSlots {
    /// The slot of this lease.
    pub fn slot(&self, group: GroupId) -> Slot {
        // There is no slot before the first request for the lease. An empty slot means the same.
        self.map
            .get(&u32::from(group.0), LOCKED)
            .map_or_else(|_| Slot::default(), |row| row.slot)
    }

    /// The end of the acceptor's abstention: the start of the clock if it always voted.
    pub fn votes_from(&self) -> Boottime {
        self.votes_from
    }
}

/// The requests to this node's own acceptor.
#[derive(Debug)]
pub struct OwnVote {
    responder: Xdp,
    key: SipKey,
    /// The frame, with gaps for the fields that change, and the offset of its payload.
    frame: Vec<u8>,
    payload: usize,
    answer: Vec<u8>,
    sequence: u64,
}

impl OwnVote {
    /// `key` is the key with the id `key_id`.
    pub(crate) fn open(
        pins: &Pins,
        setup: &Setup,
        (key_id, key): (u8, SipKey),
        incarnation: Incarnation,
        nonce: u64,
    ) -> Result<Self> {
        let link = setup.links.first().context("there is no link")?;
        let responder = Xdp::from_pin(pins.path("prog_responder"), XdpAttachType::Interface)
            .context("could not open the pinned responder")?;
        let payload = match link.address {
            IpAddr::V4(_) => ETHERNET_LEN + 20 + UDP_LEN,
            IpAddr::V6(_) => ETHERNET_LEN + 40 + UDP_LEN,
        };
        let header = Header {
            kind: Kind::Probe,
            key_id,
            lease_count: 0,
            cluster: setup.cluster,
            source: setup.node,
            destination: setup.node,
            link: link.id,
            liveness: Liveness::default(),
            incarnation,
            sequence: Sequence::default(),
            nonce,
            t1: Boottime::default(),
            t2: Boottime::default(),
            t3: Boottime::default(),
            responder_incarnation: Incarnation::default(),
        };
        let mut frame = vec![0; payload + wire::MAX_LEN];
        write_headers(&mut frame, link.address, setup.port);
        if let Some(start) = frame[payload..].first_chunk_mut::<HEADER_LEN>() {
            header.encode(start);
        }
        Ok(Self {
            responder,
            key,
            answer: vec![0; frame.len()],
            frame,
            payload,
            sequence: 0,
        })
    }

    /// Seals with this key from now on. The programs must accept the key already.
    pub fn seal_with(&mut self, (id, key): (u8, SipKey)) {
        self.key = key;
        self.frame[self.payload + offset::KEY_ID] = id;
    }

    /// Claims by the majority of the list with this number from now on.
    pub fn claim_by(&mut self, version: u16) {
        self.frame[self.payload + offset::CLAIMING_VERSION..][..2]
            .copy_from_slice(&version.to_be_bytes());
    }

    /// Requests `entries`, at most [`MAX_LEASES`], at `now`. The votes go into `event`.
    pub fn ask(
        &mut self,
        entries: &[LeaseEntry],
        now: Boottime,
        event: &mut VoteEvent,
    ) -> Result<()> {
        self.sequence += 1;
        let count = entries.len().min(MAX_LEASES);
        let len = wire::len(count);
        let payload = &mut self.frame[self.payload..][..len];
        payload[offset::LEASE_COUNT] = count as u8;
        payload[offset::SEQUENCE..][..8].copy_from_slice(&self.sequence.to_be_bytes());
        payload[offset::T1..][..8].copy_from_slice(&now.as_nanos().to_be_bytes());
        let places = payload[offset::LEASES..].chunks_exact_mut(LEASE_LEN);
        for (place, entry) in places.zip(&entries[..count]) {
            place.copy_from_slice(&entry.encode());
        }
        wire::seal(payload, self.key)?;
        set_lengths(&mut self.frame, self.payload, len);
        let whole = self.payload + len;
        let result = self.responder.test_run(TestRunOptions {
            data_in: Some(&self.frame[..whole]),
            data_out: Some(&mut self.answer[..whole]),
            ..TestRunOptions::default()
        })?;
        if result.return_value != TRANSMIT {
            bail!(
                "the responder did not answer its own node (verdict {})",
                result.return_value
            );
        }
        event.row = 0;
        event.count = count as u32;
        event.sequence = self.sequence;
        event.t1 = now.as_nanos();
        let answers = self.answer[self.payload + offset::LEASES..].chunks_exact(LEASE_LEN);
        for (entry, answer) in event.entries.iter_mut().take(count).zip(answers) {
            if let Some(answer) = answer.first_chunk() {
                *entry = LeaseEntry::decode(answer);
            }
        }
        Ok(())
    }
}

/// Ethernet, IP and UDP headers from `address` to itself. The checksums are wrong: no program
/// checks them.
fn write_headers(frame: &mut [u8], address: IpAddr, port: u16) {
    let ip = ETHERNET_LEN;
    let udp = match address {
        IpAddr::V4(address) => {
            frame[12..14].copy_from_slice(&0x0800_u16.to_be_bytes());
            frame[ip] = 0x45;
            frame[ip + 8] = 64;
            frame[ip + 9] = 17;
            frame[ip + 12..][..4].copy_from_slice(&address.octets());
            frame[ip + 16..][..4].copy_from_slice(&address.octets());
            ip + 20
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            frame[12..14].copy_from_slice(&0x86dd_u16.to_be_bytes());
            frame[ip] = 0x60;
            frame[ip + 6] = 17;
            frame[ip + 7] = 64;
            frame[ip + 8..][..16].copy_from_slice(&octets);
            frame[ip + 24..][..16].copy_from_slice(&octets);
            ip + 40
        }
    };
    frame[udp..][..2].copy_from_slice(&port.to_be_bytes());
    frame[udp + 2..][..2].copy_from_slice(&port.to_be_bytes());
}

/// Writes the lengths of a datagram with `len` bytes of payload.
fn set_lengths(frame: &mut [u8], payload: usize, len: usize) {
    let udp_len = (UDP_LEN + len) as u16;
    let udp = payload - UDP_LEN;
    frame[udp + 4..][..2].copy_from_slice(&udp_len.to_be_bytes());
    let ip = ETHERNET_LEN;
    if frame[ip] >> 4 == 4 {
        frame[ip + 2..][..2].copy_from_slice(&(20 + udp_len).to_be_bytes());
    } else {
        frame[ip + 4..][..2].copy_from_slice(&udp_len.to_be_bytes());
    }
}
