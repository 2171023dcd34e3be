//! The map `guard`: until when each address and each group may be served.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use anyhow::Result;
use heartbeat_common::{
    maps::{GUARD_ROWS, GuardRow, MAX_VIPS},
    time::Boottime,
};
use nix::sys::mman::ProtFlags;

use super::Words;

/// The `guard` map: until when each address may be served.
#[derive(Debug)]
pub struct GuardView {
    words: Words,
    /// The row of each guarded address, in the order of the configuration.
    rows: Vec<usize>,
}

const GUARD_WORDS: usize = size_of::<GuardRow>() / size_of::<u64>();

impl GuardView {
    pub(crate) fn map(fd: impl AsFd, rows: Vec<usize>) -> Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Ok(Self {
            words: Words::map(fd, GUARD_ROWS * size_of::<GuardRow>(), protection)?,
            rows,
        })
    }

    /// Lets traffic of an address pass until `until`: no longer if that has passed.
    ///
    /// # Panics
    /// If there is no such address.
    pub fn open(&self, index: usize, until: Boottime) {
        self.store(self.rows[index], until);
    }

    /// Notes for the next agent until when the group with this index may be served.
    ///
    /// # Panics
    /// If there cannot be such a group.
    pub fn serve(&self, group: usize, until: Boottime) {
        self.store(MAX_VIPS + group, until);
    }

    fn store(&self, row: usize, until: Boottime) {
        const OPEN_UNTIL: usize = std::mem::offset_of!(GuardRow, open_until) / size_of::<u64>();
        let word = &self.words.get()[row * GUARD_WORDS + OPEN_UNTIL];
        word.store(until.as_nanos(), Ordering::Release);
    }

    /// Says on which interface the agent puts an address. Only one thread may call this.
    pub fn set_interface(&self, index: usize, ifindex: u32) {
        // The word's other fields are the address's own, and stay as they are.
        const AT: usize = std::mem::offset_of!(GuardRow, ifindex) / size_of::<u64>();
        const _: () = assert!(std::mem::offset_of!(GuardRow, ifindex).is_multiple_of(8));
        if let Some(row) = self.row(index) {
            let words: [u64; GUARD_WORDS] = bytemuck::cast(GuardRow { ifindex, ..row });
            let word = &self.words.get()[self.rows[index] * GUARD_WORDS + AT];
            word.store(words[AT], Ordering::Release);
        }
    }

    /// `None` if this node does not guard that address.
    pub fn row(&self, index: usize) -> Option<GuardRow> {
        let row = *self.rows.get(index)?;
        let from = &self.words.get()[row * GUARD_WORDS..][..GUARD_WORDS];
        let mut words = [0u64; GUARD_WORDS];
        for (word, source) in words.iter_mut().zip(from) {
            *word = source.load(Ordering::Acquire);
        }
        Some(bytemuck::cast(words))
    }
}
