//! One machine of a simulated cluster: a kernel, perhaps an agent, and a network card. The caller
//! drives it on its own clock. The machine must not plan.

use std::{collections::VecDeque, time::Duration};

use heartbeat_common::{
    index::{RowNumber, RowPlace},
    maps::VoteEvent,
    time::Boottime,
    wire::{GroupId, Health, Incarnation, LeaseEntry, LinkSet, MAX_LEASES, NodeState, Owned},
};
use heartbeat_core::{
    Cluster, Command, StepInput,
    cluster::{MAX_STEPS, Plan},
    group::{GroupEvent, Serving},
    index::{AddressIndex, GroupIndex, PeerIndex},
    membership::Voters,
    record::Input,
};

use super::{
    clock::Clock,
    kernel::Kernel,
    net::{Path, Sent},
    record::Record,
};

/// The number of frames that the network card keeps while the machine is paused.
const CARD: usize = 256;

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) cluster: Cluster,
    /// The inputs and decisions of the machine, if the world records them.
    pub(crate) record: Option<Record>,
    /// The number of the machine's agent.
    pub(crate) life: u64,
    /// In the simulation's time.
    pub(crate) started_at: u64,
    /// By group: the errands of the control task, one after the other, and the end of the last, in
    /// the simulation's time.
    pub(crate) errands: Vec<(VecDeque<Errand>, u64)>,
    pub(crate) next_tick: u64,
    /// The time of its next wake-up, and the number of that plan.
    pub(crate) wake_at: u64,
    pub(crate) plan: u64,
}

impl Agent {
    /// Passes an input to the core.
    pub(crate) fn apply(&mut self, input: Input) {
        if let Some(record) = &mut self.record {
            record.input(&input);
        }
        self.cluster.apply(input);
    }

    fn count(&mut self, acceptor: Option<PeerIndex>, votes: &VoteEvent, now: Boottime) {
        if let Some(record) = &mut self.record {
            record.votes(acceptor, votes, now);
        }
        self.cluster.count(acceptor, votes, now);
    }

    fn step(&mut self, input: &StepInput<'_>, commands: &mut Vec<Command>) {
        let before = commands.len();
        self.cluster.step(input, commands);
        if let Some(record) = &mut self.record {
            record.step(input, &commands[before..]);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Machine {
    /// The node's number, from 1.
    pub(crate) id: u16,
    pub(crate) clock: Clock,
    /// The machine only votes, and never has an agent.
    pub(crate) witness: bool,
    pub(crate) agent: Option<Agent>,
    /// `None` while the machine is switched off.
    pub(crate) kernel: Option<Kernel>,
    /// The number of times that it was switched on.
    pub(crate) life: u64,
    /// The end of a pause of the whole machine.
    pub(crate) stands_until: u64,
    /// The end of the time in which the agent gets no CPU.
    pub(crate) starved_until: u64,
    /// The end of the time in which the control task of the agent hangs.
    pub(crate) hangs_until: u64,
    /// The links without carrier.
    pub(crate) broken: LinkSet,
    /// The machine's probes do not pass TC egress.
    pub(crate) mute: bool,
    /// The delay of the request to its own acceptor after those to all others, in nanoseconds.
    pub(crate) own_vote_takes: u64,
    /// The health and the load that its agent measures.
    pub(crate) vitals: (Health, u16),
    /// The indices of the node lists of its acceptor and of its claims, on disk.
    pub(crate) list: usize,
    pub(crate) claiming: Option<usize>,
    /// Frames that wait for a paused machine.
    card: Vec<(Path, Vec<u8>, Sent)>,
    pub(crate) timers_planned: bool,
    agents: u64,
    /// The last incarnation, which an agent keeps on disk.
    incarnation: u64,
}

/// An action of the agent's control task on a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    pub(crate) group: usize,
    /// Whether to add the address, or to remove it.
    pub(crate) add: bool,
}

impl Errand {
    /// The errand that follows from a command.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        let Command::Group { group, event } = *command else {
            return None;
        };
        let add = match event {
            GroupEvent::LeaseAcquired {
                regained: false, ..
            } => true,
            GroupEvent::LeaseGivenUp(_) => false,
            GroupEvent::LeaseAcquired { regained: true, .. }
            | GroupEvent::ClaimGivenUp(_)
            | GroupEvent::BallotsExhausted
            | GroupEvent::State(_) => return None,
        };
        Some(Self {
            group: group.0,
            add,
        })
    }
}

impl Machine {
    pub(crate) fn off(id: u16) -> Self {
        Self {
            id,
            clock: Clock::exact(),
            witness: false,
            agent: None,
            kernel: None,
            life: 0,
            stands_until: 0,
            starved_until: 0,
            hangs_until: 0,
            broken: LinkSet::default(),
            mute: false,
            own_vote_takes: 0,
            vitals: (Health::default(), 0),
            list: 0,
            claiming: Some(0),
            card: Vec::new(),
            timers_planned: false,
            agents: 0,
            incarnation: 0,
        }
    }

    /// Begins a new life, without an agent.
    pub(crate) fn switch_on(&mut self, kernel: Kernel, clock: Clock) {
        self.switch_off();
        self.life += 1;
        self.clock = clock;
        (self.kernel, self.timers_planned) = (Some(kernel), false);
        self.hangs_until = 0;
    }

    pub(crate) fn switch_off(&mut self) {
        (self.agent, self.kernel) = (None, None);
        self.card.clear();
    }

    /// The incarnation of an agent that starts at the wall-clock time `wall`.
    pub(crate) fn next_incarnation(&mut self, wall: u64) -> Incarnation {
        self.incarnation = wall.max(self.incarnation + 1);
        Incarnation(self.incarnation)
    }

    pub(crate) fn start_agent(&mut self, plan: Plan, records: bool, at: u64) {
        let now = self.clock.reads(at);
        self.agents += 1;
        let record = records.then(|| Record::begin(&plan));
        let cluster = Cluster::new(plan);
        let mut agent = Agent {
            errands: vec![(VecDeque::new(), 0); cluster.groups().len()],
            cluster,
            record,
            life: self.agents,
            started_at: at,
            next_tick: now,
            wake_at: now,
            plan: 0,
        };
        if let Some(kernel) = &mut self.kernel {
            kernel.introduce(Incarnation(self.incarnation), NodeState::Starting);
            for group in 0..kernel.guard.len() {
                // A group of an earlier agent goes on as long as the guard is open.
                let until = kernel.guard[group];
                if until > now && kernel.addresses.contains(&group) {
                    let until = Boottime::from_nanos(until);
                    agent.apply(Input::Inherit {
                        group: GroupIndex(group),
                        until,
                    });
                } else {
                    kernel.guard[group] = 0;
                    kernel.addresses.remove(&group);
                }
            }
        }
        self.agent = Some(agent);
        self.say_vitals();
    }

    /// Makes the agent, if there is one, write the node's voter set for the kernel.
    pub(crate) fn say_voter_set(&mut self, list: &Voters) {
        let claiming = self.agent.as_ref().and_then(|agent| {
            let membership = agent.cluster.membership();
            if membership.is_settled() {
                self.claiming = Some(self.list);
            }
            membership.claiming()
        });
        if let Some(kernel) = &mut self.kernel {
            let local = kernel.local();
            local.claiming_version = claiming.map_or(0, |claiming| claiming.version);
            (local.config_version, local.voters) = (list.version, list.digest());
        }
    }

    /// Makes the agent pass health and load to its core and its kernel.
    pub(crate) fn say_vitals(&mut self) {
        let (health, load) = self.vitals;
        if let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) {
            agent.apply(Input::Broken(self.broken));
            agent.apply(Input::Health(health));
            agent.apply(Input::Load(load));
            let local = kernel.local();
            (local.health, local.load) = (health.0, load);
        }
    }

    /// Handles an arriving frame. Returns the reply, if there is one.
    pub(crate) fn arrive(
        &mut self,
        path: Path,
        frame: Vec<u8>,
        sent: Sent,
        at: u64,
    ) -> Option<Vec<u8>> {
        let now = self.clock.reads(at);
        let kernel = self.kernel.as_mut()?;
        if self.stands_until <= at {
            return kernel.arrive(path.link, frame, now);
        }
        if self.card.len() < CARD {
            self.card.push((path, frame, sent));
        }
        None
    }

    /// Empties the network card.
    pub(crate) fn take_waiting(&mut self) -> Vec<(Path, Vec<u8>, Sent)> {
        std::mem::take(&mut self.card)
    }

    /// Handles the agent's tick, if it is due. Returns whether a round of probes is due.
    pub(crate) fn tick(&mut self, at: u64, interval: u64) -> bool {
        let now = self.clock.reads(at);
        let hangs = self.hangs_until > at;
        let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) else {
            return false;
        };
        if now < agent.next_tick {
            return false;
        }
        let missed = (now - agent.next_tick) / interval;
        agent.next_tick += (missed + 1) * interval;
        let local = kernel.local();
        local.pulse_tick_at = now;
        if !hangs {
            local.reason_tick_at = now;
        }
        true
    }

    /// The requests to every acceptor.
    pub(crate) fn asks(&self) -> Vec<LeaseEntry> {
        let agent = self.agent.as_ref();
        agent.map_or_else(Vec::new, |agent| agent.cluster.requests().collect())
    }

    /// Sends the requests to its own acceptor.
    pub(crate) fn ask_own(&mut self, asks: &[LeaseEntry], at: u64) {
        let now = self.clock.reads(at);
        let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) else {
            return;
        };
        for entries in asks.chunks(MAX_LEASES) {
            let votes = kernel.ask_own(entries, now);
            agent.count(None, &votes, Boottime::from_nanos(now));
        }
    }

    /// Sends the requests to all other acceptors. Returns the leaving probes, each with its row.
    pub(crate) fn probes(&mut self, asks: &[LeaseEntry], at: u64) -> Vec<(usize, Vec<u8>)> {
        let now = self.clock.reads(at);
        let (Some(_), Some(kernel)) = (&self.agent, &mut self.kernel) else {
            return Vec::new();
        };
        let rows = if self.mute { 0 } else { kernel.rows().len() };
        let mut frames = Vec::new();
        for row in 0..rows {
            if asks.is_empty() {
                frames.push((row, kernel.send(row, &[], now)));
            }
            for entries in asks.chunks(MAX_LEASES) {
                frames.push((row, kernel.send(row, entries, now)));
            }
        }
        frames
    }

    /// Makes the agent count the votes that its kernel collected.
    pub(crate) fn count_votes(&mut self, at: u64, links: usize, counts_from_arrival: bool) {
        let now = self.clock.reads(at);
        let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) else {
            return;
        };
        for (mut votes, _) in kernel.take_votes() {
            let Some(RowPlace(place)) = votes.acceptor() else {
                for entry in &votes.entries[..votes.count as usize] {
                    agent.apply(Input::Freed(GroupId(entry.group)));
                }
                continue;
            };
            if counts_from_arrival {
                votes.t1 = now;
            }
            // This kernel stores each row at the index of its number.
            let peer = RowNumber(place as usize).peer(links);
            agent.count(Some(peer), &votes, Boottime::from_nanos(now));
        }
    }

    /// Runs a step of the core and executes its commands. Returns the errands of the control task.
    pub(crate) fn poll(&mut self, at: u64, overhang: u64) -> (Vec<Command>, Vec<Errand>) {
        let mut commands = Vec::new();
        let now = self.clock.reads(at);
        let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) else {
            return (commands, Vec::new());
        };
        let now = Boottime::from_nanos(now);
        let mut late = now.since(Boottime::from_nanos(agent.wake_at));
        for _ in 0..MAX_STEPS {
            let slots = kernel.read_slots(&agent.cluster, now);
            let input = StepInput {
                now,
                late,
                control_tick_at: kernel.reason_tick(),
                rows: kernel.rows(),
                slots: &slots,
                votes_from: kernel.votes_from(),
            };
            agent.step(&input, &mut commands);
            if !agent.cluster.lacks_slots() {
                break;
            }
            late = Duration::ZERO;
        }
        for command in &commands {
            if let Command::Announce(state) = command {
                kernel.local().state = *state as u8;
            }
        }
        kernel.local().groups_owned = Owned::new(0, agent.cluster.cut_off()).0;
        let errands = commands.iter().filter_map(Errand::of).collect();
        self.write_guard(overhang);
        (commands, errands)
    }

    /// Writes the time until which each group may be served, for the kernel.
    pub(crate) fn write_guard(&mut self, overhang: u64) {
        if let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) {
            for (group, guard) in agent.cluster.groups().iter().zip(&mut kernel.guard) {
                // The row stands for all of the group's addresses.
                let addresses = 0..group.plan.addresses.len().max(1);
                let until = addresses
                    .map(|address| group.address_open_until(AddressIndex(address)))
                    .min();
                *guard = match until.unwrap_or_default().as_nanos() {
                    0 => 0,
                    until => until + overhang,
                };
            }
        }
    }

    /// Executes the next errand of `group` in the control task.
    pub(crate) fn run_errand(&mut self, group: usize, at: u64) {
        let now = self.clock.reads(at);
        let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) else {
            return;
        };
        let Some(errand) = agent.errands[group].0.pop_front() else {
            return;
        };
        if errand.add {
            assert!(kernel.addresses.insert(errand.group), "{errand:?} twice");
            return;
        }
        assert!(kernel.addresses.remove(&errand.group), "{errand:?} twice");
        let serving = agent.cluster.groups()[GroupIndex(errand.group)].serving();
        assert_eq!(serving, Serving::Stopping, "{errand:?}");
        agent.apply(Input::Stopped {
            group: GroupIndex(errand.group),
            now: Boottime::from_nanos(now),
        });
    }

    /// The time at which the guard of a group closes, in the simulation's time; 0 if it is closed
    /// for good.
    pub(crate) fn guard_closes(&self, group: usize) -> u64 {
        match self.kernel.as_ref().map(|kernel| kernel.guard[group]) {
            None | Some(0) => 0,
            Some(until) => self.clock.when(until),
        }
    }
}
