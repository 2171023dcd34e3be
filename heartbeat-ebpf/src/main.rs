//! The kernel side of heartbeat: thin entry points over the functions in `heartbeat-common`.
//!
//! `responder` (XDP) answers probes, votes on leases and records replies. `stamp_probe` (TC egress)
//! writes the departure time, the liveness vector and the tag into the agent's probes. A timer per
//! peer and link (`watch`) reports that a reply is overdue. `guard_ingress` (XDP) and
//! `guard_egress` (TC) drop packets to or from a virtual IP that this node may not serve.
//! `responder` does this too for the frames that it passes. `guard_received` and `guard_sent`
//! (cgroup_skb) drop such packets at sockets. `process_exit` (a raw tracepoint) reports the end of
//! processes. `leader_exit` takes the place of `process_exit` on kernels whose tracepoint lacks an
//! argument for the last thread.

#![no_std]
#![no_main]
// Inline assembly for BPF, see `access`.
#![feature(asm_experimental_arch)]

mod acceptor;
mod access;
mod clock;
mod counters;
mod exits;
mod guard;
mod maps;
mod namespace;
mod report;
mod tables;
mod watch;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action, xdp_md},
    macros::{cgroup_skb, classifier, raw_tracepoint, xdp},
    programs::{RawTracePointContext, SkBuffContext, TcContext, XdpContext},
};
use heartbeat_common::{
    receive::{Received, receive},
    stamp::stamp,
    verdict::{Action, Verdict},
};

use crate::{access::Frame, tables::KernelTables};

/// The responder of cluster links. The program accepts frames of several buffers (`frags`): with a
/// large MTU, drivers refuse programs that do not. All bytes that the program reads lie in the
/// first buffer.
#[xdp(frags)]
pub fn responder(ctx: XdpContext) -> u32 {
    let mut frame = Frame::of_xdp(&ctx);
    let ifindex = ctx.ingress_ifindex() as u32;
    counters::arrived(ifindex);
    let mut tables = KernelTables::on(ifindex);
    let Received { verdict, row } = receive(&mut frame, &mut tables);
    counters::count(verdict);
    match (verdict, row) {
        (Verdict::Recorded, Some(row)) => watch::arm(row),
        (Verdict::UnknownVersion, _) => report::unknown_version(&ctx),
        _ => {}
    }
    match verdict.action() {
        Action::Pass => pass_guard(&frame),
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
    }
}

/// The guard of interfaces that have a virtual IP and are no cluster link.
#[xdp(frags)]
pub fn guard_ingress(ctx: XdpContext) -> u32 {
    counters::arrived(ctx.ingress_ifindex() as u32);
    pass_guard(&Frame::of_xdp(&ctx))
}

#[inline(always)]
fn pass_guard(frame: &Frame<*mut xdp_md>) -> u32 {
    match guard::ingress(frame) {
        Action::Drop => xdp_action::XDP_DROP,
        Action::Pass | Action::Transmit => xdp_action::XDP_PASS,
    }
}

/// The guard of leaving frames. Frames that the guard passes go on to the next programs, for
/// example to `stamp_probe`.
#[classifier]
pub fn guard_egress(ctx: TcContext) -> i32 {
    match guard::egress(&ctx) {
        Action::Drop => TC_ACT_SHOT,
        Action::Pass | Action::Transmit => TC_ACT_UNSPEC,
    }
}

#[cgroup_skb(ingress)]
pub fn guard_received(ctx: SkBuffContext) -> i32 {
    allow(guard::received(&ctx))
}

#[cgroup_skb(egress)]
pub fn guard_sent(ctx: SkBuffContext) -> i32 {
    allow(guard::sent(&ctx))
}

/// The return value of a cgroup_skb program for this action. Another program may still drop a
/// packet that this one passes.
#[inline(always)]
fn allow(action: Action) -> i32 {
    match action {
        Action::Drop => 0,
        Action::Pass | Action::Transmit => 1,
    }
}

#[classifier]
pub fn stamp_probe(ctx: TcContext) -> i32 {
    let mut frame = Frame::of_skb(&ctx);
    let mut tables = KernelTables::of_leaving(access::egress_ifindex(&ctx), ctx.skb.skb);
    let Some(verdict) = stamp(&mut frame, &mut tables) else {
        return TC_ACT_UNSPEC;
    };
    counters::count(verdict);
    match verdict.action() {
        Action::Pass | Action::Transmit => TC_ACT_UNSPEC,
        Action::Drop => TC_ACT_SHOT,
    }
}

/// Attaches only if the tracepoint has an argument that marks the last thread of a process.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) {
    /// The index of `group_dead` in `trace_sched_process_exit(task, group_dead)`,
    /// include/trace/events/sched.h.
    const GROUP_DEAD: usize = 1;
    if ctx.arg::<u8>(GROUP_DEAD) != 0 {
        exits::tell();
    }
}

/// Takes the end of a process's first thread as the end of the process, on older kernels.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn leader_exit(_: RawTracePointContext) {
    if exits::is_leader() {
        exits::tell();
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

// SAFETY: the loader reads the licence from this section, and no other code uses the name or the
// section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
