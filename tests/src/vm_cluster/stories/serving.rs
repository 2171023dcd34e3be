//! Three kernels with separate clocks agree on an owner.

use std::{mem, time::Duration};

use anyhow::{Context as _, Result};
use heartbeat_common::{lease::Operation, wire::Kind};

use super::common::served_throughout;
use crate::{
    vm_cluster::{
        node::Node,
        rig::{Rig, now},
        story::claim,
    },
    wait_until,
};

/// The longest start of an agent on an emulated CPU.
const START: Duration = Duration::from_secs(60);
const YEAR: u64 = 365 * 24 * 3600;

pub(super) fn quorum_and_serving(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let mut clocks = Vec::new();
    for node in &rig.nodes {
        let text = node.sh("cut -d. -f1 /proc/uptime; date +%s")?;
        let mut values = text
            .lines()
            .filter_map(|line| line.trim().parse::<u64>().ok());
        let uptime = values.next().context("no uptime")?;
        clocks.push((uptime, values.next().context("no time")?));
        let status = node.status()?;
        let local = status["nodes"].as_array().into_iter().flatten();
        let local = local.clone().find(|other| other["local"] == true);
        let mode = local.map(|node| node["links"][0]["xdp_mode"].clone());
        claim(mode.as_ref().is_some_and(|mode| mode == "native"), || {
            format!("XDP of node {} is {mode:?}", node.name)
        })?;
    }
    let since = now();
    rig.pass(Duration::from_secs(3))?;
    served_throughout(rig, since, &owner)?;
    let uptimes: Vec<_> = clocks.iter().map(|clock| clock.0).collect();
    let mut times: Vec<_> = clocks.iter().map(|clock| clock.1).collect();
    times.sort_unstable();
    rig.note(format!("uptimes {uptimes:?} s"));
    let far = times.windows(2).all(|pair| pair[1] - pair[0] > YEAR);
    claim(far, || format!("clocks are too close: {times:?}"))?;
    let spread = uptimes.iter().max().zip(uptimes.iter().min());
    claim(
        spread.is_some_and(|(most, least)| most - least >= 2),
        || format!("the machines booted together: {uptimes:?}"),
    )?;
    heartbeats(rig, since, &owner)
}

/// A node with a kernel for real-time work joins.
pub(super) fn real_time_kernel(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let name = rig.others(&owner)[0].clone();
    let kernel = rig.real_time.clone().context("no kernel with PREEMPT_RT")?;
    rig.power_off(&name)?;
    let usual = mem::replace(&mut rig.node_mut(&name)?.kernel, kernel);
    let joined = joins(rig, &name);
    // The next story has the usual kernels again.
    let node = rig.node_mut(&name)?;
    node.power_off();
    node.kernel = usual;
    joined
}

/// Claims that the agent of node `name` starts, and that all nodes vote.
fn joins(rig: &mut Rig, name: &str) -> Result<()> {
    rig.power_on(&[name])?;
    let mut ended = None;
    wait_until(START, "the agent listens, or has ended", || {
        let node = rig.node(name)?;
        ended = node.check_agent(&rig.setup).err();
        Ok(ended.is_some() || node.status().is_ok())
    })?;
    claim(ended.is_none(), || {
        let console = rig.node(name).map(Node::console).unwrap_or_default();
        let refusal = console.lines().find(|line| line.contains("refused"));
        refusal.unwrap_or("the agent ended").to_owned()
    })?;
    rig.await_votes()
}

/// Claims that each node asks and answers each other, and that only the owner renews.
fn heartbeats(rig: &mut Rig, since: heartbeat_common::time::Boottime, owner: &str) -> Result<()> {
    let beats = rig.capture.since(since);
    let owner = u16::from(rig.node(owner)?.id);
    let ids: Vec<_> = rig.nodes.iter().map(|node| u16::from(node.id)).collect();
    for &from in &ids {
        for &to in ids.iter().filter(|&&to| to != from) {
            for kind in [Kind::Probe, Kind::Reply] {
                let is = |beat: &&_| {
                    let beat: &crate::vm_cluster::capture::Beat = beat;
                    (beat.from, beat.to, beat.kind) == (from, to, kind)
                };
                let count = beats.iter().filter(is).count();
                claim(count >= 10, || {
                    format!("{count} heartbeats {kind:?} from node {from} to {to} in 3 s")
                })?;
            }
        }
    }
    let renewals: Vec<_> = beats
        .iter()
        .filter(|beat| beat.asks(Operation::Renew))
        .collect();
    let foreign = renewals.iter().find(|beat| beat.from != owner);
    claim(foreign.is_none() && !renewals.is_empty(), || {
        format!("renewals of another node than {owner}: {foreign:?}")
    })?;
    rig.note(format!(
        "{} heartbeats, {} with renewals",
        beats.len(),
        renewals.len()
    ));
    Ok(())
}
