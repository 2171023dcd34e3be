//! Values of the BPF maps that kernel and userspace share, with their exact layout.
//!
//! All are plain old data without padding, in host byte order; times are nanoseconds of
//! `CLOCK_BOOTTIME`. Fields are named to be read in `bpftool map dump`.

use bytemuck::{Pod, Zeroable};
use core::net::{IpAddr, Ipv6Addr};

use crate::{
    siphash::SipKey,
    wire::{Electorate, Health, LeaseEntry, Liveness, MAX_LEASES, MAX_LINKS, Owned},
};

/// Grows whenever a layout below changes. The `config` map carries it.
pub const LAYOUT_VERSION: u32 = 7;
/// Nodes beside our own that one configuration may have.
pub const MAX_PEERS: usize = 1_024;
/// Rows of the `peers` and `watch` maps.
pub const MAX_ROWS: usize = MAX_PEERS * MAX_LINKS;
/// Keys that are valid at the same time.
pub const MAX_KEYS: usize = 2;
/// Probes whose departure a row remembers; a power of two.
pub const SENT_RING: usize = 16;
/// Round-trip times that a row remembers; a power of two.
pub const RTT_RING: usize = 16;
/// Groups whose leases an acceptor keeps; it abstains on any beyond.
pub const MAX_GROUPS: usize = 1_024;
/// Addresses that one node guards.
pub const MAX_VIPS: usize = 256;
/// Entries of the `arrivals` map; a power of two.
pub const ARRIVAL_SLOTS: usize = 64;
/// Groups that one node may serve.
pub const MAX_SERVED: usize = 64;
/// Rows of the `guard` map: one for each address, and behind them one for each group.
pub const GUARD_ROWS: usize = MAX_VIPS + MAX_SERVED;
/// Entries of the `senders` map. The agent has one socket a link, and two for an instant while one takes the place of
/// the other.
pub const MAX_SENDERS: usize = 2 * MAX_LINKS;
/// Directory below which each instance has its pins.
pub const PIN_ROOT: &str = "/sys/fs/bpf/heartbeat";

/// Index in the `arrivals` map of what came in by the interface with this index.
#[inline(always)]
pub const fn arrival_slot(ifindex: u32) -> u32 {
    ifindex % ARRIVAL_SLOTS as u32
}

/// An IPv6 address, or an IPv4 one as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Address {
    pub bytes: [u8; 16],
}

impl Address {
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        Self::v6(0, 0x0000_ffff_0000_0000 | address as u64)
    }

    #[inline(always)]
    pub const fn v6(high: u64, low: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = high.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = low.to_be_bytes();
        Self {
            bytes: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p],
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let v6 = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { bytes: v6.octets() }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.bytes).to_canonical()
    }
}

/// The one entry of `config`: who this node is. Written by the loader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Config {
    pub layout_version: u32,
    pub cluster: u32,
    /// A reply that takes longer is no evidence; also the deadline's distance from the last reply.
    pub timeout_ns: u64,
    /// Until then this acceptor abstains: it may have forgotten votes that still bind.
    pub votes_from: u64,
    /// It grants no lease that lasts longer.
    pub max_lease_ns: u64,
    pub node: u16,
    /// UDP port, host byte order.
    pub port: u16,
    /// Always 0, which the BPF verifier does not know.
    pub zero: u32,
    /// Tells which object the programs are of.
    pub object: u64,
    /// The kernel's number of the network namespace whose interfaces and addresses these are.
    pub namespace: u64,
}

/// An entry of `keys`. The slot of a key is its id modulo [`MAX_KEYS`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Key {
    pub k0: u64,
    pub k1: u64,
    pub id: u32,
    /// 0 while the slot is empty.
    pub valid: u32,
}

impl Key {
    pub const fn new(id: u8, key: SipKey) -> Self {
        Self {
            k0: key.k0,
            k1: key.k1,
            id: id as u32,
            valid: 1,
        }
    }

    #[inline(always)]
    pub const fn slot(id: u8) -> u32 {
        (id as usize % MAX_KEYS) as u32
    }

    #[inline(always)]
    pub const fn sip(&self) -> SipKey {
        SipKey {
            k0: self.k0,
            k1: self.k1,
        }
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Key {{ id: {}, valid: {} }}", self.id, self.valid)
    }
}

/// The one entry of `local`: what the agent tells its kernel, rewritten each tick through mmap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Local {
    /// 0 while no agent runs.
    pub incarnation: u64,
    pub nonce: u64,
    pub pulse_tick_at: u64,
    pub reason_tick_at: u64,
    pub config_generation: u32,
    /// A [`Health`], as the agent sees it.
    pub health: u16,
    pub load: u16,
    /// An [`Owned`].
    pub groups_owned: u16,
    /// A [`crate::wire::NodeState`].
    pub state: u8,
    /// Key that probes are sealed with.
    pub key_id: u8,
    /// Number of the latest report that the agent has for its peers; 0 is none.
    pub report: u32,
    /// A [`Health`] that counts beside `health`: checks whose process has ended, as the kernel has seen and
    /// the agent perhaps not yet. The kernel only adds to it, the agent only takes away.
    pub kernel_health: u32,
    pub reserved: u32,
    /// The three fields of an [`Electorate`], which share a word.
    pub voters: u32,
    pub config_version: u16,
    pub counted_version: u16,
}

impl Local {
    /// Which checks fail, whoever found out.
    #[inline(always)]
    pub const fn health(&self) -> Health {
        // A `Health` has 16 bits; nobody writes others.
        Health(self.health | self.kernel_health as u16)
    }

    /// Whose votes this node goes by.
    #[inline(always)]
    pub const fn electorate(&self) -> Electorate {
        Electorate {
            version: self.config_version,
            counted: self.counted_version,
            voters: self.voters,
        }
    }

    /// What this node serves, and where it is cut off.
    pub const fn owned(&self) -> Owned {
        Owned(self.groups_owned)
    }

    /// The liveness vector at `now`.
    #[inline(always)]
    pub fn liveness(&self, now: u64) -> Liveness {
        Liveness {
            state: self.state,
            health: self.health().0,
            load: self.load,
            groups_owned: self.groups_owned,
            config_generation: self.config_generation,
            pulse_age_us: age_us(now, self.pulse_tick_at),
            reason_age_us: age_us(now, self.reason_tick_at),
            report: self.report,
            electorate: self.electorate(),
        }
    }
}

#[inline(always)]
fn age_us(now: u64, tick_at: u64) -> u32 {
    let age = now.saturating_sub(tick_at) / 1_000;
    if tick_at == 0 {
        u32::MAX
    } else {
        age.min(u32::MAX.into()) as u32
    }
}

/// An entry of `links`, by our own address on that link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Link {
    pub ifindex: u32,
    pub link: u32,
}

/// An entry of `allow`, by a peer's address: which node and link it is, and its row in `peers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerSlot {
    pub row: u32,
    pub node: u16,
    pub link: u16,
}

/// A row of `peers`: one link to one peer. Written by the kernel only.
///
/// Userspace reads it through mmap while the kernel writes. Each field is one aligned word and so
/// whole, but fields may be of different packets for an instant: `last_reply_seq` is written last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerRow {
    /// When the last fresh reply arrived; 0 before the first.
    pub last_reply_at: u64,
    /// Newest sequence among the fresh replies.
    pub last_reply_seq: u64,
    /// Newest sequence among all valid replies, late ones included.
    pub reply_seq: u64,
    /// Replay window below `reply_seq`, see [`crate::replay`].
    pub reply_window: u64,
    /// (t4 - t1) - (t3 - t2) of the last fresh reply.
    pub rtt_ns: u64,
    /// Fresh replies.
    pub replies: u64,
    /// Replies that took longer than the timeout.
    pub late_replies: u64,

    /// When the last of our probes passed TC egress; 0 before the first.
    pub last_probe_at: u64,
    pub last_probe_seq: u64,
    /// Probes that passed TC egress.
    pub probes_left: u64,

    /// When the peer's last valid probe arrived: a hint, never evidence.
    pub last_asked_at: u64,
    pub asked_incarnation: u64,
    pub asked_seq: u64,
    pub asked_window: u64,
    /// The peer's probes that were answered.
    pub answered: u64,

    /// When the deadline timer last found the deadline passed.
    pub deadline_fired_at: u64,
    /// Times that it did.
    pub deadlines: u64,
    /// Deadline events that did not fit in the ring buffer.
    pub events_lost: u64,

    /// From the last fresh reply: the peer agent's incarnation, 0 without an agent.
    pub incarnation: u64,
    pub config_generation: u32,
    pub pulse_age_us: u32,
    pub reason_age_us: u32,
    pub health: u16,
    pub load: u16,
    /// An [`Owned`].
    pub groups_owned: u16,
    /// A [`crate::wire::NodeState`].
    pub state: u16,
    /// Number of the peer's latest report; 0 is none.
    pub report: u32,
    /// The three fields of its [`Electorate`].
    pub voters: u32,
    pub config_version: u16,
    pub counted_version: u16,

    /// Frames from this peer's address whose tag was wrong.
    pub bad_macs: u64,
    /// The same that named a key which is not there.
    pub unknown_keys: u64,
    /// When the last of either arrived; 0 before the first.
    pub refused_at: u64,
    /// The Ethernet address that it came from, as a number of 48 bits: of who forged it, or of the last router.
    pub refused_from: u64,

    /// When probe *n* left, at index *n* modulo [`SENT_RING`].
    pub sent_at: [u64; SENT_RING],
    /// Round-trip time of probe *n* in nanoseconds, at index *n* modulo [`RTT_RING`]; 0 if unanswered.
    pub rtt_ring: [u32; RTT_RING],
}

impl PeerRow {
    /// What the peer serves, and where it is cut off.
    pub const fn owned(&self) -> Owned {
        Owned(self.groups_owned)
    }

    /// Whose votes the peer goes by.
    pub const fn electorate(&self) -> Electorate {
        Electorate {
            version: self.config_version,
            counted: self.counted_version,
            voters: self.voters,
        }
    }
}

/// What the `events` ring buffer carries: a deadline passed without a fresh reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DeadlineEvent {
    /// Row in `peers`.
    pub row: u32,
    pub reserved: u32,
    pub last_reply_at: u64,
    pub deadline_at: u64,
    /// When the kernel's timer found it passed.
    pub fired_at: u64,
}

/// What the `votes` ring buffer carries: the lease entries of a fresh reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct VoteEvent {
    /// Row in `peers` of the acceptor; or [`VoteEvent::FREED`].
    pub row: u32,
    /// How many of the entries there are.
    pub count: u32,
    pub sequence: u64,
    /// When the probe that asked for these votes left.
    pub t1: u64,
    pub entries: [LeaseEntry; MAX_LEASES],
}

impl VoteEvent {
    /// In place of a row: our own acceptor freed the lease of the group in the first entry, at the word
    /// of whoever owned it.
    pub const FREED: u32 = u32::MAX;
}

/// An entry of `guard`: one address that this node may serve until a certain time, and not after. From row
/// [`MAX_VIPS`] on the same for one group, without an address: what of it has none is found again by it.
///
/// The agent writes `open_until` through mmap, the kernel the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardRow {
    pub address: Address,
    /// The lease's end as its owner counts it; 0 while there is none.
    pub open_until: u64,
    /// Packets to the address that arrived while it was closed.
    pub dropped_in: u64,
    /// Packets from the address that were about to leave while it was closed.
    pub dropped_out: u64,
    /// Where the agent puts the address.
    pub ifindex: u32,
    pub group: u16,
    pub prefix_len: u16,
}

/// An entry of `leases`, by group: what this acceptor promised and granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LeaseRow {
    /// The kernel's `bpf_spin_lock`.
    pub lock: u32,
    pub reserved: u32,
    pub slot: crate::lease::Slot,
}

#[cfg(feature = "user")]
mod pod {
    //! SAFETY of all: `bytemuck::Pod` is derived above, which is what `aya::Pod` asks for.
    use super::{
        Address, Config, DeadlineEvent, GuardRow, Key, LeaseRow, Link, Local, PeerRow, PeerSlot,
        VoteEvent,
    };

    macro_rules! pods {
        ($($t:ty),*) => {$(
            // SAFETY: see the module's comment.
            unsafe impl aya::Pod for $t {}
        )*};
    }
    pods!(
        Address,
        Config,
        DeadlineEvent,
        GuardRow,
        Key,
        LeaseRow,
        Link,
        Local,
        PeerRow,
        PeerSlot,
        VoteEvent
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_version_7() {
        // A change here needs a new LAYOUT_VERSION.
        assert_eq!(LAYOUT_VERSION, 7);
        assert_eq!(GUARD_ROWS, 320);
        assert_eq!(size_of::<Config>(), 56);
        assert_eq!(size_of::<Key>(), 24);
        assert_eq!(size_of::<Local>(), 64);
        assert_eq!(size_of::<Link>(), 8);
        assert_eq!(size_of::<PeerSlot>(), 8);
        assert_eq!(size_of::<PeerRow>(), 408);
        assert_eq!(size_of::<DeadlineEvent>(), 32);
        assert_eq!(size_of::<VoteEvent>(), 152);
        assert_eq!(size_of::<GuardRow>(), 48);
        assert_eq!(size_of::<LeaseRow>(), 40);
    }

    #[test]
    fn addresses_round_trip() {
        for text in ["10.1.2.3", "fd00::1:2"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
        }
        assert_eq!(
            Address::v4(0x0a01_0203),
            Address::from("10.1.2.3".parse::<IpAddr>().unwrap())
        );
        assert_eq!(
            Address::v6(0xfd00_0000_0000_0000, 0x0001_0002),
            Address::from("fd00::1:2".parse::<IpAddr>().unwrap())
        );
    }

    #[test]
    fn ages_saturate_and_never_ticked_is_the_oldest() {
        let mut local = Local::default();
        assert_eq!(local.liveness(5).pulse_age_us, u32::MAX);
        local.pulse_tick_at = 1_000;
        assert_eq!(local.liveness(500).pulse_age_us, 0);
        assert_eq!(local.liveness(4_500).pulse_age_us, 3);
        assert_eq!(local.liveness(u64::MAX).pulse_age_us, u32::MAX);
    }

    #[test]
    fn what_the_kernel_has_seen_counts_beside_what_the_agent_says() {
        let local = Local {
            health: Health::of(0, false).0,
            kernel_health: Health::of(3, true).0.into(),
            ..Local::default()
        };
        let said = Health(local.liveness(0).health);
        assert_eq!(said, local.health());
        assert!(said.fails(0) && said.fails(3) && said.is_fatal());
        assert_eq!(said.failing(), 2);
    }

    #[test]
    fn a_key_is_not_printed() {
        extern crate std;
        let key = Key::new(
            7,
            SipKey {
                k0: 0xdead_beef,
                k1: 0xfeed_f00d,
            },
        );
        let shown = std::format!("{key:?}{:?}", key.sip());
        assert!(!shown.contains("dead") && !shown.contains(&std::format!("{}", 0xdead_beef_u32)));
    }
}
