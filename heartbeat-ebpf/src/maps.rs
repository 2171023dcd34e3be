//! All maps of the programs, and the values that only the kernel sees in full.
//!
//! `heartbeat_common::maps` has the layouts that userspace shares. This file decides nothing, and
//! imports nothing else of the crate.

use aya_ebpf::{
    bindings::{bpf_spin_lock, bpf_timer},
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use heartbeat_common::{
    exits::{ExitEvent, MAX_WATCHED, WatchedProcess},
    lease::Slot,
    maps::{
        ARRIVAL_SLOTS, Address, Config, DeadlineEvent, GUARD_ROWS, GuardRow, Key, Link, Local,
        MAX_GROUPS, MAX_KEYS, MAX_PEERS, MAX_ROWS, MAX_SENDERS, MAX_VIPS, PeerRow, PeerSlot,
        VoteEvent,
    },
    verdict,
    wire::MAX_LINKS,
};

/// `BPF_F_MMAPABLE`, include/uapi/linux/bpf.h.
const MMAPABLE: usize = 1 << 10;
const EVENT_BYTES: usize = 256 * 1024;
const VOTE_BYTES: usize = 256 * 1024;
/// Room for the ends of all watched processes at once, each with the ring's own 8 bytes.
const EXIT_BYTES: usize = 64 * 1024;
const _: () = assert!(EXIT_BYTES >= MAX_WATCHED * (size_of::<ExitEvent>() + 8));
const _: () = assert!(MAX_ROWS >= MAX_PEERS);

/// `heartbeat_common::maps::LeaseRow`, as the kernel sees it.
#[repr(C)]
pub struct LeaseRow {
    /// Must stay a field of its own type for the kernel to find it through BTF.
    pub lock: bpf_spin_lock,
    pub reserved: u32,
    pub slot: Slot,
}

/// The deadline of one peer and link.
#[repr(C)]
pub struct Watch {
    /// Must stay a field of its own type for the kernel to find it through BTF.
    pub timer: bpf_timer,
    /// 1 while the timer runs.
    pub armed: u32,
    pub row: u32,
    /// The last reply whose deadline was reported as passed.
    pub reported: u64,
}

#[btf_map(name = "config")]
pub(crate) static CONFIG: Array<Config, 1> = Array::new();
/// A map apart from `config`, so that a dump of `config` shows no secret.
#[btf_map(name = "keys")]
pub(crate) static KEYS: Array<Key, MAX_KEYS> = Array::new();
#[btf_map(name = "local")]
pub(crate) static LOCAL: Array<Local, 1, MMAPABLE> = Array::new();
#[btf_map(name = "links")]
pub(crate) static LINKS: HashMap<Address, Link, MAX_LINKS> = HashMap::new();
#[btf_map(name = "allow")]
pub(crate) static ALLOW: HashMap<Address, PeerSlot, MAX_ROWS> = HashMap::new();
/// The agent's probe sockets by their cookies, each with its link. The kernel gives a cookie to no
/// other socket until the next boot, so the cookie of a former agent matches no socket.
#[btf_map(name = "senders")]
pub(crate) static SENDERS: HashMap<u64, u32, MAX_SENDERS> = HashMap::new();
/// The loader shrinks `peers` and `watch` to the number of peers.
#[btf_map(name = "peers")]
pub(crate) static PEERS: Array<PeerRow, MAX_ROWS, MMAPABLE> = Array::new();
#[btf_map(name = "watch")]
pub(crate) static WATCH: Array<Watch, MAX_ROWS> = Array::new();
#[btf_map(name = "counters")]
pub(crate) static COUNTERS: PerCpuArray<u64, { verdict::COUNTERS }> = PerCpuArray::new();
/// The frames that an XDP program saw, by `heartbeat_common::maps::arrival_slot`. The counts show
/// whether the program runs on an interface at all.
#[btf_map(name = "arrivals")]
pub(crate) static ARRIVALS: PerCpuArray<u64, ARRIVAL_SLOTS> = PerCpuArray::new();
#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<DeadlineEvent, EVENT_BYTES> = RingBuf::new();

/// A slot is created by the first entry for its group: a witness need not know the groups.
#[btf_map(name = "leases")]
pub(crate) static LEASES: HashMap<u32, LeaseRow, MAX_GROUPS> = HashMap::new();
/// A ring apart from `events`, so that a flood of votes crowds out no deadline.
#[btf_map(name = "votes")]
pub(crate) static VOTES: RingBuf<VoteEvent, VOTE_BYTES> = RingBuf::new();

/// The agent fills the map from row 0 on, and a row before the address is put into `vips`. The rows
/// of groups are only the agent's own memory.
#[btf_map(name = "guard")]
pub(crate) static GUARD: Array<GuardRow, GUARD_ROWS, MMAPABLE> = Array::new();
/// The row of each guarded address.
#[btf_map(name = "vips")]
pub(crate) static VIPS: HashMap<Address, u32, MAX_VIPS> = HashMap::new();

#[btf_map(name = "processes")]
pub(crate) static PROCESSES: HashMap<u32, WatchedProcess, MAX_WATCHED> = HashMap::new();
#[btf_map(name = "exits")]
pub(crate) static EXITS: RingBuf<ExitEvent, EXIT_BYTES> = RingBuf::new();

/// The time of this CPU's last message to the agent's log.
#[btf_map(name = "last_report")]
pub(crate) static LAST_REPORT: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Row `row` of `peers`.
#[inline(always)]
pub(crate) fn peer_row<'a>(row: u32) -> Option<&'a mut PeerRow> {
    let pointer = PEERS.get_ptr_mut(row)?;
    // SAFETY: map values live as long as the program. Another CPU may write the same row; every
    // field is one word and the worst outcome is a lost count.
    Some(unsafe { &mut *pointer })
}
