//! Layouts of the maps by which the kernel tells of the end of processes.
//!
//! As in [`crate::maps`]: plain old data without padding, host byte order, nanoseconds of
//! `CLOCK_BOOTTIME`. No other map depends on these, and nothing in them outlives an agent.

use bytemuck::{Pod, Zeroable};

/// Processes that one agent watches.
pub const MAX_WATCHED: usize = 1_024;

/// An entry of `processes`, by process id: a process whose end is to be told.
///
/// The id is that of the initial pid namespace. The kernel removes the entry when it tells, so whoever
/// gets the same id later is not watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct WatchedProcess {
    /// Since when.
    pub since: u64,
    /// The watcher's own word for it.
    pub token: u32,
    /// What its end means for the node: a [`crate::wire::Health`], 0 for nothing. The kernel adds it to
    /// [`crate::maps::Local::kernel_health`] before it tells.
    pub health: u32,
}

/// What the `exits` ring buffer carries: a watched process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ExitEvent {
    pub pid: u32,
    /// As in its [`WatchedProcess`].
    pub token: u32,
    /// When its last thread began to end.
    pub at: u64,
}

#[cfg(feature = "user")]
mod pod {
    use super::{ExitEvent, WatchedProcess};

    // SAFETY: `bytemuck::Pod` is derived above, which is what `aya::Pod` asks for.
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
