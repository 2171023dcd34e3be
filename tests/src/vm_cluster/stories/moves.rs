//! Planned hand-overs.

use std::time::Duration;

use anyhow::Result;

use super::common::{gap, turns_are};
use crate::vm_cluster::{
    rig::{Rig, now},
    setup::{LEASE, NODES},
    story::claim,
};

const MOVES: usize = 20;

pub(super) fn twenty_planned_moves(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let mut place = NODES.iter().position(|name| *name == owner).unwrap_or(0);
    let since = now();
    let mut wanted = vec![NODES[place]];
    rig.pass(Duration::from_millis(200))?;
    for step in 0..MOVES {
        // Three moves to the next node, then three to the one after it: to each from each.
        place = (place + 1 + step / 3 % 2) % NODES.len();
        let target = NODES[place];
        // From each node in turn.
        let at = &rig.nodes[step % rig.nodes.len()];
        at.sh(&format!("heartbeat move service {target}"))?;
        wanted.push(target);
        rig.pass(Duration::from_millis(300))?;
    }
    let turns = turns_are(rig, since, &wanted)?;
    let gaps: Vec<_> = (0..turns.len() - 1)
        .map(|index| gap(&turns, index))
        .collect();
    let longest = gaps.iter().max().copied().unwrap_or_default();
    let mut sorted = gaps.clone();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    rig.note(format!(
        "{} moves, nobody served for {median:.3?} (median), {longest:.3?} (longest)",
        gaps.len()
    ));
    claim(longest < LEASE / 2, || {
        format!("a move took {longest:.3?}: it waited for the lease ({LEASE:?})")
    })
}
