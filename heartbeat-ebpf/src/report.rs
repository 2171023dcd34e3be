//! Messages to the agent's log: at most one a second and CPU, never one per packet.

use crate::tables::now;
use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map, programs::XdpContext};
use aya_log_ebpf::warn;

const PAUSE_NS: u64 = 1_000_000_000;

#[btf_map(name = "last_report")]
static LAST_REPORT: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Says that a heartbeat of another version came, unless something was said within the last second. Of bad MACs the
/// agent tells, from the peers' rows.
#[inline(always)]
pub(crate) fn unknown_version(ctx: &XdpContext) {
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
    warn!(
        ctx,
        "heartbeat of an unknown version: does the cluster run different releases?"
    );
}
