//! The memory-mapped maps: rows that the kernel writes, and words that the agent writes for its
//! kernel.
//!
//! Both are read and written word by word, without system calls. The kernel works on the same
//! memory at the same time, so every access is an atomic one.

mod guard;
mod local;
mod peers;

use std::{num::NonZeroUsize, os::fd::AsFd, ptr::NonNull, sync::atomic::AtomicU64};

use anyhow::{Context as _, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

pub use guard::GuardView;
pub use local::LocalView;
pub use peers::PeerRows;

/// The memory of a mmapable array map, as 64-bit words.
#[derive(Debug)]
struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory is shared with the kernel anyway, and only ever accessed through atomics.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    fn map(fd: impl AsFd, bytes: usize, protection: ProtFlags) -> Result<Self> {
        let length = NonZeroUsize::new(bytes).context("a map has no entries")?;
        // SAFETY: a fresh mapping at an address that the kernel chooses; it is unmapped in `drop`
        // and no reference to it is handed out that outlives `self`.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }
            .context("could not map a BPF array into memory")?;
        Ok(Self {
            start: start.cast(),
            count: bytes / size_of::<u64>(),
        })
    }

    fn get(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `count` words long, page-aligned, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`; no reference to it is left.
        let unmapped = unsafe { munmap(self.start.cast(), self.count * size_of::<u64>()) };
        debug_assert!(unmapped.is_ok());
    }
}
