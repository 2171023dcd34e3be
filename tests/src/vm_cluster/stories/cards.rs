//! The address on interfaces as servers have them: a bond, a VLAN, a bridge.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::common::{handed_over, served_throughout};
use crate::vm_cluster::{
    rig::{ALONE, Rig, TAKEOVER, now},
    story::claim,
};

/// Claims that every node runs XDP in `mode`.
fn runs_in(rig: &Rig, mode: &str) -> Result<()> {
    for node in &rig.nodes {
        let status = node.status()?;
        let nodes = status["nodes"].as_array().context("no nodes")?;
        let local = nodes.iter().find(|other| other["local"] == true);
        let link = local.context("no local node")?["links"][0].clone();
        claim(link["xdp_mode"] == mode, || {
            format!("XDP of node {} is {}: {link}", node.name, link["xdp_mode"])
        })?;
    }
    Ok(())
}

/// Claims that the address is served, and that a successor takes it when the owner's cable is
/// pulled.
fn serves(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let since = now();
    rig.pass(Duration::from_secs(2))?;
    served_throughout(rig, since, &owner)?;
    let port = rig.port(&owner)?;
    let since = now();
    rig.pass(Duration::from_millis(500))?;
    rig.network.set_plugged(&port, false)?;
    let successor = rig.successor(&owner, 2 * TAKEOVER)?;
    rig.network.heal(&port)?;
    rig.pass(Duration::from_secs(1))?;
    handed_over(rig, since, &owner, &successor)
}

pub(super) fn bond(rig: &mut Rig) -> Result<()> {
    // The second card takes over within the node, and the lease stays.
    let owner = rig.owner()?;
    let since = now();
    rig.node_mut(&owner)?.machine()?.set_carrier(0, false)?;
    rig.pass(Duration::from_secs(3))?;
    let active = rig
        .node(&owner)?
        .sh("cat /sys/class/net/hb0/bonding/active_slave")?;
    claim(active.trim() == "card1", || format!("{active} is active"))?;
    let turns = rig.clients.turns(since);
    claim(turns.iter().all(|turn| turn.node == owner), || {
        format!("answers of others than {owner}: {turns:?}")
    })?;
    let server = rig.clients.server(ALONE);
    claim(server.as_ref() == Some(&owner), || {
        format!("{server:?} serves")
    })?;
    rig.node_mut(&owner)?.machine()?.set_carrier(0, true)?;
    // From here on the bond has one card, whose cable can be pulled. The bond accepts a card as the
    // active one as soon as it has seen its carrier.
    rig.each(|node| {
        node.sh("for try in $(seq 50); do\n\
             echo card0 >/sys/class/net/hb0/bonding/active_slave && break || sleep 0.1\n\
             done 2>/dev/null\n\
             grep -x card0 /sys/class/net/hb0/bonding/active_slave\n\
             echo -card1 >/sys/class/net/hb0/bonding/slaves")
            .map(drop)
    })?;
    serves(rig)
}

/// The program runs in the drivers of a bond's cards.
pub(super) fn native_on_bond(rig: &mut Rig) -> Result<()> {
    runs_in(rig, "native")
}

/// A VLAN and a bridge have no driver that runs a program.
pub(super) fn vlan(rig: &mut Rig) -> Result<()> {
    runs_in(rig, "skb")?;
    serves(rig)
}

pub(super) fn bridge(rig: &mut Rig) -> Result<()> {
    runs_in(rig, "skb")?;
    serves(rig)
}
