//! Calls into the core as bytes. The encoder must not allocate in the steady state: the pulse calls
//! it.

use std::borrow::Cow;

use heartbeat_common::{
    maps::{PeerRow, VoteEvent},
    time::Boottime,
};

use super::{Change, Entry, FRAME_LEN, check};
use crate::{
    cluster::{Command, StepInput},
    index::PeerIndex,
};

/// The error for too little room for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The memory of an encoder between two steps.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    /// The rows of the last step.
    rows: Vec<PeerRow>,
    /// A buffer for reuse.
    changes: Vec<Change>,
}

/// The words of rows.
pub(super) fn words(rows: &[PeerRow]) -> &[u64] {
    bytemuck::cast_slice(rows)
}

impl Encoder {
    /// Writes `entry` to the beginning of `room`. Returns the number of bytes written.
    pub fn entry(entry: &Entry<'_>, room: &mut [u8]) -> Result<usize, Full> {
        let (head, rest) = room.split_at_mut_checked(FRAME_LEN).ok_or(Full)?;
        let entry = postcard::to_slice(entry, rest).map_err(|_| Full)?;
        let len = u32::try_from(entry.len()).map_err(|_| Full)?;
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4..].copy_from_slice(&check(entry).to_le_bytes());
        Ok(FRAME_LEN + entry.len())
    }

    /// Writes votes in the form of [`crate::Cluster::count`].
    pub fn votes(
        acceptor: Option<PeerIndex>,
        votes: &VoteEvent,
        now: Boottime,
        room: &mut [u8],
    ) -> Result<usize, Full> {
        let count = votes.entries.len().min(votes.count as usize);
        let entry = Entry::Votes {
            acceptor,
            left: Boottime::from_nanos(votes.t1),
            entries: Cow::Borrowed(&votes.entries[..count]),
            now,
        };
        Self::entry(&entry, room)
    }

    /// Writes a step and its decisions.
    pub fn step(
        &mut self,
        input: &StepInput<'_>,
        decided: &[Command],
        room: &mut [u8],
    ) -> Result<usize, Full> {
        self.note_rows(input.rows);
        let entry = Entry::Step {
            now: input.now,
            late: input.late,
            control_tick_at: input.control_tick_at,
            votes_from: input.votes_from,
            rows: input.rows.len(),
            changes: Cow::Borrowed(&self.changes),
            slots: Cow::Borrowed(input.slots),
            decided: Cow::Borrowed(decided),
        };
        Self::entry(&entry, room)
    }

    /// Compares `rows` with those of the last step, and stores them.
    fn note_rows(&mut self, rows: &[PeerRow]) {
        self.rows.resize(rows.len(), PeerRow::default());
        self.changes.clear();
        let mut skip = 0;
        for (old, new) in words(&self.rows).iter().zip(words(rows)) {
            if old == new {
                skip += 1;
            } else {
                let by = new.wrapping_sub(*old);
                self.changes.push(Change { skip, by });
                skip = 0;
            }
        }
        self.rows.copy_from_slice(rows);
    }
}
