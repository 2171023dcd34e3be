//! Losses of power: the process of a machine ends, and another one starts.

use std::time::Duration;

use anyhow::Result;

use super::common::{handed_over, served_throughout};
use crate::{
    vm_cluster::{
        answers::order,
        rig::{Rig, TAKEOVER, now},
        setup::MAX_LEASE,
        story::claim,
    },
    wait_until,
};

pub(super) fn owner_power_off(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let since = now();
    rig.pass(Duration::from_millis(500))?;
    rig.power_off(&owner)?;
    let successor = rig.successor(&owner, 2 * TAKEOVER)?;
    rig.pass(Duration::from_secs(1))?;
    handed_over(rig, since, &owner, &successor)?;
    // It comes back with its state, and does not disturb the successor.
    let since = now();
    let begun = std::time::Instant::now();
    rig.power_on(&[&owner])?;
    rig.await_votes()?;
    rig.note(format!("{owner} votes again after {:.1?}", begun.elapsed()));
    served_throughout(rig, since, &successor)
}

pub(super) fn member_power_off(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let other = rig.others(&owner)[0].clone();
    let since = now();
    rig.power_off(&other)?;
    rig.pass(Duration::from_secs(3))?;
    rig.power_on(&[&other])?;
    rig.await_votes()?;
    served_throughout(rig, since, &owner)
}

pub(super) fn two_nodes_reset(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let other = rig.others(&owner)[0].clone();
    let since = now();
    rig.pass(Duration::from_millis(500))?;
    rig.power_off(&owner)?;
    rig.power_off(&other)?;
    let down = now();
    // The survivor has no majority.
    rig.pass(TAKEOVER)?;
    claim(
        rig.clients
            .direct(down.after(Duration::from_millis(500)))
            .is_empty(),
        || "a node served without a majority".to_owned(),
    )?;
    rig.power_on(&[&owner, &other])?;
    rig.await_votes()?;
    rig.pass(Duration::from_secs(1))?;
    served_in_turn(rig, since)
}

pub(super) fn all_nodes_reset(rig: &mut Rig) -> Result<()> {
    let since = now();
    let names = rig.nodes.iter().map(|node| node.name.clone());
    let names: Vec<_> = names.collect();
    for name in &names {
        rig.power_off(name)?;
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    rig.power_on(&names)?;
    let up = now();
    let mut served = None;
    wait_until(
        Duration::from_secs(60),
        "a node serves after a reset of all",
        || {
            served = rig.clients.direct(up).first().map(|answer| answer.at);
            Ok(served.is_some())
        },
    )?;
    rig.await_votes()?;
    if let Some(served) = served {
        rig.note(format!(
            "served {:.1?} after the last agent was started (max_lease {MAX_LEASE:?})",
            served.since(up)
        ));
    }
    served_in_turn(rig, since)
}

/// Claims that at most two nodes served since `since`, one after the other.
fn served_in_turn(rig: &mut Rig, since: heartbeat_common::time::Boottime) -> Result<()> {
    let turns = rig.clients.turns(since);
    let mut names: Vec<_> = turns.iter().map(|turn| turn.node.clone()).collect();
    names.sort();
    names.dedup();
    claim(turns.len() == names.len() && !turns.is_empty(), || {
        format!("answers came from {} in turn", order(&turns))
    })?;
    rig.note(format!("served in turn by {}", order(&turns)));
    Ok(())
}
