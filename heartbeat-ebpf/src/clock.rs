//! The clock of all times in this program.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_ktime_get_boot_ns() }
}
