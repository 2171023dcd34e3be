//! The map `guard`: the time until which each address and each group may be served.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use anyhow::Result;
use heartbeat_common::{
    index::{GroupIndex, VipIndex},
    maps::{GUARD_ROWS, GuardRow},
    time::Boottime,
};
use nix::sys::mman::ProtFlags;

use super::Words;
use crate::maps::guard_place::GuardPlace;

/// The `guard` map: the time until which each address may be served.
#[derive(Debug)]
pub struct GuardView {
    words: Words,
    /// The place of each guarded address, in the order of the configuration.
    places: Vec<GuardPlace>,
}

const GUARD_WORDS: usize = size_of::<GuardRow>() / size_of::<u64>();

impl GuardView {
    pub(crate) fn map(fd: impl AsFd, places: Vec<GuardPlace>) -> Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Ok(Self {
            words: Words::map(fd, GUARD_ROWS * size_of::<GuardRow>(), protection)?,
            places,
        })
    }

    /// Lets traffic of an address pass until `until`. A time in the past closes the guard.
    ///
    /// # Panics
    /// Panics if there is no such address.
    pub fn open(&self, vip: VipIndex, until: Boottime) {
        self.store(self.places[vip.0], until);
    }

    /// Records for the next agent the time until which the group with this number may be served.
    ///
    /// # Panics
    /// Panics if there cannot be such a group.
    pub fn serve(&self, group: GroupIndex, until: Boottime) {
        self.store(GuardPlace::of_group(group), until);
    }

    fn store(&self, place: GuardPlace, until: Boottime) {
        const OPEN_UNTIL: usize = std::mem::offset_of!(GuardRow, open_until) / size_of::<u64>();
        let word = &self.words.get()[place.as_usize() * GUARD_WORDS + OPEN_UNTIL];
        word.store(until.as_nanos(), Ordering::Release);
    }

    /// Sets the interface of an address. Only one thread may call this.
    pub fn set_interface(&self, vip: VipIndex, ifindex: u32) {
        // The word's other fields belong to the address too, and keep their values.
        const AT: usize = std::mem::offset_of!(GuardRow, ifindex) / size_of::<u64>();
        const _: () = assert!(std::mem::offset_of!(GuardRow, ifindex).is_multiple_of(8));
        if let Some(row) = self.row(vip) {
            let words: [u64; GUARD_WORDS] = bytemuck::cast(GuardRow { ifindex, ..row });
            let word = &self.words.get()[self.places[vip.0].as_usize() * GUARD_WORDS + AT];
            word.store(words[AT], Ordering::Release);
        }
    }

    /// The row of an address; `None` if this node does not guard that address.
    pub fn row(&self, vip: VipIndex) -> Option<GuardRow> {
        let place = self.places.get(vip.0)?.as_usize();
        let from = &self.words.get()[place * GUARD_WORDS..][..GUARD_WORDS];
        let mut words = [0u64; GUARD_WORDS];
        for (word, source) in words.iter_mut().zip(from) {
            *word = source.load(Ordering::Acquire);
        }
        Some(bytemuck::cast(words))
    }
}
