//! What several stories claim.

use std::time::Duration;

use anyhow::Result;
use heartbeat_common::time::Boottime;

use crate::vm_cluster::{
    answers::{Turn, order},
    rig::{Rig, TAKEOVER},
    story::claim,
};

/// The turns since `since`, which must be those of `wanted` and of no other node.
pub(super) fn turns_are(rig: &Rig, since: Boottime, wanted: &[&str]) -> Result<Vec<Turn>> {
    let turns = rig.clients.turns(since);
    let wanted = wanted.join(" ");
    claim(order(&turns) == wanted, || {
        format!(
            "answers came from {}, not from {wanted} in turn",
            order(&turns)
        )
    })?;
    Ok(turns)
}

/// The time between two turns that follow each other.
pub(super) fn gap(turns: &[Turn], index: usize) -> Duration {
    match turns.get(index..index + 2) {
        Some([one, next]) => next.first.since(one.last),
        _ => Duration::ZERO,
    }
}

/// Claims that `former` served, then `successor`, with no answer of one beside the other, and that
/// no node served for at most a takeover.
pub(super) fn handed_over(
    rig: &mut Rig,
    since: Boottime,
    former: &str,
    successor: &str,
) -> Result<()> {
    handed_over_within(rig, since, former, successor, TAKEOVER)
}

/// The same with another limit.
pub(super) fn handed_over_within(
    rig: &mut Rig,
    since: Boottime,
    former: &str,
    successor: &str,
    limit: Duration,
) -> Result<()> {
    let turns = turns_are(rig, since, &[former, successor])?;
    let gap = gap(&turns, 0);
    rig.note(format!(
        "{former} to {successor}: nobody served for {gap:.3?}"
    ));
    claim(gap <= limit, || {
        format!("nobody served for {gap:.3?}, more than {limit:?}")
    })
}

/// Claims that `owner` alone served since `since`, and answered the ordinary client.
pub(super) fn served_throughout(rig: &Rig, since: Boottime, owner: &str) -> Result<()> {
    /// The share of answers that an emulated machine on a busy host gives.
    const SHARE: f64 = 0.9;
    turns_are(rig, since, &[owner])?;
    let share = rig.clients.answered(since);
    claim(share >= SHARE, || {
        format!("{:.0} % of the questions were answered", share * 100.0)
    })
}
