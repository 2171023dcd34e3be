//! What one node's programs see, in userspace memory: the maps, the interface and the clock.
//!
//! It can be written into the kernel's maps, and it runs the functions of `heartbeat-common`
//! itself. It must never decide anything about a packet.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
};

use bytemuck::Zeroable as _;
use heartbeat_common::{
    lease::{Answer, Slot},
    maps::{
        Address, Config, Key, LAYOUT_VERSION, Link, Local, MAX_GROUPS, MAX_KEYS, PeerRow, PeerSlot,
        VoteEvent,
    },
    siphash::SipKey,
    tables::Tables,
    wire::{DEFAULT_PORT, GroupId, NodeState},
};

use super::frames::{PEERS, US, address};

/// `BPF_PROG_TEST_RUN` lets frames pass through the loopback interface of the current namespace.
pub const IFINDEX: u32 = 1;
/// An interface that no frame comes by.
pub const OTHER_IFINDEX: u32 = 2;
/// The row of this node itself, by which it asks its own acceptor: the one behind those of each
/// peer and link.
pub const OWN_ROW: u32 = PEERS.len() as u32 * LINKS as u32;
/// Rows of a [`World`].
pub const ROWS: u32 = OWN_ROW + 1;
const LINKS: u8 = 2;
/// The longest lease that the acceptor of a [`World`] grants, in nanoseconds.
pub const MAX_LEASE: u64 = 1_000_000_000;

pub(super) const CLUSTER: u32 = 0x00c1_0572;
pub(super) const KEY_ID: u8 = 7;
pub(super) const KEY: SipKey = SipKey {
    k0: 0x0706_0504_0302_0100,
    k1: 0x0f0e_0d0c_0b0a_0908,
};

/// One of the two programs, or the function that it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `responder`, at XDP.
    Receive,
    /// `stamp_probe`, at TC egress.
    Stamp,
}

/// The maps of node 1, which has an IPv4 link 0 and an IPv6 link 1 to each of its peers, and asks
/// itself by its address on link 0.
#[derive(Clone, Debug)]
pub struct World {
    pub config: Config,
    pub keys: [Key; MAX_KEYS],
    pub local: Local,
    pub links: HashMap<Address, Link>,
    /// The link of the agent's socket that a leaving frame is from; `None` if it is from another's.
    pub sender: Option<u32>,
    pub allow: HashMap<Address, PeerSlot>,
    pub rows: Vec<PeerRow>,
    pub slots: BTreeMap<GroupId, Slot>,
    /// What the agent was told of votes.
    pub votes: Vec<VoteEvent>,
    clock: VecDeque<u64>,
}

impl World {
    /// Everybody is configured, the agent runs, and nothing was sent or received yet.
    pub fn new(timeout_ns: u64) -> Self {
        let mut allow = HashMap::new();
        for node in PEERS {
            for link in 0..LINKS {
                let row = allow.len() as u32;
                allow.insert(
                    key_of(node, link),
                    PeerSlot {
                        row,
                        node,
                        link: link.into(),
                    },
                );
            }
        }
        allow.insert(
            key_of(US, 0),
            PeerSlot {
                row: OWN_ROW,
                node: US,
                link: 0,
            },
        );
        Self {
            config: Config {
                layout_version: LAYOUT_VERSION,
                cluster: CLUSTER,
                timeout_ns,
                max_lease_ns: MAX_LEASE,
                node: US,
                port: DEFAULT_PORT,
                ..Config::default()
            },
            keys: Self::keyring(&[(KEY_ID, KEY)]),
            local: Local {
                incarnation: 1_001,
                nonce: 0x0123_4567_89ab_cdef,
                config_generation: 3,
                load: 250,
                groups_owned: 1,
                report: 12,
                state: NodeState::Active as u8,
                key_id: KEY_ID,
                voters: 0x5eed_0123,
                config_version: 1,
                counted_version: 1,
                ..Local::default()
            },
            links: (0..LINKS)
                .map(|link| {
                    (
                        key_of(US, link),
                        Link {
                            ifindex: IFINDEX,
                            link: link.into(),
                        },
                    )
                })
                .collect(),
            sender: None,
            allow,
            rows: vec![PeerRow::default(); ROWS as usize],
            slots: BTreeMap::new(),
            votes: Vec::new(),
            clock: VecDeque::from([0]),
        }
    }

    /// The `keys` map with these keys and no other.
    pub fn keyring(keys: &[(u8, SipKey)]) -> [Key; MAX_KEYS] {
        let mut slots = [Key::default(); MAX_KEYS];
        for &(id, key) in keys {
            slots[Key::slot(id) as usize] = Key::new(id, key);
        }
        slots
    }

    /// Number of the row of `node` on `link`, both of which must be on the allow-list.
    pub fn row_number(&self, node: u16, link: u8) -> u32 {
        self.allow[&key_of(node, link)].row
    }

    /// The row of `node` on `link`, as [`World::row_number`] finds it.
    pub fn row_of(&mut self, node: u16, link: u8) -> &mut PeerRow {
        let row = self.row_number(node, link);
        &mut self.rows[row as usize]
    }

    /// What the clock says at its next readings; the last one for ever after.
    pub fn set_clock(&mut self, readings: &[u64]) {
        self.clock = readings.iter().copied().collect();
    }
}

/// The address of `node` on `link`, as the maps have it.
pub(super) fn key_of(node: u16, link: u8) -> Address {
    let address: IpAddr = address(node, link);
    address.into()
}

impl Tables for World {
    fn now(&mut self) -> u64 {
        match self.clock.len() {
            0 => 0,
            1 => self.clock[0],
            _ => self.clock.pop_front().unwrap_or_default(),
        }
    }

    fn ifindex(&self) -> u32 {
        IFINDEX
    }

    fn config(&self) -> Option<&Config> {
        Some(&self.config)
    }

    fn local(&self) -> Option<&Local> {
        Some(&self.local)
    }

    fn key(&self, slot: u32) -> Option<&Key> {
        self.keys.get(slot as usize)
    }

    fn link(&self, address: &Address) -> Option<&Link> {
        self.links.get(address)
    }

    fn peer(&self, address: &Address) -> Option<&PeerSlot> {
        self.allow.get(address)
    }

    fn sender(&self) -> Option<u32> {
        self.sender
    }

    fn row(&mut self, row: u32) -> Option<&mut PeerRow> {
        self.rows.get_mut(row as usize)
    }

    fn lease(
        &mut self,
        group: GroupId,
        decide: impl FnOnce(&mut Slot) -> Answer,
    ) -> Option<Answer> {
        if self.slots.len() >= MAX_GROUPS && !self.slots.contains_key(&group) {
            return None;
        }
        Some(decide(self.slots.entry(group).or_default()))
    }

    fn votes(&mut self, fill: impl FnOnce(&mut VoteEvent) -> Option<bool>) {
        let mut event = VoteEvent::zeroed();
        if let Some(wake) = fill(&mut event) {
            // The kernel does not let on whom it wakes.
            let _ = wake;
            self.votes.push(event);
        }
    }
}
