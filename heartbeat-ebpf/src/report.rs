//! Messages to the agent's log: at most one per second and CPU, never one per packet.

use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::warn;

use crate::{clock, maps::LAST_REPORT};

const PAUSE_NS: u64 = 1_000_000_000;

/// Reports a heartbeat of another version, unless a message was written within the last second. The
/// agent itself reports bad tags, from the peers' rows.
#[inline(always)]
pub(crate) fn unknown_version(ctx: &XdpContext) {
    let now = clock::now();
    let Some(last) = LAST_REPORT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's slot; see `counters::count`.
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
