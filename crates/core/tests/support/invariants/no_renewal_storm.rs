//! (d) No renewal storm: a node sends requests once an interval, and out of turn only a few times
//! in a lease.

use std::collections::{HashMap, VecDeque};

use heartbeat_common::wire::MAX_LEASES;

use crate::support::{
    ns,
    truth::Violation,
    world::{Round, World},
};

#[derive(Default)]
pub(crate) struct NoRenewalStorm {
    /// By machine and agent: the rounds of the last lease.
    recent: HashMap<(usize, u64), VecDeque<Round>>,
    judged: usize,
    /// The greatest number of rounds out of turn in any lease.
    most_urgent: usize,
}

/// The number of rounds out of turn that a node may make within one lease. It covers the win and
/// the release of each group and each address, and a few failed claims.
pub(crate) fn urgent_bound(world: &World) -> usize {
    4 + 3 * world.leases()
}

impl NoRenewalStorm {
    pub(crate) fn check(&mut self, world: &World) -> Result<(), Violation> {
        let (lease, interval) = (ns(world.timing.lease), ns(world.timing.interval));
        let ticks_bound = (lease / interval + 2) as usize;
        let frames_bound = world.leases().div_ceil(MAX_LEASES).max(1);
        for round in &world.rounds[self.judged..] {
            if round.frames > frames_bound {
                return Err(format!(
                    "storm: more than {frames_bound} frames in {round:?}"
                ));
            }
            let recent = self.recent.entry((round.machine, round.agent)).or_default();
            recent.push_back(*round);
            while recent
                .front()
                .is_some_and(|first| first.at + lease < round.at)
            {
                recent.pop_front();
            }
            let urgent = recent.iter().filter(|round| round.urgent).count();
            let ticks = recent.len() - urgent;
            self.most_urgent = self.most_urgent.max(urgent);
            if urgent > urgent_bound(world) || ticks > ticks_bound {
                return Err(format!(
                    "storm: machine {} asked {ticks} times in turn and {urgent} times out of turn \
                     within a lease, the last time at {}",
                    round.machine, round.at
                ));
            }
        }
        self.judged = world.rounds.len();
        Ok(())
    }
}

impl std::fmt::Display for NoRenewalStorm {
    /// Writes the greatest part of the bound that was used.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} rounds out of turn in a lease at most",
            self.most_urgent
        )
    }
}
