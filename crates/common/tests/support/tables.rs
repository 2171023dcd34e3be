//! A double of the kernel's maps, its clock and its interface in userspace memory. A test sets
//! it field by field. It must never decide anything about a packet.
//!
//! The tests of this crate use it, and so does `heartbeat-tests`, which includes this file and
//! compares the kernel programs with it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytemuck::Zeroable as _;
use heartbeat_common::{
    lease::{Answer, Slot},
    maps::{Address, Config, Key, Link, Local, MAX_GROUPS, MAX_KEYS, PeerRow, PeerSlot, VoteEvent},
    siphash::SipKey,
    tables::Tables,
    wire::GroupId,
};

/// A clock with scripted readings. The last one stays for ever.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    now: u64,
    script: VecDeque<u64>,
}

impl Clock {
    /// Stops the clock at `now`, in nanoseconds.
    pub fn set(&mut self, now: u64) {
        self.now = now;
        self.script.clear();
    }

    /// Sets the next readings, in this order.
    pub fn script(&mut self, readings: impl IntoIterator<Item = u64>) {
        self.script = readings.into_iter().collect();
    }

    fn read(&mut self) -> u64 {
        if let Some(next) = self.script.pop_front() {
            self.now = next;
        }
        self.now
    }
}

/// The maps of one node, and the surroundings of one packet.
#[derive(Clone, Debug)]
pub struct UserTables {
    pub clock: Clock,
    /// The interface by which the next packet arrives or leaves.
    pub ifindex: u32,
    /// The link of the agent's socket that sends the next packet; `None` for another socket.
    pub sender: Option<u32>,
    /// Whether the agent has written `config` yet.
    pub is_configured: bool,
    pub config: Config,
    pub local: Local,
    pub keys: [Key; MAX_KEYS],
    pub links: HashMap<Address, Link>,
    pub allow: HashMap<Address, PeerSlot>,
    pub rows: Vec<PeerRow>,
    pub slots: BTreeMap<GroupId, Slot>,
    /// The votes for the agent, each with whether it wakes the agent.
    pub votes: Vec<(VoteEvent, bool)>,
}

impl UserTables {
    /// The maps of a configured node without links, peers and keys.
    pub fn of(config: Config, local: Local) -> Self {
        Self {
            clock: Clock::default(),
            ifindex: 0,
            sender: None,
            is_configured: true,
            config,
            local,
            keys: [Key::default(); MAX_KEYS],
            links: HashMap::new(),
            allow: HashMap::new(),
            rows: Vec::new(),
            slots: BTreeMap::new(),
            votes: Vec::new(),
        }
    }

    /// Gives the node `address` on link `link`.
    pub fn add_link(&mut self, address: Address, ifindex: u32, link: u32) {
        self.links.insert(address, Link { ifindex, link });
    }

    /// Puts `address` of `node` on the allow-list, with the next row.
    pub fn add_peer(&mut self, address: Address, node: u16, link: u16) {
        let row = self.rows.len() as u32;
        self.rows.push(PeerRow::default());
        self.allow.insert(address, PeerSlot { row, node, link });
    }

    /// Makes `key` valid under `id`, and the one that signs probes.
    pub fn set_key(&mut self, id: u8, key: SipKey) {
        self.keys[Key::slot(id) as usize] = Key::new(id, key);
        self.local.key_id = id;
    }
}

impl Tables for UserTables {
    fn now(&mut self) -> u64 {
        self.clock.read()
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn config(&self) -> Option<&Config> {
        self.is_configured.then_some(&self.config)
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
            self.votes.push((event, wake));
        }
    }
}
