//! The maps, and how the per-packet functions reach them.

use core::{arch::asm, mem::offset_of, ptr};

use aya_ebpf::{
    bindings::__sk_buff,
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    helpers::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    macros::btf_map,
};
use heartbeat_common::{
    lease::{Answer, Slot},
    maps::{
        ARRIVAL_SLOTS, Address, Config, DeadlineEvent, Key, Link, Local, MAX_KEYS, MAX_PEERS,
        MAX_ROWS, MAX_SENDERS, PeerRow, PeerSlot, VoteEvent, arrival_slot,
    },
    receive::Tables,
    verdict::{self, Verdict},
    wire::{GroupId, MAX_LINKS},
};

use crate::acceptor;

/// `BPF_F_MMAPABLE`, include/uapi/linux/bpf.h.
pub(crate) const MMAPABLE: usize = 1 << 10;
const EVENT_BYTES: usize = 256 * 1024;

#[btf_map(name = "config")]
static CONFIG: Array<Config, 1> = Array::new();
/// Apart from `config`, so that dumping that one shows no secret.
#[btf_map(name = "keys")]
static KEYS: Array<Key, MAX_KEYS> = Array::new();
#[btf_map(name = "local")]
static LOCAL: Array<Local, 1, MMAPABLE> = Array::new();
#[btf_map(name = "links")]
static LINKS: HashMap<Address, Link, MAX_LINKS> = HashMap::new();
#[btf_map(name = "allow")]
static ALLOW: HashMap<Address, PeerSlot, MAX_ROWS> = HashMap::new();
/// The agent's probe sockets by their cookies, each with its link. The kernel gives a cookie to no other socket until it
/// boots again, so that of an agent that is gone means nobody.
#[btf_map(name = "senders")]
static SENDERS: HashMap<u64, u32, MAX_SENDERS> = HashMap::new();
/// The loader shrinks this one and `watch` to the peers that there are.
#[btf_map(name = "peers")]
static PEERS: Array<PeerRow, MAX_ROWS, MMAPABLE> = Array::new();
#[btf_map(name = "counters")]
static COUNTERS: PerCpuArray<u64, { verdict::COUNTERS }> = PerCpuArray::new();
/// Frames that an XDP program saw, by [`arrival_slot`]: whether it runs on an interface at all.
#[btf_map(name = "arrivals")]
static ARRIVALS: PerCpuArray<u64, ARRIVAL_SLOTS> = PerCpuArray::new();
#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<DeadlineEvent, EVENT_BYTES> = RingBuf::new();

const _: () = assert!(MAX_ROWS >= MAX_PEERS);

/// The maps as seen from one packet.
pub(crate) struct KernelTables {
    ifindex: u32,
    /// Null if the packet arrives.
    leaving: *mut __sk_buff,
}

impl KernelTables {
    #[inline(always)]
    pub(crate) fn on(ifindex: u32) -> Self {
        Self {
            ifindex,
            leaving: ptr::null_mut(),
        }
    }

    /// For a packet that leaves by this interface.
    #[inline(always)]
    pub(crate) fn of_leaving(ifindex: u32, skb: *mut __sk_buff) -> Self {
        Self {
            ifindex,
            leaving: skb,
        }
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn now(&mut self) -> u64 {
        now()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        CONFIG.get(0)
    }

    #[inline(always)]
    fn local(&self) -> Option<&Local> {
        LOCAL.get(0)
    }

    #[inline(always)]
    fn key(&self, slot: u32) -> Option<&Key> {
        KEYS.get(slot)
    }

    #[inline(always)]
    fn link(&self, address: &Address) -> Option<&Link> {
        // SAFETY: the programs never change this map, and userspace only replaces whole entries.
        unsafe { LINKS.get(address) }
    }

    #[inline(always)]
    fn peer(&self, address: &Address) -> Option<&PeerSlot> {
        // SAFETY: as for `link`.
        unsafe { ALLOW.get(address) }
    }

    #[inline(always)]
    fn sender(&self) -> Option<u32> {
        if self.leaving.is_null() {
            return None;
        }
        // SAFETY: the context is valid for the program's run. The helper gives 0 for a packet without a socket, as one is
        // that this host forwards or bridges.
        let cookie = unsafe { bpf_get_socket_cookie(self.leaving.cast()) };
        if cookie == 0 {
            return None;
        }
        // SAFETY: as for `link`.
        unsafe { SENDERS.get(cookie).copied() }
    }

    #[inline(always)]
    fn row(&mut self, row: u32) -> Option<&mut PeerRow> {
        peer_row(row)
    }

    #[inline(always)]
    fn lease(
        &mut self,
        group: GroupId,
        decide: impl FnOnce(&mut Slot) -> Answer,
    ) -> Option<Answer> {
        acceptor::locked(group, decide)
    }

    #[inline(always)]
    fn votes(&mut self, fill: impl FnOnce(&mut VoteEvent) -> Option<bool>) {
        acceptor::tell(fill);
    }
}

/// Adds to what the kernel knows of this node's health.
#[inline(always)]
pub(crate) fn add_health(health: u32) {
    // Together with the reserved word behind it: this target has no 32-bit registers.
    const AT: usize = offset_of!(Local, kernel_health);
    const _: () = assert!(AT.is_multiple_of(8) && AT + 4 == offset_of!(Local, reserved));
    let [a, b, c, d] = health.to_ne_bytes();
    let bits = u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]);
    if let Some(local) = LOCAL.get_ptr_mut(0) {
        // SAFETY: map values live as long as the program, and the word is aligned and within. The agent takes
        // away what it has seen at the same time, so this has to be one atomic instruction; core has none
        // for this target.
        unsafe {
            asm!(
                "lock *(u64 *)({word} + 0) |= {bits}",
                word = in(reg) local.byte_add(AT),
                bits = in(reg) bits,
                options(nostack),
            );
        }
    }
}

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
pub(crate) fn peer_row<'a>(row: u32) -> Option<&'a mut PeerRow> {
    let pointer = PEERS.get_ptr_mut(row)?;
    // SAFETY: map values live as long as the program. Another CPU may write the same row; every
    // field is one word and the worst outcome is a lost count.
    Some(unsafe { &mut *pointer })
}

#[inline(always)]
pub(crate) fn count(verdict: Verdict) {
    add_one(verdict as u32);
}

/// Counts votes that the agent does not get to see.
#[inline(always)]
pub(crate) fn count_lost_votes() {
    add_one(verdict::VOTES_LOST);
}

#[inline(always)]
fn add_one(index: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: this CPU's slot; programs of one CPU do not preempt each other on it.
        unsafe { *counter += 1 };
    }
}

/// Counts a frame that came in by the interface with this index.
#[inline(always)]
pub(crate) fn arrived(ifindex: u32) {
    if let Some(counter) = ARRIVALS.get_ptr_mut(arrival_slot(ifindex)) {
        // SAFETY: as in `count`.
        unsafe { *counter += 1 };
    }
}
