//! Clocks that are set, and clocks that run too fast or too slow.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::common::{handed_over, served_throughout};
use crate::{
    switch::Way,
    vm_cluster::{
        answers::{Turn, order},
        rig::{Rig, TAKEOVER, now},
        story::claim,
    },
    wait_until,
};

const YEAR: i64 = 365 * 24 * 3600;
/// Microseconds per tick of clocks that run 9 percent too slow and too fast. The kernel allows a
/// tenth (adjtimex(2)).
const SLOW: u32 = 9_100;
const FAST: u32 = 10_900;
/// The shortest overlap that must be seen. With a lease of 2 s, 358 ms are computed.
const OVERLAP: Duration = Duration::from_millis(100);

pub(super) fn set_by_years(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let since = now();
    let others = rig.others(&owner);
    let step = |rig: &Rig, name: &str, seconds: i64| {
        let set = format!("date -s @$(( $(date +%s) + {seconds} ))");
        rig.node(name)?.sh(&set).map(drop)
    };
    for (name, seconds) in [
        (&owner, YEAR),
        (&owner, -2 * YEAR),
        (&others[0], YEAR),
        (&others[1], -YEAR),
    ] {
        step(rig, name, seconds)?;
        rig.pass(Duration::from_millis(500))?;
    }
    rig.node(&owner)?.sh("date -s @31536000")?;
    rig.pass(Duration::from_secs(2))?;
    served_throughout(rig, since, &owner)?;
    // A new incarnation is larger than the former one, whatever the clock says.
    let since = now();
    rig.node(&owner)?.stop()?;
    let setup = rig.setup;
    rig.node(&owner)?.start(&setup)?;
    rig.await_votes()?;
    let turns = rig.clients.turns(since);
    claim(turns.len() <= 2, || {
        format!("answers came from {} in turn", order(&turns))
    })
}

/// Slows the owner's clock down and the others' up, and cuts the owner's heartbeats off. Returns
/// the turns since then.
fn skewed(rig: &mut Rig) -> Result<(String, String, Vec<Turn>)> {
    let owner = rig.owner()?;
    rig.each(|node| {
        let tick = if node.name == owner { SLOW } else { FAST };
        node.sh(&format!("adjtimex -q -t {tick} >/dev/null"))
            .map(drop)
    })?;
    let since = now();
    rig.pass(Duration::from_secs(1))?;
    let port = rig.port(&owner)?;
    rig.network
        .switch
        .set_port_blocked(&port, Way::Heartbeats, true)?;
    let successor = rig.successor(&owner, 2 * TAKEOVER)?;
    rig.pass(Duration::from_secs(1))?;
    rig.each(|node| node.sh("adjtimex -q -t 10000 >/dev/null").map(drop))?;
    Ok((owner, successor, rig.clients.turns(since)))
}

pub(super) fn beyond_drift(rig: &mut Rig) -> Result<()> {
    let (owner, successor, turns) = skewed(rig)?;
    let last = turns.iter().rev().find(|turn| turn.node == owner);
    let first = turns.iter().find(|turn| turn.node == successor);
    let overlap = match (last, first) {
        (Some(last), Some(first)) => last.last.since(first.first),
        _ => Duration::ZERO,
    };
    rig.note(format!("{owner} served {overlap:.3?} beside {successor}"));
    // The assumption about clocks is broken on purpose. If nothing is seen, the rig is blind.
    claim(overlap >= OVERLAP, || {
        format!("an overlap of {overlap:.3?} was seen, but {OVERLAP:?} were expected")
    })
}

pub(super) fn within_drift(rig: &mut Rig) -> Result<()> {
    let begun = now();
    let (owner, successor, _) = skewed(rig)?;
    handed_over(rig, begun, &owner, &successor)
}

pub(super) fn state_lost(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let lost = rig.others(&owner)[0].clone();
    let since = now();
    rig.power_off(&lost)?;
    let node = rig.node_mut(&lost)?;
    node.format()?;
    "2010-01-01T00:00:00".clone_into(&mut node.clock);
    rig.power_on(&[&lost])?;
    // Peers name the cause, and so does the node itself.
    let mut told = Vec::new();
    let limit = Duration::from_secs(60);
    let waited = wait_until(limit, "the nodes name the cause", || {
        told.clear();
        for node in &rig.nodes {
            // The agent may not listen yet.
            if let Ok(status) = node.status()
                && is_refused(&status, &lost)
            {
                told.push(node.name.clone());
            }
        }
        Ok(told.contains(&lost) && told.contains(&owner))
    });
    rig.note(format!("the cause is told by {}", told.join(", ")));
    claim(waited.is_ok(), || {
        format!("the cause is told only by {told:?}")
    })?;
    // A restart of the agent is the cure.
    rig.node(&lost)?.stop()?;
    let setup = rig.setup;
    rig.node(&lost)?.start(&setup)?;
    rig.await_votes()?;
    served_throughout(rig, since, &owner)
}

/// Whether `status` says that the heartbeats of `name` are refused.
fn is_refused(status: &Value, name: &str) -> bool {
    let nodes = status["nodes"].as_array().into_iter().flatten();
    let mut found = nodes.filter(|node| node["name"] == *name);
    found.any(|node| {
        node["refused_by"]
            .as_array()
            .is_some_and(|by| !by.is_empty())
    })
}
