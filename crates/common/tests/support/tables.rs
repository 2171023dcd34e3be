//! The maps and the clock in userspace memory: what the kernel programs see, to be set field by
//! field. Must never decide anything about a packet.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytemuck::Zeroable as _;
use heartbeat_common::{
    lease::{Answer, Slot},
    maps::{
        Address, Config, Key, LAYOUT_VERSION, Link, Local, MAX_GROUPS, MAX_KEYS, PeerRow, PeerSlot,
        VoteEvent,
    },
    siphash::SipKey,
    tables::Tables,
    wire::{GroupId, NodeState},
};

use super::Endpoint;

/// A clock that says what it was told to: scripted instants first, one a reading, and the last one
/// for ever after.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    now: u64,
    script: VecDeque<u64>,
}

impl Clock {
    /// Stands still at `now`, in nanoseconds, from here on.
    pub(crate) fn set(&mut self, now: u64) {
        self.now = now;
        self.script.clear();
    }

    /// The next readings, in this order.
    pub(crate) fn script(&mut self, readings: impl IntoIterator<Item = u64>) {
        self.script = readings.into_iter().collect();
    }

    pub(crate) fn read(&mut self) -> u64 {
        if let Some(next) = self.script.pop_front() {
            self.now = next;
        }
        self.now
    }
}

/// What one node's programs see while they handle one packet.
#[derive(Clone, Debug)]
pub(crate) struct UserTables {
    pub(crate) clock: Clock,
    /// The interface that the next packet comes in by, or leaves by.
    pub(crate) ifindex: u32,
    /// The link of the agent's socket that the next packet leaves by; `None` if it is nobody's.
    pub(crate) sender: Option<u32>,
    pub(crate) config: Option<Config>,
    pub(crate) local: Option<Local>,
    pub(crate) keys: [Key; MAX_KEYS],
    pub(crate) links: HashMap<Address, Link>,
    pub(crate) allow: HashMap<Address, PeerSlot>,
    pub(crate) rows: Vec<PeerRow>,
    pub(crate) slots: BTreeMap<GroupId, Slot>,
    /// What the agent was told of votes and not yet taken, and whether it was woken for it.
    pub(crate) votes: Vec<(VoteEvent, bool)>,
}

impl UserTables {
    /// The tables of a node with one link, `me`, and with `peers` in the order of their rows. Its agent
    /// runs and is active.
    pub(crate) fn new(cluster: u32, port: u16, timeout_ns: u64, me: &Endpoint) -> Self {
        let mut tables = Self {
            clock: Clock::default(),
            ifindex: me.ifindex,
            sender: Some(me.link.0.into()),
            config: Some(Config {
                layout_version: LAYOUT_VERSION,
                cluster,
                timeout_ns,
                max_lease_ns: 1_000_000_000,
                node: me.node.0,
                port,
                ..Config::default()
            }),
            local: Some(Local {
                incarnation: 1_000 + u64::from(me.node.0),
                nonce: 0x0101_0101_0101_0101 * u64::from(me.node.0),
                state: NodeState::Active as u8,
                config_version: 1,
                counted_version: 1,
                ..Local::default()
            }),
            keys: [Key::default(); MAX_KEYS],
            links: HashMap::new(),
            allow: HashMap::new(),
            rows: Vec::new(),
            slots: BTreeMap::new(),
            votes: Vec::new(),
        };
        tables.add_link(me);
        tables
    }

    /// Gives the node another link, or its first.
    pub(crate) fn add_link(&mut self, me: &Endpoint) {
        let link = Link {
            ifindex: me.ifindex,
            link: me.link.0.into(),
        };
        self.links.insert(me.ip.into(), link);
    }

    /// What the agent tells its kernel.
    pub(crate) fn local_mut(&mut self) -> &mut Local {
        self.local.as_mut().expect("the test did not take it away")
    }

    pub(crate) fn config_mut(&mut self) -> &mut Config {
        self.config.as_mut().expect("the test did not take it away")
    }

    /// Puts a peer on the allow-list with a row of its own.
    pub(crate) fn add_peer(&mut self, peer: &Endpoint) {
        let slot = PeerSlot {
            row: self.rows.len() as u32,
            node: peer.node.0,
            link: peer.link.0.into(),
        };
        self.rows.push(PeerRow::default());
        self.allow.insert(peer.ip.into(), slot);
    }

    /// Makes `key` valid under `id`, and the one that probes are sealed with.
    pub(crate) fn set_key(&mut self, id: u8, key: SipKey) {
        self.keys[Key::slot(id) as usize] = Key::new(id, key);
        self.local_mut().key_id = id;
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
        self.config.as_ref()
    }

    fn local(&self) -> Option<&Local> {
        self.local.as_ref()
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
