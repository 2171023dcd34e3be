//! A whole cluster in simulated time: machines with real kernels and cores, a network, and one queue
//! of events.
//!
//! An agent does here what the pulse thread does: it wakes at its tick, at a deadline of its core, when
//! a deadline timer of its kernel fires and when votes come that cannot wait; at a tick it sends, and
//! at each wake it lets the core look. Its slow side adds and removes addresses. Nothing here judges
//! what the cores decide.

use std::collections::BTreeMap;

use heartbeat_common::{
    time::Boottime,
    wire::{GroupId, LinkId, NodeId},
};
use heartbeat_core::{
    Cluster, Command, Timing,
    cluster::{Intent, Member, Plan},
    group::GroupPlan,
};

use super::{
    START,
    clock::Clock,
    kernel::Kernel,
    machine::{Errand, Machine},
    net::{Delivery, Net, Path, Rng, Sent},
    ns,
    truth::Violation,
};

/// What the wall clocks say when a simulation begins, in nanoseconds since 1970.
const WALL: u64 = 1_700_000_000_000_000_000;
/// Rounds that one wake of an agent may bring about.
const ROUNDS_AT_ONCE: usize = 8;

#[derive(Debug)]
enum Event {
    Arrive {
        path: Path,
        frame: Vec<u8>,
        sent: Sent,
    },
    /// The agent's own timer; of the life and plan with this number.
    Wake {
        machine: usize,
        plan: u64,
    },
    /// The kernel's deadline timers, of this life.
    Timers {
        machine: usize,
        life: u64,
    },
    /// A machine that stood still goes on.
    Resume {
        machine: usize,
    },
    /// The slow side of the agent with this number is done with this.
    Errand {
        machine: usize,
        agent: u64,
        errand: Errand,
    },
}

/// Mistakes that were made, or could be: to show that they are seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bugs {
    /// By how much longer the guard stays open than the lease lasts, in nanoseconds.
    pub(crate) guard_overhang: u64,
    /// An acceptor that has forgotten its votes does not abstain.
    pub(crate) forgetful_votes: bool,
    /// Votes count from when they arrive.
    pub(crate) counts_from_arrival: bool,
}

/// A round of probes to everybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) at: u64,
    pub(crate) machine: usize,
    /// Which of the machine's agents asks.
    pub(crate) agent: u64,
    /// Out of turn, because something new was to be asked.
    pub(crate) urgent: bool,
    /// Frames to each peer and link.
    pub(crate) frames: usize,
}

/// What an agent did, and when.
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
    pub(crate) net: Net,
    pub(crate) rng: Rng,
    pub(crate) log: Vec<Entry>,
    pub(crate) rounds: Vec<Round>,
    /// An agent that is due gets the CPU within this time, in nanoseconds.
    pub(crate) wake_latency: u64,
    pub(crate) links: u8,
    pub(crate) groups: Vec<GroupPlan>,
    pub(crate) auto_failback: bool,
    /// The longest lease that acceptors grant, in nanoseconds.
    pub(crate) max_lease: u64,
    /// Starting or stopping a group takes up to this long, in nanoseconds.
    pub(crate) errand_takes: u64,
    /// How many parts per million each machine's clock is too fast. Without, all show the simulation's
    /// time.
    pub(crate) clocks_ppm: Option<Vec<i32>>,
    pub(crate) bugs: Bugs,
    events: BTreeMap<(u64, u64), Event>,
    /// Counts events and plans, so that no two are the same.
    counter: u64,
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}\n{:?}", self.timing, self.net)?;
        writeln!(f, "clocks {:?} ppm, {} links", self.clocks_ppm, self.links)?;
        writeln!(
            f,
            "{} machines, of them {} witnesses; max lease {} ns, errands take {} ns, fail back: {}",
            self.machines.len(),
            self.machines.iter().filter(|machine| machine.witness).count(),
            self.max_lease,
            self.errand_takes,
            self.auto_failback
        )?;
        let ranked = |group: &GroupPlan| group.ranked.iter().map(|node| node.0).collect();
        let ranked: Vec<Vec<u16>> = self.groups.iter().map(ranked).collect();
        write!(f, "{ranked:?}")
    }
}

impl World {
    /// `count` machines, switched off, each two connected by `links` links. Each of `groups` lists the
    /// nodes that may serve it, the best first.
    pub(crate) fn new(count: u16, links: u8, timing: Timing, groups: &[&[u16]], seed: u64) -> Self {
        let plan = |(index, nodes): (usize, &&[u16])| GroupPlan {
            id: GroupId(0x51f0 + 0x0101 * index as u16),
            ranked: nodes.iter().map(|node| NodeId(*node)).collect(),
        };
        Self {
            now: START,
            timing,
            machines: (1..=count).map(Machine::off).collect(),
            net: Net::default(),
            rng: Rng(seed),
            log: Vec::new(),
            rounds: Vec::new(),
            wake_latency: 0,
            links,
            groups: groups.iter().enumerate().map(plan).collect(),
            auto_failback: true,
            max_lease: ns(timing.lease) * 2,
            errand_takes: 0,
            clocks_ppm: None,
            bugs: Bugs::default(),
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
    }

    /// Switches a machine on and starts its agent, if it has one.
    pub(crate) fn boot(&mut self, machine: usize) {
        self.switch_on(machine);
        if !self.machines[machine].witness {
            self.start_agent(machine);
        }
    }

    /// The agent dies, if it lives, and a new one starts on the kernel that it leaves.
    pub(crate) fn restart_agent(&mut self, machine: usize) {
        if let Some(kernel) = &mut self.machines[machine].kernel {
            kernel.reload();
            self.start_agent(machine);
        }
    }

    fn start_agent(&mut self, machine: usize) {
        let cluster = Cluster::new(Plan {
            local: NodeId(self.machines[machine].id),
            timing: self.timing,
            peers: self.peers_of(machine),
            links: self.links.into(),
            groups: self.groups.clone(),
            auto_failback: self.auto_failback,
            incarnation: self.machines[machine].next_incarnation(WALL + self.now),
        });
        self.machines[machine].start_agent(cluster, self.now);
        self.plan_wake(machine);
    }

    /// The operator wants a group on a node, and tells the agent of `machine`.
    pub(crate) fn move_to(&mut self, machine: usize, group: usize, to: NodeId) {
        let mut commands = Vec::new();
        if let Some(agent) = &mut self.machines[machine].agent {
            agent.cluster.move_to(group, to, &mut commands);
        }
        let errands = commands.iter().filter_map(Errand::of).collect();
        self.machines[machine].write_guard(self.bugs.guard_overhang);
        self.note(machine, commands);
        self.send_on(machine, errands);
    }

    /// The operator tells the agent of `machine` what to do.
    pub(crate) fn intend(&mut self, machine: usize, intent: Intent) {
        if let Some(agent) = &mut self.machines[machine].agent {
            agent.cluster.intend(intent);
        }
    }

    pub(crate) fn crash(&mut self, machine: usize) {
        self.machines[machine].switch_off();
    }

    /// The agent dies; its kernel answers on.
    pub(crate) fn kill_agent(&mut self, machine: usize) {
        self.machines[machine].agent = None;
    }

    /// The whole machine stands still for `duration`; frames wait in its network card.
    pub(crate) fn pause(&mut self, machine: usize, duration: u64) {
        let until = self.now + duration;
        self.machines[machine].stands_until = until;
        self.plan(until, Event::Resume { machine });
    }

    /// Only the agent stands still.
    pub(crate) fn starve(&mut self, machine: usize, duration: u64) {
        self.machines[machine].starved_until = self.now + duration;
    }

    /// Only the slow side of the agent does.
    pub(crate) fn hang(&mut self, machine: usize, duration: u64) {
        self.machines[machine].hangs_until = self.now + duration;
    }

    /// Cuts, both ways and on every link, each of `left` from each of `right`.
    pub(crate) fn cut(&mut self, left: &[usize], right: &[usize]) {
        for path in self.paths(left, right) {
            self.net.block(path);
            self.net.block(path.back());
        }
    }

    /// All ways from `left` to `right`.
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

    pub(crate) fn run_for(&mut self, duration: u64) {
        self.run_watched(duration, &mut |_| Ok(()))
            .expect("nobody watches");
    }

    /// Runs, and lets `watch` look after each event.
    pub(crate) fn run_watched(
        &mut self,
        duration: u64,
        watch: &mut dyn FnMut(&Self) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            let event = entry.remove();
            self.now = at;
            self.happen(event);
            watch(self)?;
        }
        self.now = end;
        Ok(())
    }

    /// What has been logged since the last call.
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

    /// Which machines serve a group.
    pub(crate) fn servers(&self, group: usize) -> Vec<usize> {
        let all = 0..self.machines.len();
        all.filter(|machine| self.serves(*machine, group)).collect()
    }

    pub(crate) fn stands_still(&self, machine: usize) -> bool {
        self.machines[machine].stands_until > self.now
    }

    fn plan(&mut self, at: u64, event: Event) {
        self.counter += 1;
        self.events.insert((at, self.counter), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { path, frame, sent } => self.arrive(path, frame, sent),
            Event::Wake { machine, plan } => {
                let agent = self.machines[machine].agent.as_ref();
                if agent.is_some_and(|agent| agent.plan == plan) {
                    self.wake(machine);
                }
            }
            Event::Timers { machine, life } => {
                if self.machines[machine].life == life {
                    self.machines[machine].timers_planned = false;
                    self.run_timers(machine);
                }
            }
            Event::Resume { machine } => {
                if !self.stands_still(machine) {
                    for (path, frame, sent) in self.machines[machine].take_waiting() {
                        self.arrive(path, frame, sent);
                    }
                    self.run_timers(machine);
                }
            }
            Event::Errand {
                machine,
                agent,
                errand,
            } => self.run_errand(machine, agent, errand),
        }
    }

    fn run_errand(&mut self, machine: usize, agent: u64, errand: Errand) {
        let Machine {
            stands_until,
            starved_until,
            hangs_until,
            ..
        } = self.machines[machine];
        let current = self.machines[machine].agent.as_ref();
        if current.is_none_or(|current| current.life != agent) {
            return;
        }
        let can_at = stands_until.max(starved_until).max(hangs_until);
        if can_at > self.now {
            let again = Event::Errand {
                machine,
                agent,
                errand,
            };
            self.plan(can_at, again);
            return;
        }
        self.machines[machine].did(errand, self.now);
        self.wake(machine);
    }

    fn arrive(&mut self, path: Path, frame: Vec<u8>, sent: Sent) {
        if let Some(reply) = self.machines[path.to].arrive(path, frame, sent, self.now) {
            let sent = Sent {
                reply: true,
                ..sent
            };
            self.send(path.back(), reply, sent);
        }
        self.plan_timers(path.to);
        let machine = &mut self.machines[path.to];
        let woken = machine.kernel.as_mut().is_some_and(Kernel::take_wake);
        if let Some(agent) = machine.agent.as_ref().filter(|_| woken) {
            let (machine, plan) = (path.to, agent.plan);
            let delay = self.rng.below(self.wake_latency + 1);
            self.plan(self.now + delay, Event::Wake { machine, plan });
        }
    }

    fn send(&mut self, path: Path, frame: Vec<u8>, sent: Sent) {
        for Delivery { takes, late } in self.net.carry(path, sent, &mut self.rng) {
            let frame = frame.clone();
            let sent = Sent { late, ..sent };
            self.plan(self.now + takes, Event::Arrive { path, frame, sent });
        }
    }

    fn plan_timers(&mut self, machine: usize) {
        let next = self.machines[machine]
            .kernel
            .as_ref()
            .and_then(Kernel::next_timer);
        if let Some(at) = next
            && !self.machines[machine].timers_planned
        {
            self.machines[machine].timers_planned = true;
            let life = self.machines[machine].life;
            let at = self.machines[machine].clock.when(at);
            self.plan(at.max(self.now), Event::Timers { machine, life });
        }
    }

    fn run_timers(&mut self, machine: usize) {
        if self.stands_still(machine) {
            return;
        }
        let now = self.machines[machine].clock.reads(self.now);
        let kernel = self.machines[machine].kernel.as_mut();
        if kernel.is_some_and(|kernel| kernel.fire_timers(now)) {
            self.wake(machine);
        }
        self.plan_timers(machine);
    }

    /// The agent wakes, unless it cannot: then it does as soon as it can.
    fn wake(&mut self, machine: usize) {
        let Machine {
            stands_until,
            starved_until,
            ..
        } = self.machines[machine];
        let can_at = stands_until.max(starved_until);
        if can_at > self.now {
            if let Some(agent) = &self.machines[machine].agent {
                let plan = agent.plan;
                self.plan(can_at, Event::Wake { machine, plan });
            }
            return;
        }
        self.machines[machine].count_votes(
            self.now,
            self.links.into(),
            self.bugs.counts_from_arrival,
        );
        if self.machines[machine].tick(self.now, ns(self.timing.interval)) {
            self.round(machine, false);
        }
        self.look(machine);
        let mut rounds = 0;
        while self.is_urgent(machine) {
            rounds += 1;
            assert!(rounds < ROUNDS_AT_ONCE, "an agent asks without end");
            self.round(machine, true);
            self.look(machine);
        }
        self.plan_wake(machine);
    }

    fn is_urgent(&mut self, machine: usize) -> bool {
        let agent = self.machines[machine].agent.as_mut();
        agent.is_some_and(|agent| agent.cluster.take_urgency())
    }

    /// Sends a round of probes.
    fn round(&mut self, machine: usize, urgent: bool) {
        let probes = self.machines[machine].round(self.now);
        let rows = (self.machines.len() - 1) * usize::from(self.links);
        self.rounds.push(Round {
            at: self.now,
            machine,
            agent: self.machines[machine]
                .agent
                .as_ref()
                .map_or(0, |agent| agent.life),
            urgent,
            frames: probes.len() / rows,
        });
        for (row, probe) in probes {
            let peer = row / usize::from(self.links);
            let to = if peer < machine { peer } else { peer + 1 };
            let link = LinkId((row % usize::from(self.links)) as u8);
            let path = Path {
                from: machine,
                to,
                link,
            };
            let sent = Sent {
                asked_at: self.now,
                ..Sent::default()
            };
            self.send(path, probe, sent);
        }
    }

    fn look(&mut self, machine: usize) {
        let overhang = self.bugs.guard_overhang;
        let (commands, errands) = self.machines[machine].look(self.now, overhang);
        self.note(machine, commands);
        self.send_on(machine, errands);
    }

    fn note(&mut self, machine: usize, commands: Vec<Command>) {
        let at = self.now;
        self.log.extend(commands.into_iter().map(|command| Entry {
            at,
            machine,
            command,
        }));
    }

    /// Hands the slow side its errands: those of one group are done one after the other.
    fn send_on(&mut self, machine: usize, errands: Vec<Errand>) {
        for errand in errands {
            let takes = self.rng.below(self.errand_takes + 1);
            let Some(agent) = &mut self.machines[machine].agent else {
                return;
            };
            let busy = &mut agent.busy_until[errand.group];
            *busy = self.now.max(*busy) + takes;
            let (at, agent) = (*busy, agent.life);
            let event = Event::Errand {
                machine,
                agent,
                errand,
            };
            self.plan(at, event);
        }
    }

    fn plan_wake(&mut self, machine: usize) {
        self.counter += 1;
        let plan = self.counter;
        let delay = self.rng.below(self.wake_latency + 1);
        let clock = self.machines[machine].clock;
        let Some(agent) = &mut self.machines[machine].agent else {
            return;
        };
        let deadline = agent
            .cluster
            .next_deadline()
            .map_or(u64::MAX, Boottime::as_nanos);
        agent.wake_at = agent.next_tick.min(deadline);
        agent.plan = plan;
        let at = clock.when(agent.wake_at).max(self.now) + delay;
        self.plan(at, Event::Wake { machine, plan });
    }
}
