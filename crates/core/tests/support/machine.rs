//! One machine of a simulated cluster: a kernel, perhaps an agent, and a network card. It is told when
//! to do something, on its own clock; it must not plan.

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

/// Frames that the network card holds while the machine stands still.
const CARD: usize = 256;

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) cluster: Cluster,
    /// What it was given and decided, if the world records that.
    pub(crate) record: Option<Record>,
    /// Which of the machine's agents it is.
    pub(crate) life: u64,
    /// In the simulation's time.
    pub(crate) started_at: u64,
    /// By group: what the control task is to do, one after the other, and when in the simulation's time it
    /// is done with the last.
    pub(crate) errands: Vec<(VecDeque<Errand>, u64)>,
    pub(crate) next_tick: u64,
    /// When it means to wake, and the number of that plan.
    pub(crate) wake_at: u64,
    pub(crate) plan: u64,
}

impl Agent {
    /// Tells the core something.
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
    /// It only votes, and never has an agent.
    pub(crate) witness: bool,
    pub(crate) agent: Option<Agent>,
    /// `None` while the machine is switched off.
    pub(crate) kernel: Option<Kernel>,
    /// How often it was switched on.
    pub(crate) life: u64,
    /// The whole machine stands still until then.
    pub(crate) stands_until: u64,
    /// The agent gets no CPU until then.
    pub(crate) starved_until: u64,
    /// The control task of the agent hangs until then.
    pub(crate) hangs_until: u64,
    /// Its links without carrier.
    pub(crate) broken: LinkSet,
    /// Its probes do not pass TC egress.
    pub(crate) mute: bool,
    /// Its agent asks its own acceptor this long after all others, in nanoseconds.
    pub(crate) own_vote_takes: u64,
    /// How its agent finds it: its health and its load.
    pub(crate) vitals: (Health, u16),
    /// Index of the list of nodes that its acceptor goes by, and of that by which its claims go: on disk.
    pub(crate) list: usize,
    pub(crate) counted: Option<usize>,
    /// Frames that wait for a machine that stands still.
    card: Vec<(Path, Vec<u8>, Sent)>,
    pub(crate) timers_planned: bool,
    agents: u64,
    /// The last that was used: an agent keeps it on disk.
    incarnation: u64,
}

/// What the agent's control task is to do about a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    pub(crate) group: usize,
    /// Whether to add the address, or to remove it.
    pub(crate) add: bool,
}

impl Errand {
    /// What a command makes the control task do.
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
            counted: Some(0),
            card: Vec::new(),
            timers_planned: false,
            agents: 0,
            incarnation: 0,
        }
    }

    /// A new life begins, without an agent.
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

    /// The incarnation that an agent takes which starts when the wall clock says `wall`.
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
                // What an earlier agent left behind: it goes on as long as the guard is open.
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

    /// The agent, if there is one, tells its kernel whose votes the node goes by.
    pub(crate) fn say_voter_set(&mut self, list: &Voters) {
        let counted = self.agent.as_ref().and_then(|agent| {
            let membership = agent.cluster.membership();
            if membership.is_settled() {
                self.counted = Some(self.list);
            }
            membership.counted()
        });
        if let Some(kernel) = &mut self.kernel {
            let local = kernel.local();
            local.counted_version = counted.map_or(0, |counted| counted.version);
            (local.config_version, local.voters) = (list.version, list.digest());
        }
    }

    /// The agent tells its core and its kernel how the node is.
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

    /// A frame arrives: the reply to it, if there is one.
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

    /// The agent's tick, if it is time: says whether a round of probes is due.
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

    /// What there is to ask of every acceptor.
    pub(crate) fn asks(&self) -> Vec<LeaseEntry> {
        let agent = self.agent.as_ref();
        agent.map_or_else(Vec::new, |agent| agent.cluster.requests().collect())
    }

    /// Asks its own acceptor.
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

    /// Asks all other acceptors: the probes that leave, each with its row.
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

    /// The agent counts the votes that its kernel collected for it.
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
            // This kernel keeps each row in the place of its number.
            let peer = RowNumber(place as usize).peer(links);
            agent.count(Some(peer), &votes, Boottime::from_nanos(now));
        }
    }

    /// Lets the core look at the kernel, and does what it says; the control task's errands come back.
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

    /// The agent tells its kernel until when each group may be served.
    pub(crate) fn write_guard(&mut self, overhang: u64) {
        if let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) {
            for (group, guard) in agent.cluster.groups().iter().zip(&mut kernel.guard) {
                // It stands for all of the group's addresses.
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

    /// The control task does the next errand of `group`.
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

    /// When the guard of a group closes, in the simulation's time; 0 if it is closed for good.
    pub(crate) fn guard_closes(&self, group: usize) -> u64 {
        match self.kernel.as_ref().map(|kernel| kernel.guard[group]) {
            None | Some(0) => 0,
            Some(until) => self.clock.when(until),
        }
    }
}
