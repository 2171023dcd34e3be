//! The events of a simulated cluster: one queue, and the consequences of each event.
//!
//! A simulated agent behaves like the pulse. It wakes at its tick, at a deadline of its core, when
//! a deadline timer of its kernel fires, and when votes come that cannot wait. At a tick it sends,
//! and at each wake-up it runs a step of the core. Its control task adds and removes addresses.

use heartbeat_common::{
    time::Boottime,
    wire::{LeaseEntry, LinkId},
};
use heartbeat_core::{Command, index::GroupIndex, record::Input};

use super::{
    kernel::Kernel,
    machine::{Errand, Machine},
    net::{Delivery, Path, Sent},
    ns,
    truth::Violation,
    world::{Entry, Round, World},
};

/// The greatest number of rounds in one wake-up of an agent.
const ROUNDS_AT_ONCE: usize = 8;

#[derive(Debug)]
pub(crate) enum Event {
    Arrive {
        path: Path,
        frame: Vec<u8>,
        sent: Sent,
    },
    /// The agent's own timer, of the plan with this number.
    Wake { machine: usize, plan: u64 },
    /// The kernel's deadline timers, of this life.
    Timers { machine: usize, life: u64 },
    /// The end of a machine's pause.
    Resume { machine: usize },
    /// The agent with this number sends its own acceptor the requests that it sent all others
    /// before.
    AskOwn {
        machine: usize,
        agent: u64,
        asks: Vec<LeaseEntry>,
    },
    /// The agent with this number ends for a restart, and another follows it.
    Follow { machine: usize, agent: u64 },
    /// The control task of the agent with this number ends the next errand of this group.
    Errand {
        machine: usize,
        agent: u64,
        group: usize,
    },
    /// The limit on a stop of the agent with this number has passed, if the stop has not ended.
    LetGo {
        machine: usize,
        agent: u64,
        group: usize,
    },
}

impl World {
    pub(crate) fn run_for(&mut self, duration: u64) {
        self.run_watched(duration, &mut |_| Ok(()))
            .expect("nobody watches");
    }

    /// Runs, and calls `watch` after each event.
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

    pub(crate) fn plan(&mut self, at: u64, event: Event) {
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
                group,
            } => self.run_errand(machine, agent, group),
            Event::Follow { machine, agent } => {
                let current = self.machines[machine].agent.as_ref();
                if current.is_some_and(|current| current.life == agent) {
                    self.restart_agent(machine);
                }
            }
            Event::AskOwn {
                machine,
                agent,
                asks,
            } => {
                let current = self.machines[machine].agent.as_ref();
                if current.is_some_and(|current| current.life == agent) {
                    self.machines[machine].ask_own(&asks, self.now);
                    self.wake(machine);
                }
            }
            Event::LetGo {
                machine,
                agent,
                group,
            } => self.let_go(machine, agent, group),
        }
    }

    fn let_go(&mut self, machine: usize, agent: u64, group: usize) {
        let now = Boottime::from_nanos(self.machines[machine].clock.reads(self.now));
        let current = self.machines[machine].agent.as_mut();
        if let Some(current) = current.filter(|current| current.life == agent) {
            current.apply(Input::Stopped {
                group: GroupIndex(group),
                now,
            });
            self.wake(machine);
        }
    }

    fn run_errand(&mut self, machine: usize, agent: u64, group: usize) {
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
                group,
            };
            self.plan(can_at, again);
            return;
        }
        self.machines[machine].run_errand(group, self.now);
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
        let kernel = self.machines[path.to].kernel.as_mut();
        if kernel.is_some_and(Kernel::take_wake) {
            self.rouse(path.to);
        }
    }

    /// Makes the kernel wake the agent, which gets the CPU in a while.
    fn rouse(&mut self, machine: usize) {
        if let Some(agent) = &self.machines[machine].agent {
            let plan = agent.plan;
            let delay = self.wakes_after();
            self.plan(self.now + delay, Event::Wake { machine, plan });
        }
    }

    /// The time for which an agent that is due waits for the CPU.
    fn wakes_after(&mut self) -> u64 {
        self.lateness + self.rng.below(self.wake_latency + 1)
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
            match self.lateness {
                0 => self.wake(machine),
                _ => self.rouse(machine),
            }
        }
        self.plan_timers(machine);
    }

    /// Wakes the agent, now or as soon as it can run.
    pub(crate) fn wake(&mut self, machine: usize) {
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
        self.poll(machine);
        let mut rounds = 0;
        while self.is_urgent(machine) {
            rounds += 1;
            assert!(rounds < ROUNDS_AT_ONCE, "an agent asks without end");
            self.round(machine, true);
            self.poll(machine);
        }
        self.plan_wake(machine);
    }

    fn is_urgent(&mut self, machine: usize) -> bool {
        let agent = self.machines[machine].agent.as_mut();
        agent.is_some_and(|agent| agent.cluster.take_urgency())
    }

    /// Sends a round of probes.
    fn round(&mut self, machine: usize, urgent: bool) {
        let asks = self.machines[machine].asks();
        let own_vote_takes = self.machines[machine].own_vote_takes;
        if own_vote_takes == 0 {
            self.machines[machine].ask_own(&asks, self.now);
        }
        let probes = self.machines[machine].probes(&asks, self.now);
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
        if own_vote_takes > 0
            && let Some(agent) = &self.machines[machine].agent
        {
            let agent = agent.life;
            let event = Event::AskOwn {
                machine,
                agent,
                asks,
            };
            self.plan(self.now + own_vote_takes, event);
        }
    }

    fn poll(&mut self, machine: usize) {
        let overhang = self.guard_overhang();
        let (commands, errands) = self.machines[machine].poll(self.now, overhang);
        if self.lists.len() > 1 {
            self.say_voter_set(machine);
        }
        self.note(machine, commands);
        self.send_on(machine, errands);
    }

    pub(crate) fn note(&mut self, machine: usize, commands: Vec<Command>) {
        let at = self.now;
        self.log.extend(commands.into_iter().map(|command| Entry {
            at,
            machine,
            command,
        }));
    }

    /// Hands the control task its errands. Errands of one group are executed one after the other.
    pub(crate) fn send_on(&mut self, machine: usize, errands: Vec<Errand>) {
        for errand in errands {
            let takes = self.errand_time(errand);
            let Some(agent) = &mut self.machines[machine].agent else {
                return;
            };
            let (errands, busy_until) = &mut agent.errands[errand.group];
            errands.push_back(errand);
            *busy_until = self.now.max(*busy_until) + takes;
            let (at, agent) = (*busy_until, agent.life);
            let event = Event::Errand {
                machine,
                agent,
                group: errand.group,
            };
            self.plan(at, event);
            let patience = self.bugs.stop_patience.filter(|patience| *patience < takes);
            if let Some(patience) = patience.filter(|_| !errand.add) {
                let event = Event::LetGo {
                    machine,
                    agent,
                    group: errand.group,
                };
                self.plan(self.now + patience, event);
            }
        }
    }

    fn errand_time(&mut self, errand: Errand) -> u64 {
        match self.slow_stops {
            Some((every, longest)) if !errand.add && self.rng.below(every) == 0 => {
                self.rng.below(longest)
            }
            _ => self.rng.below(self.errand_takes + 1),
        }
    }

    pub(crate) fn plan_wake(&mut self, machine: usize) {
        self.counter += 1;
        let plan = self.counter;
        let delay = self.wakes_after();
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
