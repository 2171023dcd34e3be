//! The missing features of the running kernel, as texts.

use std::fs;

use aya::{
    programs::{SchedClassifier, TcAttachType},
    util::KernelVersion,
};

use crate::attach::errors::errno;

/// The oldest kernel on which heartbeat is tested.
const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);

/// The kernel's release, as `uname -r` shows it.
pub(crate) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| "(unknown)".to_owned(),
        |release| release.trim().to_owned(),
    )
}

/// Logs each missing feature and its consequence in one line.
pub(crate) fn log_missing_features() {
    if KernelVersion::current().is_ok_and(|current| current < OLDEST) {
        log::warn!(
            "Linux {} is older than 6.1, the oldest version that heartbeat is tested with: it may \
             refuse the programs",
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
        // A process without the right to ask, or without a loopback, gets the error at the
        // attachment.
        Err(error) => errno(&error) != Some(libc::EINVAL),
    }
}
