//! A whole cluster in simulated time: machines with real kernels and cores, a network, and the
//! actions of operators and faults. The consequences are in `events`. This module does not check
//! the decisions of the cores.

use std::{collections::BTreeMap, time::Duration};

use heartbeat_common::wire::{GroupId, Health, LinkId, LinkSet, NodeId};
use heartbeat_core::{
    Cluster, Command, Timing,
    cluster::{Intent, Member, Plan},
    group::GroupPlan,
    index::GroupIndex,
    membership::{Membership, Voters},
    placement::{Constraints, Layout, Policy},
    record::Input,
};

use super::{
    START,
    clock::Clock,
    events::Event,
    kernel::Kernel,
    machine::{Agent, Machine},
    net::{Net, Path, Rng},
    ns,
};

/// The wall-clock time at the start of a simulation, in nanoseconds since 1970.
const WALL: u64 = 1_700_000_000_000_000_000;

/// Bugs that were made, or could be. Tests put them back to show that a check finds them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bugs {
    /// The guard stays open for one more lease.
    pub(crate) guard_outlasts_lease: bool,
    /// An acceptor that has forgotten its votes does not abstain.
    pub(crate) forgetful_votes: bool,
    /// Votes count from their arrival.
    pub(crate) counts_from_arrival: bool,
    /// After this time, in nanoseconds, a group whose stop has not ended counts as stopped.
    pub(crate) stop_patience: Option<u64>,
    /// Addresses have no leases of their own.
    pub(crate) addresses_without_leases: bool,
}

/// A round of probes to all peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) at: u64,
    pub(crate) machine: usize,
    /// The number of the machine's agent that sends the round.
    pub(crate) agent: u64,
    /// A round before its tick, because of a new request.
    pub(crate) urgent: bool,
    /// The number of frames to each peer and link.
    pub(crate) frames: usize,
}

/// An action of an agent, and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) machine: usize,
    pub(crate) command: Command,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) timing: Timing,
    pub(crate) machines: Vec<Machine>,
    /// Each list differs from the one before it by one change.
    pub(crate) lists: Vec<Voters>,
    pub(crate) net: Net,
    pub(crate) rng: Rng,
    pub(crate) log: Vec<Entry>,
    pub(crate) rounds: Vec<Round>,
    /// The longest time until an agent that is due gets the CPU, in nanoseconds.
    pub(crate) wake_latency: u64,
    /// The shortest such time.
    pub(crate) lateness: u64,
    pub(crate) links: u8,
    pub(crate) groups: Vec<GroupPlan>,
    pub(crate) constraints: Constraints,
    pub(crate) policy: Policy,
    pub(crate) capacities: Vec<(NodeId, Vec<Option<u32>>)>,
    pub(crate) auto_failback: bool,
    /// The longest lease that acceptors grant, in nanoseconds.
    pub(crate) max_lease: u64,
    /// The longest time of a start or a stop of a group, in nanoseconds.
    pub(crate) errand_takes: u64,
    /// The share of slow stops (one of so many), and their longest duration in nanoseconds.
    pub(crate) slow_stops: Option<(u64, u64)>,
    /// The parts per million by which each machine's clock is too fast. Without it, all clocks show
    /// the simulation's time.
    pub(crate) clocks_ppm: Option<Vec<i32>>,
    pub(crate) bugs: Bugs,
    /// Whether the inputs and decisions of agents are recorded.
    pub(crate) records: bool,
    /// Some agent asked for a longer lease than usual.
    pub(crate) restarts_gracefully: bool,
    pub(crate) events: BTreeMap<(u64, u64), Event>,
    /// The number of events and plans, so that no two are the same.
    pub(crate) counter: u64,
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}\n{:?}", self.timing, self.net)?;
        writeln!(f, "clocks {:?} ppm, {} links", self.clocks_ppm, self.links)?;
        writeln!(
            f,
            "{} machines, of them {} witnesses; max lease {} ns, errands take {} ns, fail back: {}",
            self.machines.len(),
            self.machines
                .iter()
                .filter(|machine| machine.witness)
                .count(),
            self.max_lease,
            self.errand_takes,
            self.auto_failback
        )?;
        let ranked = |group: &GroupPlan| group.ranked.iter().map(|node| node.0).collect();
        let ranked: Vec<Vec<u16>> = self.groups.iter().map(ranked).collect();
        write!(f, "{ranked:?}")?;
        for Voters { version, nodes } in &self.lists {
            let nodes: Vec<u16> = nodes.iter().map(|node| node.0).collect();
            write!(f, "\nlist {version}: {nodes:?}")?;
        }
        Ok(())
    }
}

impl World {
    /// `count` machines, switched off, each two connected by `links` links. Each of `groups` lists
    /// the nodes that may serve it, the best first.
    pub(crate) fn new(count: u16, links: u8, timing: Timing, groups: &[&[u16]], seed: u64) -> Self {
        let plan = |(index, nodes): (usize, &&[u16])| GroupPlan {
            id: GroupId(0x51f0 + 0x0101 * index as u16),
            ranked: nodes.iter().map(|node| NodeId(*node)).collect(),
            ..GroupPlan::default()
        };
        Self {
            now: START,
            timing,
            machines: (1..=count).map(Machine::off).collect(),
            lists: vec![Voters {
                version: 1,
                nodes: (1..=count).map(NodeId).collect(),
            }],
            net: Net::default(),
            rng: Rng(seed),
            log: Vec::new(),
            rounds: Vec::new(),
            wake_latency: 0,
            lateness: 0,
            links,
            groups: groups.iter().enumerate().map(plan).collect(),
            constraints: Constraints::default(),
            policy: Policy::default(),
            capacities: Vec::new(),
            auto_failback: true,
            max_lease: ns(timing.lease) * 2,
            errand_takes: 0,
            slow_stops: None,
            clocks_ppm: None,
            bugs: Bugs::default(),
            records: false,
            restarts_gracefully: false,
            events: BTreeMap::new(),
            counter: 0,
        }
    }

    fn peers_of(&self, machine: usize) -> Vec<Member> {
        let all = self.machines.iter().enumerate();
        let peers = all.filter(|(index, _)| *index != machine);
        peers
            .map(|(_, peer)| Member {
                node: NodeId(peer.id),
                witness: peer.witness,
            })
            .collect()
    }

    /// The membership of an agent of this machine at its start.
    fn membership_of(&self, machine: usize) -> Membership {
        let Machine {
            id, list, claiming, ..
        } = self.machines[machine];
        Membership::new(
            NodeId(id),
            self.lists[list].clone(),
            claiming.map(|claiming| self.lists[claiming].clone()),
            Duration::from_nanos(self.max_lease),
            self.timing.drift_ppm,
        )
    }

    pub(crate) fn say_voter_set(&mut self, machine: usize) {
        let machine = &mut self.machines[machine];
        machine.say_voter_set(&self.lists[machine.list]);
    }

    /// Gives this machine the next list that contains it, by an operator, and makes its agent load
    /// it. Returns false if the agent does not.
    pub(crate) fn reload(&mut self, machine: usize) -> bool {
        let Machine { id, list, .. } = self.machines[machine];
        let later = list + 1..self.lists.len();
        let Some(next) = later.clone().find(|next| self.lists[*next].has(NodeId(id))) else {
            return false;
        };
        // The operator begins the next change after the end of the last.
        if next > self.in_force() + 1 {
            return false;
        }
        if next > list + 1 {
            return self.come_back(machine, next);
        }
        let next = &self.lists[next];
        // Other nodes went on while the machine was unreachable. The machine is late, and the
        // others know whether its list is in force.
        let late = self
            .machines
            .iter()
            .any(|other| other.list > list && other.claiming >= Some(list));
        // A leaving node has been emptied before.
        let mut gone = self.lists[list]
            .nodes
            .iter()
            .filter(|node| !next.has(**node));
        let serves = |node: &NodeId| {
            let machine = usize::from(node.0) - 1;
            (0..self.groups.len()).any(|group| self.servers(group).contains(&machine))
        };
        if !late && gone.any(serves) {
            return false;
        }
        let peers = self.peers_of(machine);
        let links = self.links.into();
        let one = &mut self.machines[machine];
        let settled = |agent: &Agent| agent.cluster.membership().is_settled();
        if !late && !one.agent.as_ref().is_none_or(settled) {
            return false;
        }
        one.claiming = one.claiming.filter(|claiming| *claiming == list);
        one.list += 1;
        let membership = self.membership_of(machine);
        if let Some(agent) = &mut self.machines[machine].agent {
            agent.apply(Input::Reform {
                peers,
                links,
                membership,
            });
        }
        self.say_voter_set(machine);
        true
    }

    /// The index of the last list by which any node claims.
    pub(crate) fn in_force(&self) -> usize {
        let claiming = self.machines.iter().filter_map(|machine| machine.claiming);
        claiming.max().unwrap_or_default()
    }

    /// Adds a node that left again, with a list that other nodes use already. An agent of its own
    /// starts with it.
    fn come_back(&mut self, machine: usize, list: usize) -> bool {
        let old = &self.lists[self.machines[machine].list];
        if self.machines.iter().all(|other| other.list < list) || !old.is_met_by(&self.lists[list])
        {
            return false;
        }
        (self.machines[machine].list, self.machines[machine].claiming) = (list, None);
        self.kill_agent(machine);
        self.boot(machine);
        true
    }

    /// Switches a machine on with empty maps and no agent: a host that only answers and votes.
    pub(crate) fn switch_on(&mut self, machine: usize) {
        let peers: Vec<u16> = self.peers_of(machine).iter().map(|m| m.node.0).collect();
        let clock = match &self.clocks_ppm {
            Some(ppm) => Clock::new(self.now, START, ppm[machine]),
            None => Clock::exact(),
        };
        let abstains = if self.bugs.forgetful_votes {
            0
        } else {
            self.max_lease
        };
        let (id, timeout) = (self.machines[machine].id, ns(self.timing.timeout));
        let kernel = Kernel::new(id, &peers, self.links, timeout).with_leases(
            clock.reads(self.now) + abstains,
            self.max_lease,
            self.groups.len(),
        );
        self.machines[machine].switch_on(kernel, clock);
        self.say_voter_set(machine);
    }

    /// Switches a machine on and starts its agent, if it has one.
    pub(crate) fn boot(&mut self, machine: usize) {
        self.switch_on(machine);
        if !self.machines[machine].witness {
            self.start_agent(machine);
        }
    }

    /// Ends the agent, if there is one, and starts a new one on the kernel that it leaves. A
    /// witness has its programs loaded anew.
    pub(crate) fn restart_agent(&mut self, machine: usize) {
        let Some(kernel) = &mut self.machines[machine].kernel else {
            return;
        };
        kernel.reload();
        self.say_voter_set(machine);
        if !self.machines[machine].witness {
            self.start_agent(machine);
        }
    }

    /// Gives each group addresses of its own: one to the first group, two to each other.
    pub(crate) fn give_addresses(&mut self) {
        for (index, group) in (0..).zip(&mut self.groups) {
            let address = |nth| GroupId(0x2000 + 2 * index + nth);
            group.addresses = (0..=u16::from(index > 0)).map(address).collect();
        }
    }

    /// The number of leases that a node with all groups needs.
    pub(crate) fn leases(&self) -> usize {
        let addresses = self.groups.iter().map(|group| group.addresses.len());
        self.groups.len() + addresses.sum::<usize>()
    }

    /// The groups, as the agents have them.
    fn plans(&self) -> Vec<GroupPlan> {
        let mut plans = self.groups.clone();
        if self.bugs.addresses_without_leases {
            plans.iter_mut().for_each(|plan| plan.addresses.clear());
        }
        plans
    }

    fn start_agent(&mut self, machine: usize) {
        let plan = Plan {
            local: NodeId(self.machines[machine].id),
            timing: self.timing,
            membership: self.membership_of(machine),
            peers: self.peers_of(machine),
            links: self.links.into(),
            layout: Layout {
                groups: self.plans().into(),
                constraints: self.constraints.clone(),
                policy: self.policy.clone(),
                capacities: self.capacities.clone(),
            },
            auto_failback: self.auto_failback,
            incarnation: self.machines[machine].next_incarnation(WALL + self.now),
        };
        self.machines[machine].start_agent(plan, self.records, self.now);
        self.say_voter_set(machine);
        self.plan_wake(machine);
    }

    /// Makes the agent of `machine` ask for the longest lease, end, and be followed by another,
    /// which adopts the guard.
    pub(crate) fn graceful_restart(&mut self, machine: usize, after: u64) {
        let longest = Duration::from_nanos(self.max_lease);
        let Some(agent) = &mut self.machines[machine].agent else {
            return;
        };
        agent.apply(Input::GracefulRestart(longest));
        let agent = agent.life;
        self.restarts_gracefully = true;
        self.plan(self.now + after, Event::Follow { machine, agent });
        self.wake(machine);
    }

    /// Moves a group to a node, by an operator's command to the agent of `machine`.
    pub(crate) fn move_to(&mut self, machine: usize, group: usize, to: NodeId) {
        if let Some(agent) = &mut self.machines[machine].agent {
            agent.apply(Input::Move {
                group: GroupIndex(group),
                to,
            });
        }
        self.wake(machine);
    }

    /// Sets the intent of the agent of `machine`, by an operator.
    pub(crate) fn intend(&mut self, machine: usize, intent: Intent) {
        if let Some(agent) = &mut self.machines[machine].agent {
            agent.apply(Input::Intend(intent));
        }
    }

    /// Sets the health and the load that the agent of `machine` measures and sends from now on.
    pub(crate) fn vitals(&mut self, machine: usize, health: Health, load: u16) {
        let machine = &mut self.machines[machine];
        machine.vitals = (health, load);
        machine.say_vitals();
    }

    pub(crate) fn crash(&mut self, machine: usize) {
        self.machines[machine].switch_off();
    }

    /// Kills the agent. Its kernel goes on answering.
    pub(crate) fn kill_agent(&mut self, machine: usize) {
        self.machines[machine].agent = None;
    }

    /// Pauses the whole machine for `duration`. Frames wait in its network card.
    pub(crate) fn pause(&mut self, machine: usize, duration: u64) {
        let until = self.machines[machine].stands_until.max(self.now + duration);
        self.machines[machine].stands_until = until;
        self.plan(until, Event::Resume { machine });
    }

    /// Pauses the agent alone.
    pub(crate) fn starve(&mut self, machine: usize, duration: u64) {
        let until = &mut self.machines[machine].starved_until;
        *until = (self.now + duration).max(*until);
    }

    /// Hangs the control task of the agent alone.
    pub(crate) fn hang(&mut self, machine: usize, duration: u64) {
        let until = &mut self.machines[machine].hangs_until;
        *until = (self.now + duration).max(*until);
    }

    /// The time for which guards stay open beyond the end of their leases.
    pub(crate) fn guard_overhang(&self) -> u64 {
        if self.bugs.guard_outlasts_lease {
            ns(self.timing.lease)
        } else {
            0
        }
    }

    /// Cuts, in both directions and on every link, each of `left` from each of `right`.
    pub(crate) fn cut(&mut self, left: &[usize], right: &[usize]) {
        for path in self.paths(left, right) {
            self.net.block(path);
            self.net.block(path.back());
        }
    }

    /// Makes the port of a machine fail: with its carrier, or silently.
    pub(crate) fn unplug(&mut self, machine: usize, link: LinkId, carrier_goes: bool) {
        for path in self.ways_of_port(machine, link) {
            self.net.block(path);
        }
        if carrier_goes {
            let broken = self.machines[machine].broken;
            self.set_broken(machine, broken.and(LinkSet::of(link)));
        }
    }

    /// Repairs the port.
    pub(crate) fn plug(&mut self, machine: usize, link: LinkId) {
        for path in self.ways_of_port(machine, link) {
            self.net.unblock(path);
        }
        let LinkSet(broken) = self.machines[machine].broken;
        self.set_broken(machine, LinkSet(broken & !LinkSet::of(link).0));
    }

    /// Makes the agent of `machine`, and those after it, see no carrier on these links.
    pub(crate) fn set_broken(&mut self, machine: usize, links: LinkSet) {
        let machine = &mut self.machines[machine];
        machine.broken = links;
        machine.say_vitals();
    }

    fn ways_of_port(&self, machine: usize, link: LinkId) -> Vec<Path> {
        let others: Vec<usize> = (0..self.machines.len())
            .filter(|other| *other != machine)
            .collect();
        let mut ways = self.paths(&[machine], &others);
        ways.retain(|path| path.link == link);
        let back: Vec<Path> = ways.iter().map(|path| path.back()).collect();
        [ways, back].concat()
    }

    /// All paths from `left` to `right`.
    pub(crate) fn paths(&self, left: &[usize], right: &[usize]) -> Vec<Path> {
        let pairs = left
            .iter()
            .flat_map(|from| right.iter().map(move |to| (*from, *to)));
        pairs
            .flat_map(|(from, to)| {
                (0..self.links).map(move |link| Path {
                    from,
                    to,
                    link: LinkId(link),
                })
            })
            .collect()
    }

    /// The log since the last call.
    pub(crate) fn take_log(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.log)
    }

    pub(crate) fn cluster(&self, machine: usize) -> Option<&Cluster> {
        self.machines[machine]
            .agent
            .as_ref()
            .map(|agent| &agent.cluster)
    }

    /// Whether traffic of a group passes on a machine: its address is there, and the guard is open.
    pub(crate) fn serves(&self, machine: usize, group: usize) -> bool {
        let machine = &self.machines[machine];
        let kernel = machine.kernel.as_ref();
        kernel.is_some_and(|kernel| kernel.addresses.contains(&group))
            && machine.guard_closes(group) > self.now
    }

    /// The machines that serve a group.
    pub(crate) fn servers(&self, group: usize) -> Vec<usize> {
        let all = 0..self.machines.len();
        all.filter(|machine| self.serves(*machine, group)).collect()
    }

    pub(crate) fn stands_still(&self, machine: usize) -> bool {
        self.machines[machine].stands_until > self.now
    }
}
