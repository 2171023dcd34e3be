//! A double of one node's kernel: its maps, its interface and its clock.
//!
//! It can be written into the kernel's maps, and the functions of `heartbeat-common` run on it. It
//! must never decide anything about a packet.

#[path = "../../../crates/common/tests/support/tables.rs"]
mod tables;

use std::net::IpAddr;

use heartbeat_common::{
    maps::{Address, Config, Key, LAYOUT_VERSION, Local, MAX_KEYS, PeerRow},
    siphash::SipKey,
    wire::{DEFAULT_PORT, NodeState},
};

use super::frames::{PEERS, US, address};

pub use tables::{Clock, UserTables as World};

/// `BPF_PROG_TEST_RUN` lets frames pass through the loopback interface of the current namespace.
pub const IFINDEX: u32 = 1;
/// An interface by which no frame arrives.
pub const OTHER_IFINDEX: u32 = 2;
/// The row of this node itself, by which it asks its own acceptor: the one behind those of each
/// peer and link.
pub const OWN_ROW: u32 = PEERS.len() as u32 * LINKS as u32;
/// The number of rows of a [`World`].
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

/// One of the two programs, or the function that the program wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `responder`, at XDP.
    Receive,
    /// `stamp_probe`, at TC egress.
    Stamp,
}

/// Node 1, which has an IPv4 link 0 and an IPv6 link 1 to each of its peers, and asks itself by its
/// address on link 0.
impl World {
    /// A configured node with a running agent that has sent and received nothing yet.
    pub fn new(timeout_ns: u64) -> Self {
        let config = Config {
            layout_version: LAYOUT_VERSION,
            cluster: CLUSTER,
            timeout_ns,
            max_lease_ns: MAX_LEASE,
            node: US,
            port: DEFAULT_PORT,
            ..Config::default()
        };
        let local = Local {
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
            claiming_version: 1,
            ..Local::default()
        };
        let mut world = Self::of(config, local);
        world.ifindex = IFINDEX;
        world.keys = Self::keyring(&[(KEY_ID, KEY)]);
        for link in 0..LINKS {
            world.add_link(key_of(US, link), IFINDEX, link.into());
        }
        for node in PEERS {
            for link in 0..LINKS {
                world.add_peer(key_of(node, link), node, link.into());
            }
        }
        world.add_peer(key_of(US, 0), US, 0);
        world
    }

    /// The `keys` map with these keys and no other.
    pub fn keyring(keys: &[(u8, SipKey)]) -> [Key; MAX_KEYS] {
        let mut slots = [Key::default(); MAX_KEYS];
        for &(id, key) in keys {
            slots[Key::slot(id) as usize] = Key::new(id, key);
        }
        slots
    }

    /// The number of the row of `node` on `link`, which must be on the allow-list.
    pub fn row_number(&self, node: u16, link: u8) -> u32 {
        self.allow[&key_of(node, link)].row
    }

    /// The row of `node` on `link`, as [`World::row_number`] finds it.
    pub fn row_of(&mut self, node: u16, link: u8) -> &mut PeerRow {
        let row = self.row_number(node, link);
        &mut self.rows[row as usize]
    }

    /// Sets the next readings of the clock. The last one stays for ever.
    pub fn set_clock(&mut self, readings: &[u64]) {
        self.clock.script(readings.iter().copied());
    }
}

/// The address of `node` on `link`, as the maps have it.
pub(super) fn key_of(node: u16, link: u8) -> Address {
    let address: IpAddr = address(node, link);
    address.into()
}
