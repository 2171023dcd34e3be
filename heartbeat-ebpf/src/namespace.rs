//! Which network namespace a packet is in, for the programs that see the packets of all.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_get_netns_cookie};

/// The cookie of the agent's network namespace. The loader sets it before the kernel sees the
/// programs; 0 says that all packets are looked at. The verifier knows the value, so a kernel that
/// has no such helper for these programs (before 6.15) never gets to see the call.
#[unsafe(no_mangle)]
static NETNS_COOKIE: u64 = 0;

/// Whether the socket of this packet is in the agent's network namespace.
#[inline(always)]
pub(crate) fn is_own(skb: *mut __sk_buff) -> bool {
    // SAFETY: the address is that of a static. The loader has replaced what the compiler knows of
    // it.
    let own = unsafe { (&raw const NETNS_COOKIE).read_volatile() };
    // SAFETY: the context is valid for the program's run.
    own == 0 || unsafe { bpf_get_netns_cookie(skb.cast()) } == own
}
