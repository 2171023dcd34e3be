//! The network namespace of a packet, for programs that see the packets of all namespaces.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_get_netns_cookie};

/// The cookie of the agent's network namespace. The loader sets it before the kernel sees the
/// programs; 0 means that all packets are checked. The verifier knows the value, so a kernel
/// without this helper for these programs (before 6.15) never sees the call.
#[unsafe(no_mangle)]
static NETNS_COOKIE: u64 = 0;

/// Whether the socket of this packet is in the agent's network namespace.
#[inline(always)]
pub(crate) fn is_own(skb: *mut __sk_buff) -> bool {
    // SAFETY: the address is that of a static. The loader has replaced the value that the compiler
    // knows.
    let own = unsafe { (&raw const NETNS_COOKIE).read_volatile() };
    // SAFETY: the context is valid for the program's run.
    own == 0 || unsafe { bpf_get_netns_cookie(skb.cast()) } == own
}
