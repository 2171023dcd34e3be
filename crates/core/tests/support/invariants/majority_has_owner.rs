//! (c) While a majority stays connected, each group that one of its nodes may serve has an owner
//! within a bounded time.

use std::collections::HashMap;

use heartbeat_common::wire::NodeState;

use crate::support::{ns, truth::Violation, world::World};

/// The longest time for which a group may lack an owner although a majority could make one: see
/// [`bound`].
pub(crate) struct MajorityHasOwner {
    /// By pair of machines: the time since which both have been able to vote, and to reach each
    /// other by one link.
    connected_since: HashMap<(usize, usize), Vec<u64>>,
    /// The time since which a machine has been able to serve.
    fit_since: Vec<u64>,
    /// The time at which each group was last seen to be served.
    served_at: Vec<u64>,
    bound: u64,
    /// The longest time without an owner among groups for which a majority could have made one.
    longest: u64,
}

/// The number of claims until one succeeds. The others meet another node's claim.
const CLAIMS: u64 = 3;

/// The worst-case time in which a connected majority makes an owner:
///
/// - two timeouts until the others are received or found down, and this node is active;
/// - the time until the control task of an owner is known to hang;
/// - two leases: one that lives, and one that was released for a node that has gone;
/// - an interval for each node that ranks before;
/// - a few claims, with two questions each, which may have to be repeated where frames are lost,
///   and the back-off after each;
/// - what the network holds back: it may renew the lease of an owner that is dead by now;
/// - twice the time that an address takes to be removed here and added there.
///
/// The longest lease that acceptors grant is no part of it, unless an agent asked for it before it
/// ended: an abstaining acceptor is not part of the majority.
pub(crate) fn bound(world: &World) -> u64 {
    let timing = &world.timing;
    let (interval, timeout, lease) = (ns(timing.interval), ns(timing.timeout), ns(timing.lease));
    let turns = world.machines.len() as u64;
    let lost = match world.net.loss_per_mille {
        0 => 0,
        _ => world.net.losses_in_a_row,
    };
    let claims = CLAIMS * (2 * (1 + lost) + 4);
    let restart = u64::from(world.restarts_gracefully) * world.max_lease;
    2 * timeout
        + restart
        + ns(timing.agent_stall)
        + 2 * lease
        + (turns + claims) * interval
        + world.net.late
        + 4 * world.errand_takes
}

impl MajorityHasOwner {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            connected_since: HashMap::new(),
            fit_since: vec![world.now; world.machines.len()],
            served_at: vec![world.now; world.groups.len()],
            bound: bound(world),
            longest: 0,
        }
    }

    pub(crate) fn check(&mut self, world: &World) -> Result<(), Violation> {
        self.learn(world);
        self.bound = bound(world);
        for group in 0..world.groups.len() {
            if !world.servers(group).is_empty() {
                self.served_at[group] = world.now;
                continue;
            }
            let since = self.served_at[group];
            let Some(could_since) = self.could_be_served_since(world, group) else {
                continue;
            };
            let lacks = world.now - since.max(could_since);
            self.longest = self.longest.max(lacks);
            if lacks > self.bound {
                return Err(format!(
                    "no owner: group {group} was last served at {since}, and a majority has been \
                     connected since {could_since}: {lacks} ns, allowed are {}",
                    self.bound
                ));
            }
        }
        Ok(())
    }

    fn learn(&mut self, world: &World) {
        let count = world.machines.len();
        for machine in 0..count {
            if !is_fit(world, machine) {
                self.fit_since[machine] = world.now;
            }
            for peer in 0..machine {
                let pair = (peer, machine);
                let links = usize::from(world.links);
                let since = self.connected_since.entry(pair);
                let since = since.or_insert_with(|| vec![world.now; links]);
                for path in world.paths(&[machine], &[peer]) {
                    let cut = world.net.is_blocked(path) || world.net.is_blocked(path.back());
                    if cut || !votes(world, machine) || !votes(world, peer) {
                        since[usize::from(path.link.0)] = world.now;
                    }
                }
            }
        }
    }

    /// The time since which some machine that may serve `group` has been part of a connected
    /// majority.
    fn could_be_served_since(&self, world: &World, group: usize) -> Option<u64> {
        let count = world.machines.len();
        let ranked = &world.groups[group].ranked;
        let may_serve = |machine: usize| {
            ranked
                .iter()
                .any(|node| node.0 == world.machines[machine].id)
                && is_fit(world, machine)
        };
        let majorities = (0_u32..1 << count).filter(|set| set.count_ones() as usize > count / 2);
        majorities
            .filter_map(|set| {
                let members: Vec<usize> = (0..count).filter(|m| set >> m & 1 == 1).collect();
                let server = members.iter().filter(|machine| may_serve(**machine));
                let fit = server.map(|machine| self.fit_since[*machine]).min()?;
                let pairs = members
                    .iter()
                    .flat_map(|a| members.iter().map(move |b| (*a, *b)));
                let connected = pairs.filter(|(a, b)| a < b).map(|pair| {
                    self.connected_since[&pair]
                        .iter()
                        .copied()
                        .min()
                        .unwrap_or(0)
                });
                Some(connected.fold(fit, u64::max))
            })
            .min()
    }
}

impl std::fmt::Display for MajorityHasOwner {
    /// Writes the greatest part of the bound that was used.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { longest, bound, .. } = self;
        write!(f, "without an owner for {longest} ns of {bound} at most")
    }
}

/// Whether a machine's acceptor votes.
fn votes(world: &World, machine: usize) -> bool {
    let clock = world.machines[machine].clock;
    let kernel = world.machines[machine].kernel.as_ref();
    kernel.is_some_and(|kernel| kernel.abstains_until() <= clock.reads(world.now))
        && !world.stands_still(machine)
}

/// Whether nothing keeps a machine's agent from serving.
fn is_fit(world: &World, machine: usize) -> bool {
    let held = &world.machines[machine];
    let willing = world.cluster(machine).is_some_and(|cluster| {
        !matches!(cluster.state(), NodeState::Standby | NodeState::Draining)
    });
    let held_until = held
        .stands_until
        .max(held.starved_until)
        .max(held.hangs_until);
    let (health, _) = held.vitals;
    willing && !health.is_fatal() && !held.mute && held_until <= world.now
}
