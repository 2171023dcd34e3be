//! The kernel side of heartbeat: thin entry points over the functions in `heartbeat-common`.
//!
//! `responder` (XDP) answers probes and records replies, `stamp` (TC egress) stamps and seals our
//! own probes, and a timer per peer and link (`watch`) reports passed deadlines.

#![no_std]
#![no_main]

mod access;
mod report;
mod tables;
mod watch;

use aya_ebpf::{
    bindings::{TC_ACT_OK, TC_ACT_SHOT, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use heartbeat_common::{
    receive::{Received, receive},
    stamp::stamp,
    verdict::{Action, Verdict},
};

use crate::{access::Frame, tables::KernelTables};

#[xdp]
pub fn responder(ctx: XdpContext) -> u32 {
    let mut frame = Frame::of_xdp(&ctx);
    let mut tables = KernelTables::on(ctx.ingress_ifindex() as u32);
    let Received { verdict, row } = receive(&mut frame, &mut tables);
    tables::count(verdict);
    match (verdict, row) {
        (Verdict::Recorded, Some(row)) => watch::arm(row),
        (Verdict::BadMac | Verdict::UnknownVersion, _) => report::rarely(&ctx, verdict),
        _ => {}
    }
    match verdict.action() {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
    }
}

#[classifier]
pub fn stamp_probe(ctx: TcContext) -> i32 {
    let mut frame = Frame::of_skb(&ctx);
    let mut tables = KernelTables::on(access::egress_ifindex(&ctx));
    let Some(verdict) = stamp(&mut frame, &mut tables) else {
        return TC_ACT_OK;
    };
    tables::count(verdict);
    match verdict.action() {
        Action::Pass | Action::Transmit => TC_ACT_OK,
        Action::Drop => TC_ACT_SHOT,
    }
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
