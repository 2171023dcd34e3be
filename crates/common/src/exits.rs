//! The layouts of the maps by which the kernel reports the end of processes.
//!
//! As in [`crate::maps`], the values are plain old data without padding, in host byte order, with
//! nanoseconds of `CLOCK_BOOTTIME`. No other map depends on these maps, and none of them outlives
//! an agent.

use bytemuck::{Pod, Zeroable};

/// The number of processes that one agent watches.
pub const MAX_WATCHED: usize = 1_024;

/// An entry of `processes`, by process id: a process whose end is reported.
///
/// The id is that of the initial pid namespace. The kernel removes the entry when it reports the
/// end, so a later process with the same id is not watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct WatchedProcess {
    /// The start of the watch.
    pub since: u64,
    /// The watcher's own identifier of the process.
    pub token: u32,
    /// The consequence of the end for the node: a [`crate::wire::Health`], 0 for none. The kernel
    /// adds it to [`crate::maps::Local::kernel_health`] before the report.
    pub health: u32,
}

/// The content of the `exits` ring buffer: a watched process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ExitEvent {
    pub pid: u32,
    /// As in its [`WatchedProcess`].
    pub token: u32,
    /// The time at which its last thread began to end.
    pub at: u64,
}

#[cfg(feature = "user")]
mod pod {
    use super::{ExitEvent, WatchedProcess};

    // SAFETY: `bytemuck::Pod` is derived above, and `aya::Pod` requires the same.
    unsafe impl aya::Pod for WatchedProcess {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ExitEvent {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_no_padding_and_the_sizes_that_are_documented() {
        assert_eq!(size_of::<WatchedProcess>(), 16);
        assert_eq!(size_of::<ExitEvent>(), 16);
    }
}
