//! A whole cluster in simulated time: machines with real kernels and cores, a network, and one queue
//! of events.
//!
//! An agent does here what the pulse thread does: it wakes at its tick, at a deadline of its core and
//! when a deadline timer of its kernel fires; at a tick it sends, and at each wake it lets the core
//! look. Nothing here judges what the cores decide.

use std::collections::BTreeMap;

use heartbeat_common::{
    time::Boottime,
    wire::{LinkId, NodeId},
};
use heartbeat_core::{Cluster, Command, Timing, cluster::Vip};

use super::{
    START,
    kernel::Kernel,
    machine::Machine,
    net::{Net, Path, Rng},
    ns,
};

#[derive(Debug)]
enum Event {
    Arrive {
        path: Path,
        frame: Vec<u8>,
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
    /// An agent that is due gets the CPU within this time, in nanoseconds.
    pub(crate) wake_latency: u64,
    pub(crate) links: u8,
    pub(crate) vips: Vec<Vip>,
    events: BTreeMap<(u64, u64), Event>,
    /// Counts events and plans, so that no two are the same.
    counter: u64,
}

impl World {
    /// `count` machines, switched off, each two connected by `links` links. Each of `vips` lists the
    /// nodes that may serve it, the best first.
    pub(crate) fn new(count: u16, links: u8, timing: Timing, vips: &[&[u16]], seed: u64) -> Self {
        let ranked = |nodes: &&[u16]| Vip {
            ranked: nodes.iter().map(|node| NodeId(*node)).collect(),
        };
        Self {
            now: START,
            timing,
            machines: (1..=count).map(Machine::off).collect(),
            net: Net::default(),
            rng: Rng(seed),
            log: Vec::new(),
            wake_latency: 0,
            links,
            vips: vips.iter().map(ranked).collect(),
            events: BTreeMap::new(),
            counter: 0,
        }
    }

    fn peers_of(&self, machine: usize) -> Vec<u16> {
        let me = self.machines[machine].id;
        let ids = self.machines.iter().map(|machine| machine.id);
        ids.filter(|id| *id != me).collect()
    }

    /// Switches a machine on with empty maps and no agent: a host that only answers.
    pub(crate) fn switch_on(&mut self, machine: usize) {
        let peers = self.peers_of(machine);
        let timeout = ns(self.timing.timeout);
        let kernel = Kernel::new(self.machines[machine].id, &peers, self.links, timeout);
        self.machines[machine].switch_on(kernel);
    }

    /// Switches a machine on and starts its agent.
    pub(crate) fn boot(&mut self, machine: usize) {
        self.switch_on(machine);
        let peers = self.peers_of(machine);
        let cluster = Cluster::new(
            NodeId(self.machines[machine].id),
            self.timing,
            peers.into_iter().map(NodeId),
            self.links.into(),
            self.vips.clone(),
        );
        self.machines[machine].start_agent(cluster, self.now);
        self.plan_wake(machine);
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
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            let event = entry.remove();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
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

    /// Which machines serve an address.
    pub(crate) fn servers(&self, vip: usize) -> Vec<usize> {
        let serves = |machine: &usize| {
            let agent = self.machines[*machine].agent.as_ref();
            agent.is_some_and(|agent| agent.serves.contains(&vip))
        };
        (0..self.machines.len()).filter(serves).collect()
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
            Event::Arrive { path, frame } => self.arrive(path, frame),
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
                    for (path, frame) in self.machines[machine].take_waiting() {
                        self.arrive(path, frame);
                    }
                    self.run_timers(machine);
                }
            }
        }
    }

    fn arrive(&mut self, path: Path, frame: Vec<u8>) {
        if let Some(reply) = self.machines[path.to].arrive(path, frame, self.now) {
            self.send(path.back(), reply, true);
        }
        self.plan_timers(path.to);
    }

    fn send(&mut self, path: Path, frame: Vec<u8>, is_reply: bool) {
        for takes in self.net.carry(path, is_reply, &mut self.rng) {
            let frame = frame.clone();
            self.plan(self.now + takes, Event::Arrive { path, frame });
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
            self.plan(at.max(self.now), Event::Timers { machine, life });
        }
    }

    fn run_timers(&mut self, machine: usize) {
        if self.stands_still(machine) {
            return;
        }
        let now = self.now;
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
        self.tick(machine);
        self.look(machine);
        self.plan_wake(machine);
    }

    /// Sends a round of probes if it is time.
    fn tick(&mut self, machine: usize) {
        let probes = self.machines[machine].tick(self.now, ns(self.timing.interval));
        for (row, probe) in probes.into_iter().enumerate() {
            let peer = row / usize::from(self.links);
            let to = if peer < machine { peer } else { peer + 1 };
            let link = LinkId((row % usize::from(self.links)) as u8);
            let path = Path {
                from: machine,
                to,
                link,
            };
            self.send(path, probe, false);
        }
    }

    fn look(&mut self, machine: usize) {
        let at = self.now;
        for command in self.machines[machine].look(at) {
            self.log.push(Entry {
                at,
                machine,
                command,
            });
        }
    }

    fn plan_wake(&mut self, machine: usize) {
        self.counter += 1;
        let plan = self.counter;
        let delay = self.rng.below(self.wake_latency + 1);
        let Some(agent) = &mut self.machines[machine].agent else {
            return;
        };
        let deadline = agent
            .cluster
            .next_deadline()
            .map_or(u64::MAX, Boottime::as_nanos);
        agent.wake_at = agent.next_tick.min(deadline);
        agent.plan = plan;
        let at = agent.wake_at.max(self.now) + delay;
        self.plan(at, Event::Wake { machine, plan });
    }
}
