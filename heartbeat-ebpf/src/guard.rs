//! The guard's access to its maps, and to the packets about which it decides.
//!
//! `heartbeat_common::guard` alone decides.

use core::{arch::asm, mem::offset_of};

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    programs::{SkBuffContext, TcContext},
};
use heartbeat_common::{
    guard::{self, Direction, GuardTables, HEADERS_LEN},
    maps::{Address, GuardRow},
    verdict::Action,
};

use crate::{
    access::Frame,
    clock,
    maps::{GUARD, VIPS},
    namespace,
};

/// The maps from the view of one packet.
struct KernelGuard {
    /// The packet, if a socket sends or receives it.
    socket: Option<*mut __sk_buff>,
}

/// The guard on an interface.
const WIRE: KernelGuard = KernelGuard { socket: None };

impl GuardTables for KernelGuard {
    type Row = *mut GuardRow;

    #[inline(always)]
    fn now(&mut self) -> u64 {
        clock::now()
    }

    #[inline(always)]
    fn row(&mut self, address: &Address) -> Option<Self::Row> {
        // SAFETY: the programs never change this map, and userspace only replaces whole entries.
        let index = unsafe { VIPS.get(address) }?;
        GUARD.get_ptr_mut(*index)
    }

    #[inline(always)]
    fn open_until(&self, row: Self::Row) -> u64 {
        // SAFETY: map values live as long as the program. Userspace may write the field meanwhile:
        // one aligned word, read once.
        unsafe { (&raw const (*row).open_until).read_volatile() }
    }

    #[inline(always)]
    fn count_drop(&mut self, row: Self::Row, direction: Direction) {
        // SAFETY: as in `open_until`.
        let count = unsafe {
            match direction {
                Direction::In => &raw mut (*row).dropped_in,
                Direction::Out => &raw mut (*row).dropped_out,
            }
        };
        // SAFETY: the code adds 1 to the aligned word behind `count` and touches nothing else.
        // Assembly is necessary, because `AtomicU64` has no `fetch_add` on a target without
        // compare-and-swap.
        unsafe {
            asm!(
                "lock *(u64 *)({count} + 0) += {one}",
                count = in(reg) count,
                one = in(reg) 1u64,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    fn is_here(&self) -> bool {
        self.socket.is_none_or(namespace::is_own)
    }
}

/// Decides about a packet that arrives.
#[inline(always)]
pub(crate) fn ingress(frame: &Frame<*mut xdp_md>) -> Action {
    if is_idle() {
        return Action::Pass;
    }
    guard::arriving(frame, &mut { WIRE })
}

/// Decides about a packet that leaves.
#[inline(always)]
pub(crate) fn egress(ctx: &TcContext) -> Action {
    if is_idle() {
        return Action::Pass;
    }
    match with_headers(ctx) {
        Some(frame) => guard::leaving(&frame, &mut { WIRE }),
        // There is no memory to read the packet. The packet may be in the name of a closed address,
        // and any packet may be lost.
        None => Action::Drop,
    }
}

/// Decides about a packet that a socket is about to receive.
#[inline(always)]
pub(crate) fn received(ctx: &SkBuffContext) -> Action {
    at_socket(ctx, guard::received)
}

/// Decides about a packet that a socket sends.
#[inline(always)]
pub(crate) fn sent(ctx: &SkBuffContext) -> Action {
    at_socket(ctx, guard::sent)
}

/// Decides about a packet at a socket. The IP header lies in the packet's linear part, because the
/// kernel's own IP code reads or has written it there.
#[inline(always)]
fn at_socket(
    ctx: &SkBuffContext,
    judge: impl FnOnce(&Frame<*mut __sk_buff>, &mut KernelGuard) -> Action,
) -> Action {
    if is_idle() {
        return Action::Pass;
    }
    let skb = ctx.skb.skb;
    judge(
        &Frame::of_packet(skb),
        &mut KernelGuard { socket: Some(skb) },
    )
}

/// Whether no address is guarded at all. Then no packet costs a hash lookup.
#[inline(always)]
fn is_idle() -> bool {
    const _: () = assert!(offset_of!(GuardRow, address) == 0);
    let Some(row) = GUARD.get_ptr(0) else {
        return true;
    };
    // SAFETY: the row begins with the 16 bytes of its address, and is aligned for words.
    let halves = unsafe { row.cast::<[u64; 2]>().read_volatile() };
    halves == [0, 0]
}

/// The frame with all headers for the guard in its linear part, as far as the packet goes.
#[inline(always)]
fn with_headers(ctx: &TcContext) -> Option<Frame<*mut __sk_buff>> {
    let frame = Frame::of_skb(ctx);
    let wanted = ctx.len().min(HEADERS_LEN as u32);
    if frame.holds(wanted as usize) {
        return Some(frame);
    }
    // Some senders keep no more than the Ethernet header in the linear part.
    ctx.pull_data(wanted).ok()?;
    Some(Frame::of_skb(ctx))
}
