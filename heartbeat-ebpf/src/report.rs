//! Messages to the agent's log: at most one a second and CPU, never one per packet.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map, programs::XdpContext};
use aya_log_ebpf::warn;
use heartbeat_common::verdict::Verdict;

use crate::tables::now;

const PAUSE_NS: u64 = 1_000_000_000;

#[btf_map(name = "last_report")]
static LAST_REPORT: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Says that a packet met `verdict`, unless something was said within the last second.
#[inline(always)]
pub(crate) fn rarely(ctx: &XdpContext, verdict: Verdict) {
    let now = now();
    let Some(last) = LAST_REPORT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's slot; see `tables::count`.
    unsafe {
        if now - *last < PAUSE_NS {
            return;
        }
        *last = now;
    }
    match verdict {
        Verdict::BadMac => warn!(
            ctx,
            "heartbeat with a bad MAC from a peer on the allow-list: do the keys differ?"
        ),
        _ => warn!(
            ctx,
            "heartbeat of an unknown version: does the cluster run different releases?"
        ),
    }
}
