//! What the running kernel lacks, in words.

use std::fs;

use aya::{
    programs::{SchedClassifier, TcAttachType},
    util::KernelVersion,
};

use crate::attach::errors::errno;

/// The oldest kernel that heartbeat is tested with.
const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);

/// The kernel's release, as `uname -r` shows it.
pub(crate) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| "(unknown)".to_owned(),
        |release| release.trim().to_owned(),
    )
}

/// Says what is done without, and what that means: one line for each.
pub(crate) fn tell_what_it_lacks() {
    if KernelVersion::current().is_ok_and(|current| current < OLDEST) {
        log::warn!(
            "Linux {} is older than 6.1, the oldest that heartbeat is tested with: what it lacks \
            may be refused when the programs are loaded",
            release()
        );
    }
    if !has_tc_links() {
        log::warn!(
            "Linux {} has no TCX (6.6): TC filters are used instead; they stay after kill -9 until \
            the next start or `heartbeat unload`",
            release()
        );
    }
}

/// Whether the kernel has links for TC programs (TCX, Linux 6.6).
pub(crate) fn has_tc_links() -> bool {
    match SchedClassifier::query_tcx("lo", TcAttachType::Egress) {
        Ok(_) => true,
        // Whoever may not ask, or has no loopback, is told when it comes to attaching.
        Err(error) => errno(&error) != Some(libc::EINVAL),
    }
}
