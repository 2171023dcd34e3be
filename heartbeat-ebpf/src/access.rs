//! Bounds-checked access to packet memory. No other code touches it.

use core::arch::asm;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    programs::{TcContext, XdpContext},
};
use heartbeat_common::packet::{Packet, Word};

/// A program context that knows the bounds of its frame.
pub(crate) trait Context: Copy {
    fn data(self) -> usize;

    /// The end of the frame, read anew at each call. With a cached value the compiler would prove
    /// some checks from others and omit them, in ways that the verifier cannot follow. The read is
    /// in assembly, because the verifier requires a load from the context at a constant offset. The
    /// compiler would rather keep the field's address than add the offset each time.
    fn data_end(self) -> usize;
}

macro_rules! contexts {
    ($($context:ty),*) => {$(
        impl Context for *mut $context {
            #[inline(always)]
            fn data(self) -> usize {
                // SAFETY: the context is valid for the program's run.
                unsafe { (*self).data as usize }
            }

            #[inline(always)]
            fn data_end(self) -> usize {
                let end: usize;
                // SAFETY: as in `data`; it loads one field and touches nothing else.
                unsafe {
                    asm!(
                        "{end} = *(u32 *)({context} + {offset})",
                        end = lateout(reg) end,
                        context = in(reg) self,
                        offset = const core::mem::offset_of!($context, data_end),
                        options(readonly, nostack),
                    );
                }
                end
            }
        }
    )*};
}
contexts!(xdp_md, __sk_buff);

/// The linear part of a frame, from its Ethernet header on.
pub(crate) struct Frame<C> {
    context: C,
    data: usize,
}

impl Frame<*mut xdp_md> {
    #[inline(always)]
    pub(crate) fn of_xdp(ctx: &XdpContext) -> Self {
        Self {
            context: ctx.ctx,
            data: ctx.ctx.data(),
        }
    }
}

impl Frame<*mut __sk_buff> {
    #[inline(always)]
    pub(crate) fn of_skb(ctx: &TcContext) -> Self {
        Self::of_packet(ctx.skb.skb)
    }

    /// The frame of a packet. At a socket it begins with the IP header.
    #[inline(always)]
    pub(crate) fn of_packet(skb: *mut __sk_buff) -> Self {
        Self {
            context: skb,
            data: skb.data(),
        }
    }
}

impl<C: Context> Frame<C> {
    /// Whether the frame has its first `len` bytes. `len` must be small, and the verifier must know
    /// so.
    #[inline(always)]
    pub(crate) fn holds(&self, len: usize) -> bool {
        self.data + len <= self.context.data_end()
    }

    /// A pointer to a `T` at `at`, if it lies inside the frame.
    #[inline(always)]
    fn pointer<T>(&self, at: usize) -> Option<*mut T> {
        let start = self.data + at;
        if start + size_of::<T>() > self.context.data_end() {
            None
        } else {
            Some(start as *mut T)
        }
    }
}

impl<C: Context> Packet for Frame<C> {
    #[inline(always)]
    fn read<T: Word>(&self, at: usize) -> Option<T> {
        let pointer = self.pointer::<T>(at)?;
        // SAFETY: `pointer` was checked against the end of the frame, and any bytes are a `T`. The
        // pointer may be unaligned: BPF has no alignment faults where the verifier admits the load.
        // A plain load is one instruction, and `read_unaligned` would be one per byte.
        Some(unsafe { core::ptr::read_volatile(pointer) }.swap_order())
    }

    #[inline(always)]
    fn write<T: Word>(&mut self, at: usize, value: T) -> Option<()> {
        let pointer = self.pointer::<T>(at)?;
        // SAFETY: as in `read`; the program may change the frame while it runs.
        unsafe { core::ptr::write_volatile(pointer, value.swap_order()) };
        Some(())
    }
}

/// The index of the interface by which a packet leaves.
#[inline(always)]
pub(crate) fn egress_ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid for the program's run; `ifindex` is readable in TC programs.
    unsafe { (*ctx.skb.skb).ifindex }
}
