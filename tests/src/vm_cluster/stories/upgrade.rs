//! Restarts of the agents, one node after the other: of the same release, and from an older one.

use std::time::Duration;

use anyhow::Result;

use crate::vm_cluster::{
    answers::order,
    node::Node,
    rig::{Rig, TAKEOVER, now},
    story::claim,
};
use heartbeat_common::time::Boottime;

const OLD: &str = "heartbeat-old";

pub(super) fn restarted_one_by_one(rig: &mut Rig) -> Result<()> {
    let since = now();
    one_by_one(rig)?;
    never_away(rig, since)
}

pub(super) fn node_by_node(rig: &mut Rig) -> Result<()> {
    claim(rig.upgrade, || {
        "the images have no older agent: name one by --from".to_owned()
    })?;
    let setup = rig.setup;
    rig.each(Node::stop)?;
    rig.each(|node| node.start_as(&setup, OLD))?;
    rig.await_votes()?;
    let since = now();
    one_by_one(rig)?;
    never_away(rig, since)
}

/// Stops the agent of each node, starts the present one, and waits until it votes.
fn one_by_one(rig: &mut Rig) -> Result<()> {
    let setup = rig.setup;
    for index in 0..rig.nodes.len() {
        rig.nodes[index].sh("heartbeat stop")?;
        rig.nodes[index].start(&setup)?;
        rig.await_votes()?;
        rig.pass(Duration::from_millis(500))?;
    }
    Ok(())
}

/// Claims that no two nodes served at once: each turn ends for good, except for hand-overs, of
/// which each stop causes at most one.
fn never_away(rig: &mut Rig, since: Boottime) -> Result<()> {
    let turns = rig.clients.turns(since);
    let longest = turns
        .windows(2)
        .map(|pair| pair[1].first.since(pair[0].last))
        .max();
    let longest = longest.unwrap_or_default();
    rig.note(format!(
        "served in turn by {}, nobody for {longest:.3?} at most",
        order(&turns)
    ));
    claim(turns.len() <= 1 + rig.nodes.len(), || {
        format!("answers came from {} in turn", order(&turns))
    })?;
    claim(longest <= TAKEOVER, || {
        format!("nobody served for {longest:.3?}")
    })
}
