//! The access of the per-packet functions to the maps.

use core::ptr;

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_get_socket_cookie};
use heartbeat_common::{
    lease::{Answer, Slot},
    maps::{Address, Config, Key, Link, Local, PeerRow, PeerSlot, VoteEvent},
    tables::Tables,
    wire::GroupId,
};

use crate::{
    acceptor, clock,
    maps::{ALLOW, CONFIG, KEYS, LINKS, LOCAL, SENDERS, peer_row},
};

/// The maps from the view of one packet.
pub(crate) struct KernelTables {
    ifindex: u32,
    /// The leaving packet. Null if the packet arrives.
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

    /// The tables for a packet that leaves by this interface.
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
        clock::now()
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
        // SAFETY: the context is valid for the program's run. The helper returns 0 for a packet
        // without a socket, for example a forwarded or bridged one.
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
