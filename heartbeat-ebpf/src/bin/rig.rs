//! The programs of a test's switch ports: they let all packets pass, until the port is blocked.
//!
//! A veth device accepts the frames that its other end transmits with `XDP_TX` only while it runs
//! an XDP program itself. A block is an entry in a map. Attaching or detaching a program instead
//! would hold up the network configuration of all namespaces for milliseconds.

#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    btf_maps::Array,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// The greatest number of interfaces of a switch, including its bridges and its loopback.
const MAX_INTERFACES: usize = 256;
/// The block of all packets from the node at the port.
const FROM_NODE: u32 = 1;
/// The block of all packets to the node at the port.
const TO_NODE: u32 = 2;

/// The blocked directions, by the index of the port's interface.
#[btf_map(name = "blocked")]
static BLOCKED: Array<u32, MAX_INTERFACES> = Array::new();

/// Lets all packets pass. Like the other programs it accepts frames of several buffers (`frags`),
/// so that the ports may have a large MTU.
#[xdp(frags)]
pub fn pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[xdp(frags)]
pub fn port_ingress(ctx: XdpContext) -> u32 {
    if is_blocked(ctx.ingress_ifindex() as u32, FROM_NODE) {
        xdp_action::XDP_DROP
    } else {
        xdp_action::XDP_PASS
    }
}

#[classifier]
pub fn port_egress(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid for the program's run; `ifindex` is readable in TC programs.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    if is_blocked(interface, TO_NODE) {
        TC_ACT_SHOT
    } else {
        TC_ACT_UNSPEC
    }
}

#[inline(always)]
fn is_blocked(interface: u32, way: u32) -> bool {
    let Some(blocked) = BLOCKED.get_ptr(interface) else {
        return false;
    };
    // SAFETY: map values live as long as the program. Userspace may write it meanwhile: one aligned
    // word, read once.
    unsafe { blocked.read_volatile() & way != 0 }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

// SAFETY: the name and section are what the kernel's loader looks for; nothing else uses them.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
