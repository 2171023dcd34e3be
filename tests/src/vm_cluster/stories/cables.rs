//! Cables, switches and one-way links.

use std::time::Duration;

use anyhow::Result;

use super::common::{handed_over_within, turns_are};
use crate::{
    switch::Way,
    vm_cluster::{
        answers::order,
        rig::{Rig, TAKEOVER, now},
        setup::LEASE,
        story::claim,
    },
};

/// The time before each fault, in which the owner serves.
const BEFORE: Duration = Duration::from_millis(500);
/// The time after each fault's end, in which the former owner must stay silent.
const AFTER: Duration = Duration::from_secs(2);
/// The time for answers on their way.
const ON_THE_WAY: Duration = Duration::from_millis(200);

/// Lets `fault` happen to the owner until another node serves, then ends it. Claims that no node
/// served for at most `limit`.
fn cut(
    rig: &mut Rig,
    limit: Duration,
    fault: impl FnOnce(&mut Rig, &str) -> Result<()>,
    end: impl FnOnce(&mut Rig, &str) -> Result<()>,
) -> Result<()> {
    let owner = rig.owner()?;
    let since = now();
    rig.pass(BEFORE)?;
    fault(rig, &owner)?;
    let successor = rig.successor(&owner, 2 * TAKEOVER)?;
    rig.pass(Duration::from_secs(1))?;
    end(rig, &owner)?;
    rig.pass(AFTER)?;
    handed_over_within(rig, since, &owner, &successor, limit)
}

fn heal(rig: &mut Rig, owner: &str) -> Result<()> {
    let port = rig.port(owner)?;
    rig.network.heal(&port)
}

pub(super) fn owner_unplugged(rig: &mut Rig) -> Result<()> {
    let fault = |rig: &mut Rig, owner: &str| {
        let port = rig.port(owner)?;
        rig.network.set_plugged(&port, false)
    };
    cut(rig, TAKEOVER, fault, heal)
}

pub(super) fn owner_loses_carrier(rig: &mut Rig) -> Result<()> {
    let carrier =
        |up| move |rig: &mut Rig, owner: &str| rig.node_mut(owner)?.machine()?.set_carrier(0, up);
    cut(rig, TAKEOVER, carrier(false), carrier(true))
}

pub(super) fn owner_not_heard(rig: &mut Rig) -> Result<()> {
    cut(rig, TAKEOVER, blocked(Way::FromNode), heal)
}

pub(super) fn owner_hears_nothing(rig: &mut Rig) -> Result<()> {
    // The owner's renewals arrive until its own lease has run out. The others count from the last.
    cut(rig, TAKEOVER + LEASE, blocked(Way::ToNode), heal)
}

fn blocked(way: Way) -> impl FnOnce(&mut Rig, &str) -> Result<()> {
    move |rig: &mut Rig, owner: &str| {
        let port = rig.port(owner)?;
        rig.network.switch.set_port_blocked(&port, way, true)
    }
}

pub(super) fn three_way_partition(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let ports: Vec<_> = rig
        .nodes
        .iter()
        .map(|node| node.port().to_owned())
        .collect();
    let since = now();
    rig.pass(BEFORE)?;
    let apart = now();
    for port in &ports {
        rig.network.switch.set_port_isolated(port, true)?;
    }
    rig.pass(3 * LEASE)?;
    let healed = now();
    let turns = turns_are(rig, since, &[owner.as_str()])?;
    let served = turns[0].last.since(apart);
    rig.note(format!("{owner} served {served:.3?} of the partition"));
    claim(served <= LEASE + ON_THE_WAY, || {
        format!("{owner} served for {served:.3?} without a majority")
    })?;
    for port in &ports {
        rig.network.heal(port)?;
    }
    rig.await_votes()?;
    let turns = rig.clients.turns(healed);
    claim(turns.len() == 1, || {
        format!("answers came from {} in turn", order(&turns))
    })?;
    let waited = turns[0].first.since(healed);
    rig.note(format!(
        "{} served {waited:.3?} after its end",
        turns[0].node
    ));
    Ok(())
}
