//! Configurations of any shape.

use std::time::Duration;

use heartbeat_common::wire::{GroupId, NodeId};
use heartbeat_core::{
    group::GroupPlan,
    index::GroupIndex,
    placement::{Colocation, Layout, Policy, Rebalance, Score, Strategy},
};

use crate::support::net::Rng;

/// A layout of `nodes` nodes and `groups` groups, some of which have constraints.
pub(crate) fn layout(rng: &mut Rng, nodes: u16, groups: usize) -> Layout {
    let plan = |index: usize, rng: &mut Rng| {
        let mut ranked: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        if rng.per_mille(300) {
            let start = rng.below(nodes.into()) as usize;
            ranked.rotate_left(start);
            ranked.truncate(2.max(nodes as usize / 2));
        }
        let banned = NodeId(1 + rng.below(nodes.into()) as u16);
        GroupPlan {
            id: GroupId(index as u16 + 1),
            ranked,
            locations: match rng.per_mille(200) {
                true => vec![(banned, Score::NEVER)],
                false => Vec::new(),
            },
            demand: vec![rng.below(5) as u32],
            rebalance: rng.per_mille(900),
            ..GroupPlan::default()
        }
    };
    let plans = (0..groups).map(|index| plan(index, rng)).collect();
    let mut layout = Layout {
        groups: plans,
        ..Layout::default()
    };
    for group in 1..groups {
        let score = match rng.below(100) {
            0..8 => Score::MUST,
            8..16 => Score::NEVER,
            _ => continue,
        };
        // Each group follows earlier ones only, so that no constraint is circular.
        let with = rng.below(group as u64) as usize;
        layout.constraints.colocations.push(Colocation {
            group: GroupIndex(group),
            with: GroupIndex(with),
            score,
        });
    }
    let hold = Duration::from_secs(20 + rng.below(60));
    layout.policy = Policy {
        strategy: rng.pick(&Strategy::ALL),
        rebalance: Some(Rebalance {
            high: 700 + rng.below(200) as u16,
            low: 200 + rng.below(300) as u16,
            hold,
            cooldown: hold * rng.pick(&[1, 2, 5]),
        }),
        ..Policy::default()
    };
    layout
}
