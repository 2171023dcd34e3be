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
    helpers::{bpf_skb_vlan_pop, bpf_xdp_adjust_head},
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// The greatest number of interfaces of a switch, including its bridges and its loopback.
const MAX_INTERFACES: usize = 256;
/// The block of all packets from the node at the port.
const FROM_NODE: u32 = 1;
/// The block of all packets to the node at the port.
const TO_NODE: u32 = 2;
/// The block of the heartbeats from and to the node at the port, if they are IPv4 packets on the
/// default port and carry neither IP options nor a VLAN tag.
const HEARTBEATS: u32 = 4;

/// The length of a VLAN tag, and of the two addresses before it, in bytes.
const TAG: usize = 4;
const ADDRESSES: usize = 12;
/// The Ethernet type of a tag, and the bits of a tag that are the number of the VLAN.
const TAGGED: u16 = 0x8100;
const NUMBER: u32 = 0xfff;

/// Offsets in a frame, in bytes: the Ethernet type, the first byte of the IP header, the protocol,
/// and the UDP port of the receiver.
const ETHER_TYPE: usize = 12;
const IP_VERSION: usize = 14;
const IP_PROTOCOL: usize = 23;
const UDP_PORT: usize = 36;
const IPV4: u16 = 0x0800;
/// Version 4, with a header of 20 bytes.
const PLAIN: u8 = 0x45;
const UDP: u8 = 17;
const PORT: u16 = 694;

/// The blocked directions, by the index of the port's interface.
#[btf_map(name = "blocked")]
static BLOCKED: Array<u32, MAX_INTERFACES> = Array::new();

/// The VLAN of each access port, by the index of its interface; 0 for all other ports. The node at
/// an access port sends and receives untagged frames, which are tagged within the switch.
#[btf_map(name = "access_vlans")]
static ACCESS_VLANS: Array<u32, MAX_INTERFACES> = Array::new();

/// Lets all packets pass. Like the other programs it accepts frames of several buffers (`frags`),
/// so that the ports may have a large MTU.
#[xdp(frags)]
pub fn pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[xdp(frags)]
pub fn port_ingress(ctx: XdpContext) -> u32 {
    let port = ctx.ingress_ifindex() as u32;
    let blocked = value(&BLOCKED, port);
    if blocked & FROM_NODE != 0
        || blocked & HEARTBEATS != 0 && is_heartbeat(ctx.data(), ctx.data_end())
    {
        return xdp_action::XDP_DROP;
    }
    match value(&ACCESS_VLANS, port) {
        0 => xdp_action::XDP_PASS,
        vlan => tag(&ctx, vlan as u16),
    }
}

/// Puts a tag behind the addresses of a frame.
#[inline(always)]
fn tag(ctx: &XdpContext, vlan: u16) -> u32 {
    // SAFETY: the context is valid for the program's run. The kernel refuses what does not fit.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -(TAG as i32)) } != 0 {
        return xdp_action::XDP_DROP;
    }
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + ADDRESSES + TAG > end {
        return xdp_action::XDP_DROP;
    }
    // SAFETY: both ranges are below the end of the packet, which was compared above.
    unsafe {
        let addresses = *((data + TAG) as *const [u8; ADDRESSES]);
        *(data as *mut [u8; ADDRESSES]) = addresses;
        let [high, low] = vlan.to_be_bytes();
        let [first, second] = TAGGED.to_be_bytes();
        *((data + ADDRESSES) as *mut [u8; TAG]) = [first, second, high, low];
    }
    xdp_action::XDP_PASS
}

#[classifier]
pub fn port_egress(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid for the program's run; `ifindex` is readable in TC programs.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    let blocked = value(&BLOCKED, interface);
    if blocked & TO_NODE != 0 || blocked & HEARTBEATS != 0 && is_sent_heartbeat(&ctx) {
        return TC_ACT_SHOT;
    }
    match value(&ACCESS_VLANS, interface) {
        0 => TC_ACT_UNSPEC,
        vlan => untag(&ctx, vlan),
    }
}

/// Takes the tag of an access port's VLAN from a frame. Frames of other VLANs, and of none, do not
/// pass.
#[inline(always)]
fn untag(ctx: &TcContext, vlan: u32) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid for the program's run; these fields are readable in TC programs.
    let (is_tagged, number) = unsafe { ((*skb).vlan_present != 0, (*skb).vlan_tci & NUMBER) };
    // SAFETY: as above. No pointer into the packet is held.
    if is_tagged && number == vlan && unsafe { bpf_skb_vlan_pop(skb) } == 0 {
        TC_ACT_UNSPEC
    } else {
        TC_ACT_SHOT
    }
}

/// The value of an interface; 0 for an unknown one.
#[inline(always)]
fn value(map: &Array<u32, MAX_INTERFACES>, interface: u32) -> u32 {
    let Some(value) = map.get_ptr(interface) else {
        return 0;
    };
    // SAFETY: map values live as long as the program. Userspace may write it meanwhile: one aligned
    // word, read once.
    unsafe { value.read_volatile() }
}

/// Whether the frame between the addresses `data` and `end` is a heartbeat.
#[inline(always)]
fn is_heartbeat(data: usize, end: usize) -> bool {
    if data + UDP_PORT + 2 > end {
        return false;
    }
    // SAFETY: all offsets are below the end of the packet, which was compared above.
    let byte = |at: usize| unsafe { *((data + at) as *const u8) };
    let short = |at: usize| u16::from_be_bytes([byte(at), byte(at + 1)]);
    short(ETHER_TYPE) == IPV4
        && byte(IP_VERSION) == PLAIN
        && byte(IP_PROTOCOL) == UDP
        && short(UDP_PORT) == PORT
}

/// The same for a packet that leaves, which need not be in one piece.
#[inline(always)]
fn is_sent_heartbeat(ctx: &TcContext) -> bool {
    let byte = |at: usize| ctx.load::<u8>(at).unwrap_or(0);
    let short = |at: usize| u16::from_be_bytes([byte(at), byte(at + 1)]);
    short(ETHER_TYPE) == IPV4
        && byte(IP_VERSION) == PLAIN
        && byte(IP_PROTOCOL) == UDP
        && short(UDP_PORT) == PORT
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
