//! A machine that stands still with all its clocks, and goes on.

use std::time::Duration;

use anyhow::{Result, bail};
use heartbeat_common::time::Boottime;

use crate::{
    switch::Way,
    vm_cluster::{
        answers::Seen,
        rig::{Rig, TAKEOVER, now},
        setup::{LEASE, MAX_LEASE},
        story::claim,
    },
};

/// The shortest pause.
const PAUSE: Duration = Duration::from_secs(5);
/// The time for which a resumed owner that receives heartbeats may still answer: an interval, a
/// round trip, and the packets in its queue.
pub(super) const HEARD: Duration = Duration::from_millis(500);
/// Reserve for the clocks' resolution and for emulation.
const RESERVE: Duration = Duration::from_millis(200);

/// A resumed owner.
pub(super) struct Resumed {
    pub(super) former: String,
    pub(super) successor: String,
    pub(super) at: Boottime,
}

/// Pauses the owner until another node serves. It stays paused.
pub(super) fn pause(rig: &mut Rig, limit: Duration) -> Result<(String, String)> {
    let former = rig.owner()?;
    let begun = now();
    rig.node_mut(&former)?.machine()?.pause()?;
    let successor = rig.successor(&former, limit)?;
    let left = PAUSE.saturating_sub(now().since(begun));
    rig.pass(left)?;
    Ok((former, successor))
}

fn resume(rig: &mut Rig, (former, successor): (String, String)) -> Result<Resumed> {
    let at = now();
    rig.node_mut(&former)?.machine()?.resume()?;
    Ok(Resumed {
        former,
        successor,
        at,
    })
}

/// The answers of the resumed owner to questions that left after its pause.
pub(super) fn fresh(rig: &mut Rig, resumed: &Resumed) -> Vec<Seen> {
    let Resumed {
        former,
        successor,
        at,
    } = resumed;
    let answers = rig.clients.direct(*at);
    let of = |name: &str| answers.iter().filter(|a| *a.node == *name).count();
    let (all, beside) = (of(former), of(successor));
    let mut answers = answers;
    answers.retain(|answer| *answer.node == **former && answer.asked > *at);
    let last = answers
        .last()
        .map_or(Duration::ZERO, |answer| answer.at.since(*at));
    rig.note(format!(
        "{former} gave {all} answers after its pause, {} of them to later questions, the last \
         after {last:.3?}; {successor} gave {beside} meanwhile",
        answers.len()
    ));
    answers
}

/// Fails, as an error of the rig, if an answer is later than `limit` after the pause.
fn none_after(answers: &[Seen], at: Boottime, limit: Duration) -> Result<()> {
    match answers.last() {
        Some(last) if last.at.since(at) > limit => bail!(
            "an answer {:.3?} after the pause, later than {limit:?}",
            last.at.since(at)
        ),
        _ => Ok(()),
    }
}

pub(super) fn owner_paused(rig: &mut Rig) -> Result<()> {
    let paused = pause(rig, 2 * TAKEOVER)?;
    let resumed = resume(rig, paused)?;
    rig.pass(Duration::from_secs(3))?;
    let answers = fresh(rig, &resumed);
    none_after(&answers, resumed.at, HEARD)
}

pub(super) fn without_heartbeats(rig: &mut Rig) -> Result<()> {
    let paused = pause(rig, 2 * TAKEOVER)?;
    let port = rig.port(&paused.0)?;
    rig.network
        .switch
        .set_port_blocked(&port, Way::Heartbeats, true)?;
    let resumed = resume(rig, paused)?;
    rig.pass(Duration::from_secs(3))?;
    let answers = fresh(rig, &resumed);
    none_after(&answers, resumed.at, LEASE + RESERVE)?;
    silent(&answers)
}

pub(super) fn without_agent(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    rig.node(&owner)?.sh("heartbeat stop --keep")?;
    let paused = pause(rig, MAX_LEASE + TAKEOVER)?;
    let resumed = resume(rig, paused)?;
    rig.pass(MAX_LEASE + Duration::from_secs(1))?;
    let answers = fresh(rig, &resumed);
    none_after(&answers, resumed.at, MAX_LEASE + RESERVE)?;
    silent(&answers)
}

/// Claims that there is no answer beside the successor's.
fn silent(answers: &[Seen]) -> Result<()> {
    claim(answers.is_empty(), || {
        format!(
            "{} questions from after the pause were answered beside the successor",
            answers.len()
        )
    })
}
