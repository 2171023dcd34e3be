//! The replay: a core that runs over a record.

use std::fmt;

use bytemuck::Zeroable as _;
use heartbeat_common::{
    maps::{PeerRow, VoteEvent},
    time::Boottime,
};

use super::{Change, End, Entry, Input};
use crate::cluster::{Cluster, Command, StepInput};

/// The reason why an entry cannot be replayed. No agent writes such a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// The core has not been started, or is started twice.
    Order,
    /// A group, an acceptor or rows that do not exist.
    Index,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Order => "an entry comes before the start of the agent, or there are two starts",
            Self::Index => "an entry is about a group or a peer that does not exist",
        })
    }
}

impl std::error::Error for ReplayError {}

/// The result of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The entry causes no decision.
    Nothing,
    Step {
        at: Boottime,
        /// The decisions of this core.
        decided: Vec<Command>,
        /// The decisions of the recorded core.
        recorded: Vec<Command>,
    },
    End(End),
}

/// A core with a record as its input.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    cluster: Option<Cluster>,
    rows: Vec<PeerRow>,
}

impl Replay {
    /// The core in its present state: `None` before its start.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Applies one entry.
    pub fn apply(&mut self, entry: Entry<'_>) -> Result<Outcome, ReplayError> {
        if let Entry::Start(plan) = entry {
            let again = self.cluster.replace(Cluster::new(plan.into_owned()));
            return match again {
                Some(_) => Err(ReplayError::Order),
                None => Ok(Outcome::Nothing),
            };
        }
        let cluster = self.cluster.as_mut().ok_or(ReplayError::Order)?;
        match entry {
            Entry::Start(_) => {}
            Entry::End(end) => return Ok(Outcome::End(end)),
            Entry::Input(input) => {
                ensure_group(cluster, &input)?;
                cluster.apply(input.into_owned());
            }
            Entry::Votes {
                acceptor,
                left,
                entries,
                now,
            } => {
                let mut votes = VoteEvent::zeroed();
                let places = votes.entries.get_mut(..entries.len());
                places
                    .filter(|_| {
                        acceptor.is_none_or(|acceptor| cluster.peers().get(acceptor).is_some())
                    })
                    .ok_or(ReplayError::Index)?
                    .copy_from_slice(&entries);
                votes.count = entries.len() as u32;
                votes.t1 = left.as_nanos();
                cluster.count(acceptor, &votes, now);
            }
            Entry::Step {
                now,
                late,
                control_tick_at,
                votes_from,
                rows,
                changes,
                slots,
                decided: recorded,
            } => {
                let links = cluster.peers().iter().map(|peer| peer.links.len());
                if rows < links.sum() || rows > heartbeat_common::maps::MAX_ROWS {
                    return Err(ReplayError::Index);
                }
                change(&mut self.rows, rows, &changes)?;
                let input = StepInput {
                    now,
                    late,
                    control_tick_at,
                    rows: &self.rows,
                    slots: &slots,
                    votes_from,
                };
                let mut decided = Vec::new();
                cluster.step(&input, &mut decided);
                return Ok(Outcome::Step {
                    at: now,
                    decided,
                    recorded: recorded.into_owned(),
                });
            }
        }
        Ok(Outcome::Nothing)
    }
}

fn ensure_group(cluster: &Cluster, input: &Input) -> Result<(), ReplayError> {
    match input {
        Input::Inherit { group, .. }
        | Input::Stopped { group, .. }
        | Input::Move { group, .. }
        | Input::Note { group, .. } => {
            let group = cluster.groups().get(*group);
            group.map(drop).ok_or(ReplayError::Index)
        }
        _ => Ok(()),
    }
}

/// Restores `rows` to their values in the recorded step.
fn change(rows: &mut Vec<PeerRow>, count: usize, changes: &[Change]) -> Result<(), ReplayError> {
    rows.resize(count, PeerRow::default());
    let words: &mut [u64] = bytemuck::cast_slice_mut(rows);
    let mut words = words.iter_mut();
    for Change { skip, by } in changes {
        let word = words.nth(*skip as usize).ok_or(ReplayError::Index)?;
        *word = word.wrapping_add(*by);
    }
    Ok(())
}
