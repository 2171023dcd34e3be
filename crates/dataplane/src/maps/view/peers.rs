//! The map `peers`: the kernel's state of each link to each peer.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use anyhow::Result;
use heartbeat_common::{
    index::{PeerIndex, RowNumber, RowPlace},
    maps::PeerRow,
};
use nix::sys::mman::ProtFlags;

use super::Words;

/// The `peers` map, read-only. A row's number is its position in the setup, independent of its
/// place in the map.
#[derive(Debug)]
pub struct PeerRows {
    words: Words,
    /// The place in the map of each row.
    places: Vec<RowPlace>,
}

const ROW_WORDS: usize = size_of::<PeerRow>() / size_of::<u64>();

impl PeerRows {
    /// Maps the rows. `rows` is the number of rows of the map.
    pub(crate) fn map(fd: impl AsFd, rows: usize, places: Vec<RowPlace>) -> Result<Self> {
        Self::map_with(fd, rows, places, ProtFlags::PROT_READ)
    }

    /// Maps the rows for changes, which are allowed before any reply is expected.
    pub(crate) fn map_writable(fd: impl AsFd, rows: usize, places: Vec<RowPlace>) -> Result<Self> {
        Self::map_with(
            fd,
            rows,
            places,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        )
    }

    fn map_with(
        fd: impl AsFd,
        rows: usize,
        places: Vec<RowPlace>,
        protection: ProtFlags,
    ) -> Result<Self> {
        let words = Words::map(fd, rows * size_of::<PeerRow>(), protection)?;
        Ok(Self { words, places })
    }

    /// The number of the row at `place`, if there is one.
    pub fn number_at(&self, place: RowPlace) -> Option<RowNumber> {
        // Without changes of the peers, the number equals the place.
        let same = |number: &usize| self.places.get(*number) == Some(&place);
        let search = || self.places.iter().position(|other| *other == place);
        let number = Some(place.0 as usize).filter(same).or_else(search);
        number.map(RowNumber)
    }

    /// Clears the requests and answers of an earlier agent, since the next one counts its probes
    /// from the beginning. The peers' requests stay, and with them the replay window.
    pub(crate) fn forget_replies(&self) {
        const ASKED: std::ops::Range<usize> = std::mem::offset_of!(PeerRow, last_asked_at)
            / size_of::<u64>()
            ..std::mem::offset_of!(PeerRow, deadline_fired_at) / size_of::<u64>();
        for row in self.words.get().chunks_exact(ROW_WORDS) {
            for (index, word) in row.iter().enumerate() {
                if !ASKED.contains(&index) {
                    word.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    /// Replaces `rows` with the present values of all rows.
    pub fn read(&self, rows: &mut Vec<PeerRow>) {
        rows.clear();
        rows.extend(self.numbers().map(|number| self.row(number)));
    }

    /// The numbers of all rows.
    pub fn numbers(&self) -> impl Iterator<Item = RowNumber> + use<> {
        (0..self.places.len()).map(RowNumber)
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The last announcement of `peer`, on any of its `links`.
    ///
    /// # Panics
    /// Panics if there is no such peer.
    pub fn latest(&self, peer: PeerIndex, links: usize) -> PeerRow {
        let RowNumber(first) = RowNumber::first_of(peer, links);
        let rows = (first..first + links).map(|row| self.row(RowNumber(row)));
        rows.max_by_key(|row| row.last_reply_at).unwrap_or_default()
    }

    /// The kernel's state of the peer and link of this row.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn row(&self, number: RowNumber) -> PeerRow {
        let place = self.places[number.0].0 as usize;
        let from = &self.words.get()[place * ROW_WORDS..][..ROW_WORDS];
        // The kernel writes `last_reply_seq` last. Two equal readings of that field show that the
        // copy is of one reply. A reader that is always overtaken returns the last copy.
        const SEQUENCE: usize = std::mem::offset_of!(PeerRow, last_reply_seq) / size_of::<u64>();
        let mut words = [0u64; ROW_WORDS];
        for _ in 0..3 {
            let before = from[SEQUENCE].load(Ordering::Acquire);
            for (word, source) in words.iter_mut().zip(from) {
                *word = source.load(Ordering::Relaxed);
            }
            std::sync::atomic::fence(Ordering::Acquire);
            if from[SEQUENCE].load(Ordering::Relaxed) == before {
                break;
            }
        }
        bytemuck::cast(words)
    }
}
