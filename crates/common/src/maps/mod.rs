//! The values of the BPF maps that kernel and userspace share, with their exact layout.
//!
//! All values are plain old data without padding, in host byte order. Times are nanoseconds of
//! `CLOCK_BOOTTIME`. The field names are made for `bpftool map dump`.

mod address;
mod peer;

use bytemuck::{Pod, Zeroable};

pub use self::{
    address::Address,
    peer::{PeerRow, PeerSlot, RTT_RING, SENT_RING, rtt_slot, sent_slot},
};
use crate::{
    siphash::SipKey,
    wire::{Health, LeaseEntry, Liveness, MAX_LEASES, MAX_LINKS, Owned, VoterSet},
};

/// The version grows with each change of a layout below. The `config` map carries it.
pub const LAYOUT_VERSION: u32 = 7;
/// The greatest number of nodes in one configuration, apart from this one.
pub const MAX_PEERS: usize = 1_024;
/// Rows of the `peers` and `watch` maps.
pub const MAX_ROWS: usize = MAX_PEERS * MAX_LINKS;
/// The number of keys that are valid at the same time.
pub const MAX_KEYS: usize = 2;
/// The number of groups whose leases an acceptor keeps. The acceptor abstains on any further group.
pub const MAX_GROUPS: usize = 1_024;
/// The number of addresses that one node guards.
pub const MAX_VIPS: usize = 256;
/// Entries of the `arrivals` map; a power of two.
pub const ARRIVAL_SLOTS: usize = 64;
/// The number of groups that one node may serve.
pub const MAX_SERVED: usize = 64;
/// The rows of the `guard` map: one for each address, and behind them one for each group.
pub const GUARD_ROWS: usize = MAX_VIPS + MAX_SERVED;
/// The entries of the `senders` map. The agent has one socket for each link, and two during a
/// replacement.
pub const MAX_SENDERS: usize = 2 * MAX_LINKS;
/// The directory below which each instance has its pins.
pub const PIN_ROOT: &str = "/sys/fs/bpf/heartbeat";

/// The index in the `arrivals` map for the interface with this index.
#[inline(always)]
pub const fn arrival_slot(ifindex: u32) -> u32 {
    ifindex % ARRIVAL_SLOTS as u32
}

/// The one entry of `config`: the identity and the limits of this node. The loader writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Config {
    pub layout_version: u32,
    pub cluster: u32,
    /// The greatest age of a reply that is evidence of life, and the distance of the deadline from
    /// the last reply.
    pub timeout_ns: u64,
    /// The end of this acceptor's abstention: it may have forgotten votes that still bind.
    pub votes_from: u64,
    /// The longest lease that this acceptor grants.
    pub max_lease_ns: u64,
    pub node: u16,
    /// UDP port, host byte order.
    pub port: u16,
    /// Always 0. The BPF verifier does not know this.
    pub zero: u32,
    /// The number of the object that contains the programs.
    pub object: u64,
    /// The kernel's number of the network namespace with these interfaces and addresses.
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

/// The one entry of `local`: the agent's data for its kernel, rewritten each tick through mmap.
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
    /// The key with which probes are sealed.
    pub key_id: u8,
    /// The number of the latest report of the agent for its peers; 0 means none.
    pub report: u32,
    /// A [`Health`] that counts beside `health`: checks whose process has ended, as the kernel
    /// knows and the agent perhaps not yet. The kernel only adds to it, and the agent only removes
    /// from it.
    pub kernel_health: u32,
    pub reserved: u32,
    /// The three fields of a [`VoterSet`], which share a word.
    pub voters: u32,
    pub config_version: u16,
    pub claiming_version: u16,
}

impl Local {
    /// The failing checks, whether agent or kernel found them.
    #[inline(always)]
    pub const fn health(&self) -> Health {
        // A `Health` has 16 bits, and no other bits are written.
        Health(self.health | self.kernel_health as u16)
    }

    /// The voter sets by which this node votes and claims.
    #[inline(always)]
    pub const fn voter_set(&self) -> VoterSet {
        VoterSet {
            version: self.config_version,
            claiming: self.claiming_version,
            voters: self.voters,
        }
    }

    /// The number of groups that this node serves, and the links on which it is cut off.
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
            control_age_us: age_us(now, self.reason_tick_at),
            report: self.report,
            voter_set: self.voter_set(),
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

/// An entry of `links`, by this node's own address on that link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Link {
    pub ifindex: u32,
    pub link: u32,
}

/// The content of the `events` ring buffer: a deadline passed without a fresh reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DeadlineEvent {
    /// The row in `peers`.
    pub row: u32,
    pub reserved: u32,
    pub last_reply_at: u64,
    pub deadline_at: u64,
    /// The time at which the kernel's timer found the deadline passed.
    pub fired_at: u64,
}

/// The content of the `votes` ring buffer: the lease entries of a fresh reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct VoteEvent {
    /// The acceptor's row in `peers`; or [`VoteEvent::FREED`].
    pub row: u32,
    /// The number of entries.
    pub count: u32,
    pub sequence: u64,
    /// The departure of the probe that requested these votes.
    pub t1: u64,
    pub entries: [LeaseEntry; MAX_LEASES],
}

impl VoteEvent {
    /// The value in place of a row if this node's own acceptor freed the lease of the group in the
    /// first entry, by its owner's release.
    pub const FREED: u32 = u32::MAX;

    /// The index in `peers` of the acceptor's row. `None` if this node's own acceptor freed a
    /// lease.
    #[cfg(not(target_arch = "bpf"))]
    pub const fn acceptor(&self) -> Option<crate::index::RowPlace> {
        match self.row {
            Self::FREED => None,
            row => Some(crate::index::RowPlace(row)),
        }
    }
}

/// An entry of `guard`: one address that this node may serve until a certain time, and not after.
///
/// The rows from [`MAX_VIPS`] on do the same for one group each, without an address.
///
/// The agent writes `open_until` through mmap, the kernel writes the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardRow {
    pub address: Address,
    /// The lease's end in its owner's count; 0 while there is no lease.
    pub open_until: u64,
    /// Packets to the address that arrived while it was closed.
    pub dropped_in: u64,
    /// Packets from the address that were about to leave while it was closed.
    pub dropped_out: u64,
    /// The interface on which the agent places the address.
    pub ifindex: u32,
    pub group: u16,
    /// 0 if the configuration leaves the length to the interface's network.
    pub prefix_len: u16,
}

/// An entry of `leases`, by group: the promise and the grant of this acceptor.
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
    //! SAFETY of all: `bytemuck::Pod` is derived above, and `aya::Pod` requires the same.
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
    fn ages_saturate_and_never_ticked_is_the_oldest() {
        let mut local = Local::default();
        assert_eq!(local.liveness(5).pulse_age_us, u32::MAX);
        local.pulse_tick_at = 1_000;
        assert_eq!(local.liveness(500).pulse_age_us, 0);
        assert_eq!(local.liveness(4_500).pulse_age_us, 3);
        assert_eq!(local.liveness(u64::MAX).pulse_age_us, u32::MAX);
    }

    #[test]
    fn health_seen_by_the_kernel_counts_beside_that_of_the_agent() {
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
    fn key_is_not_printed() {
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
