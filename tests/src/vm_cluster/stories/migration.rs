//! Live migration of the owner to another process, with other ports of the switch.

use std::time::Duration;

use anyhow::Result;

use super::{
    common::gap,
    pauses::{self, Resumed},
};
use crate::vm_cluster::{
    answers::order,
    rig::{Rig, TAKEOVER, now},
    story::claim,
};

/// The longest time without an answer for a client that uses ARP, after a machine with an
/// outdated claim to the address goes on. The owner answers the claim at once, and a second later.
const REACHED_AGAIN: Duration = Duration::from_secs(3);

pub(super) fn live(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let since = now();
    rig.migrate(&owner)?;
    let took = now().since(since);
    rig.pass(Duration::from_secs(3))?;
    let turns = rig.clients.turns(since);
    // A migration that takes longer than the lease costs it.
    claim(turns.len() <= 2 && turns[0].node == owner, || {
        format!("answers came from {} in turn", order(&turns))
    })?;
    let (gap, turns) = (gap(&turns, 0), order(&turns));
    rig.note(format!(
        "migrated in {took:.3?}; served by {turns}, gap {gap:.3?}"
    ));
    reached(rig)
}

pub(super) fn paused(rig: &mut Rig) -> Result<()> {
    let (former, successor) = pauses::pause(rig, 2 * TAKEOVER)?;
    rig.migrate(&former)?;
    let at = now();
    rig.node_mut(&former)?.machine()?.resume()?;
    let resumed = Resumed {
        former,
        successor,
        at,
    };
    rig.pass(Duration::from_secs(4))?;
    let answers = pauses::fresh(rig, &resumed);
    let late = answers
        .iter()
        .find(|answer| answer.at.since(at) > pauses::HEARD);
    claim(late.is_none(), || format!("a late answer: {late:?}"))?;
    let mut gap = Duration::ZERO;
    let mut last = at;
    for answer in rig.clients.ordinary(at) {
        gap = gap.max(answer.at.since(last));
        last = answer.at;
    }
    gap = gap.max(now().since(last));
    rig.note(format!(
        "the client that uses ARP got no answer for {gap:.3?}"
    ));
    claim(gap <= REACHED_AGAIN, || format!("no answer for {gap:.3?}"))
}

/// Claims that the client that uses ARP gets answers now.
fn reached(rig: &mut Rig) -> Result<()> {
    let since = now();
    rig.pass(Duration::from_secs(1))?;
    let share = rig.clients.answered(since);
    claim(share >= 0.9, || {
        format!("{:.0} % of the questions were answered", share * 100.0)
    })
}
