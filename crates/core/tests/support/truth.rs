//! The real state of a simulated cluster, and its comparison with the output of the cores.
//!
//! The checks are: no false down, completeness, no storm of commands, and one server for each group
//! in the end. The properties of the leases are in `invariants`.

use std::collections::HashMap;

use heartbeat_common::wire::{LinkId, NodeState};
use heartbeat_core::{Command, index::PeerIndex, link::LinkState, peer::PeerState};

use super::{net::Path, ns, world::World};

/// The text of a violation.
pub(crate) type Violation = String;

/// The state of one path from an observer to a peer and back.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// The time since which no round trip can succeed, without interruption.
    silent_since: Option<u64>,
    /// Whether the peer was paused at the last check.
    stood: bool,
    /// The time until which at least one round trip could not succeed, for a reason outside the
    /// observer.
    trouble_until: u64,
}

pub(crate) struct Truth {
    rounds: HashMap<Path, Round>,
    /// The time since which an observer has been able to send and to check without a break.
    fit_since: Vec<u64>,
    /// The start and the end of its last time without CPU, as a machine or as an agent.
    held: Vec<(u64, u64)>,
    /// The number of log entries that were checked.
    judged: usize,
    /// The number of commands that are more than a suspicion, by machine.
    weighty: Vec<usize>,
    /// The number of faults that began or ended.
    pub(crate) edges: usize,
    /// The tolerance of all deadlines: travel, wake-up and the grain of the checks.
    tolerance: u64,
}

impl Truth {
    pub(crate) fn new(world: &World, tolerance: u64) -> Self {
        let count = world.machines.len();
        Self {
            rounds: HashMap::new(),
            fit_since: vec![world.now; count],
            held: vec![(0, 0); count],
            judged: 0,
            weighty: vec![0; count],
            edges: 0,
            tolerance,
        }
    }

    /// Runs all checks. The caller calls it after each fault and each small step of time.
    pub(crate) fn check(&mut self, world: &World) -> Result<(), Violation> {
        self.learn(world);
        self.no_false_down(world)?;
        self.the_dead_are_down(world)?;
        self.no_storm(world)?;
        self.judged = world.log.len();
        Ok(())
    }

    fn learn(&mut self, world: &World) {
        for observer in 0..world.machines.len() {
            let machine = &world.machines[observer];
            let held_until = machine.stands_until.max(machine.starved_until);
            let started = machine
                .agent
                .as_ref()
                .map_or(world.now, |agent| agent.started_at);
            let mute = if machine.mute { world.now } else { 0 };
            let held = &mut self.held[observer];
            if held_until > held.1 {
                let goes_on = held.1 >= world.now;
                *held = (if goes_on { held.0 } else { world.now }, held_until);
            }
            let fit = &mut self.fit_since[observer];
            *fit = held_until.max(started).max(mute).max(*fit);
        }
        for path in all_paths(world) {
            let peer = &world.machines[path.to];
            let cut = world.net.is_blocked(path) || world.net.is_blocked(path.back());
            let silent = peer.kernel.is_none() || world.stands_still(path.to) || cut;
            let round = self.rounds.entry(path).or_default();
            // Frames that waited for a paused machine are answered when it goes on.
            let stood = std::mem::replace(&mut round.stood, world.stands_still(path.to));
            if !silent || (stood && !round.stood) {
                round.silent_since = None;
            }
            if silent {
                round.silent_since.get_or_insert(world.now);
                round.trouble_until = world.now.max(peer.stands_until);
            }
        }
    }

    /// (a) A link to a peer that runs and is connected in both directions is never declared down,
    /// however long the observer itself was paused. On waking, the observer may declare the state
    /// at the start of its pause: its kernel's timer reported it then.
    fn no_false_down(&self, world: &World) -> Result<(), Violation> {
        let patience = ns(world.timing.timeout) + 2 * ns(world.timing.interval) + self.tolerance;
        for entry in &world.log[self.judged..] {
            let (node, links) = match entry.command {
                Command::LinkChanged {
                    node,
                    link,
                    to: LinkState::Down,
                    ..
                } => (node, link.0..link.0 + 1),
                Command::PeerChanged {
                    node,
                    to: PeerState::Down,
                    ..
                } => (node, 0..world.links),
                _ => continue,
            };
            let to = usize::from(node.0) - 1;
            let held = self.held[entry.machine];
            let just_woke = (held.1..=held.1 + self.tolerance).contains(&entry.at);
            if just_woke && may_blame_on_waking(world, entry.machine, held) {
                continue;
            }
            let judged_at = if just_woke { held.0 } else { entry.at };
            for link in links.map(LinkId) {
                let path = Path {
                    from: entry.machine,
                    to,
                    link,
                };
                let trouble = self
                    .rounds
                    .get(&path)
                    .map_or(0, |round| round.trouble_until);
                if trouble + patience < judged_at {
                    return Err(format!(
                        "false down: {entry:?}, the way was free since {trouble}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// (b) Every observer that sends and checks declares a path without answers down.
    fn the_dead_are_down(&self, world: &World) -> Result<(), Violation> {
        let patience = ns(world.timing.timeout) + 2 * ns(world.timing.interval) + self.tolerance;
        for (path, round) in &self.rounds {
            let (Some(silent_since), Some(cluster)) =
                (round.silent_since, world.cluster(path.from))
            else {
                continue;
            };
            let since = silent_since.max(self.fit_since[path.from]);
            let peer = if path.to < path.from {
                path.to
            } else {
                path.to - 1
            };
            let state = cluster.peers()[PeerIndex(peer)].links[path.link].state();
            if world.now > since + patience && state != LinkState::Down {
                return Err(format!(
                    "not found down: {path:?} is {state:?}, nothing came back since {since}"
                ));
            }
        }
        Ok(())
    }

    /// (c) One step gives a bounded number of commands, and so does each fault.
    fn no_storm(&mut self, world: &World) -> Result<(), Violation> {
        let (peers, links) = (world.machines.len() - 1, usize::from(world.links));
        let a_look = peers * (links + 1) + 4 + 2 * world.groups.len();
        let mut looks: HashMap<(usize, u64), usize> = HashMap::new();
        for entry in &world.log[self.judged..] {
            let look = looks.entry((entry.machine, entry.at)).or_default();
            *look += 1;
            if *look > a_look {
                return Err(format!(
                    "storm: more than {a_look} commands at once, last {entry:?}"
                ));
            }
            self.weighty[entry.machine] += usize::from(is_weighty(entry.command));
        }
        let most = (self.edges + 1) * 2 * a_look;
        match self.weighty.iter().position(|count| *count > most) {
            Some(machine) => Err(format!(
                "storm: machine {machine} gave {} commands after {} faults",
                self.weighty[machine], self.edges
            )),
            None => Ok(()),
        }
    }
}

/// Whether a wrong decision may follow from a wake-up just after a deadline. Such a machine cannot
/// tell its own pause from silence. If an earlier reply was lost, the reply in its network card has
/// come too late by now.
fn may_blame_on_waking(world: &World, machine: usize, held: (u64, u64)) -> bool {
    let stood = world.machines[machine].stands_until == held.1;
    let short = ns(world.timing.timeout) + ns(world.timing.slack());
    stood && held.1 - held.0 <= short && world.net.loss_per_mille > 0
}

fn all_paths(world: &World) -> Vec<Path> {
    let all: Vec<usize> = (0..world.machines.len()).collect();
    let mut paths = world.paths(&all, &all);
    paths.retain(|path| path.from != path.to);
    paths
}

/// Whether a command is bounded by the number of faults. A lost frame causes a suspicion, which is
/// cheap, and lost renewals cost a lease.
fn is_weighty(command: Command) -> bool {
    let cheap_link = |state| matches!(state, LinkState::Up | LinkState::Suspect);
    let cheap_peer = |state| matches!(state, PeerState::Up | PeerState::Suspect);
    match command {
        Command::LinkChanged { from, to, .. } => !(cheap_link(from) && cheap_link(to)),
        Command::PeerChanged { from, to, .. } => !(cheap_peer(from) && cheap_peer(to)),
        Command::Group { .. } => false,
        _ => true,
    }
}

/// (d) In a network that has been whole for long enough, each group has one server, and every node
/// that can be active is.
pub(crate) fn one_server_each(world: &World) -> Result<(), Violation> {
    for (index, group) in world.groups.iter().enumerate() {
        let can = group.ranked.iter().any(|node| {
            let cluster = world.cluster(usize::from(node.0) - 1);
            cluster.is_some_and(|cluster| cluster.state() == NodeState::Active)
        });
        let servers = world.servers(index);
        if servers.len() != usize::from(can) {
            return Err(format!("group {index} is served by {servers:?}"));
        }
    }
    for (machine, cluster) in (0..world.machines.len()).filter_map(|m| Some((m, world.cluster(m)?)))
    {
        if cluster.state() != NodeState::Active || cluster.is_locally_stalled() {
            return Err(format!(
                "machine {machine} is {:?}, deaf: {}",
                cluster.state(),
                cluster.is_locally_stalled()
            ));
        }
    }
    Ok(())
}
