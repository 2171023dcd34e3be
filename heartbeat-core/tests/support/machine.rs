//! One machine of a simulated cluster: a kernel, perhaps an agent, and a network card. It is told when
//! to do something; it must not plan.

use std::{collections::BTreeSet, time::Duration};

use heartbeat_common::{
    time::Boottime,
    wire::{Incarnation, NodeState},
};
use heartbeat_core::{Cluster, Command};

use super::{kernel::Kernel, net::Path};

/// Frames that the network card holds while the machine stands still.
const CARD: usize = 256;

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) cluster: Cluster,
    pub(crate) started_at: u64,
    pub(crate) next_tick: u64,
    /// Addresses that it was told to serve.
    pub(crate) serves: BTreeSet<usize>,
    /// When it means to wake, and the number of that plan.
    pub(crate) wake_at: u64,
    pub(crate) plan: u64,
}

#[derive(Debug)]
pub(crate) struct Machine {
    /// The node's number, from 1.
    pub(crate) id: u16,
    pub(crate) agent: Option<Agent>,
    /// `None` while the machine is switched off.
    pub(crate) kernel: Option<Kernel>,
    /// How often it was switched on.
    pub(crate) life: u64,
    /// The whole machine stands still until then.
    pub(crate) stands_until: u64,
    /// The agent gets no CPU until then.
    pub(crate) starved_until: u64,
    /// Its probes do not pass TC egress.
    pub(crate) mute: bool,
    /// Frames that wait for a machine that stands still.
    card: Vec<(Path, Vec<u8>)>,
    pub(crate) timers_planned: bool,
}

impl Machine {
    pub(crate) fn off(id: u16) -> Self {
        Self {
            id,
            agent: None,
            kernel: None,
            life: 0,
            stands_until: 0,
            starved_until: 0,
            mute: false,
            card: Vec::new(),
            timers_planned: false,
        }
    }

    /// A new life begins, without an agent.
    pub(crate) fn switch_on(&mut self, kernel: Kernel) {
        self.switch_off();
        self.life += 1;
        (self.kernel, self.timers_planned) = (Some(kernel), false);
    }

    pub(crate) fn switch_off(&mut self) {
        (self.agent, self.kernel) = (None, None);
        self.card.clear();
    }

    pub(crate) fn start_agent(&mut self, cluster: Cluster, now: u64) {
        if let Some(kernel) = &mut self.kernel {
            kernel.introduce(Incarnation(self.life), NodeState::Starting);
        }
        self.agent = Some(Agent {
            cluster,
            started_at: now,
            next_tick: now,
            serves: BTreeSet::new(),
            wake_at: now,
            plan: 0,
        });
    }

    /// A frame arrives: the reply to it, if there is one.
    pub(crate) fn arrive(&mut self, path: Path, frame: Vec<u8>, now: u64) -> Option<Vec<u8>> {
        let kernel = self.kernel.as_mut()?;
        if self.stands_until <= now {
            return kernel.arrive(path.link, frame, now);
        }
        if self.card.len() < CARD {
            self.card.push((path, frame));
        }
        None
    }

    /// Empties the network card.
    pub(crate) fn take_waiting(&mut self) -> Vec<(Path, Vec<u8>)> {
        std::mem::take(&mut self.card)
    }

    /// The agent's tick if it is time: the probes that leave, in the order of their rows.
    pub(crate) fn tick(&mut self, now: u64, interval: u64) -> Vec<Vec<u8>> {
        let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) else {
            return Vec::new();
        };
        if now < agent.next_tick {
            return Vec::new();
        }
        let missed = (now - agent.next_tick) / interval;
        agent.next_tick += (missed + 1) * interval;
        kernel.tick(now);
        let rows = if self.mute { 0 } else { kernel.rows().len() };
        (0..rows).map(|row| kernel.send(row, now)).collect()
    }

    /// Lets the core look at the kernel's rows, and does what it says.
    pub(crate) fn look(&mut self, now: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        if let (Some(agent), Some(kernel)) = (&mut self.agent, &mut self.kernel) {
            let late = Duration::from_nanos(now.saturating_sub(agent.wake_at));
            let at = Boottime::from_nanos(now);
            agent.cluster.step(at, late, kernel.rows(), &mut commands);
            for command in &commands {
                match command {
                    Command::Announce(state) => kernel.local().state = *state as u8,
                    Command::Acquire { vip } => {
                        assert!(agent.serves.insert(*vip), "{command:?} twice");
                    }
                    Command::Release { vip } => {
                        assert!(agent.serves.remove(vip), "{command:?} twice");
                    }
                    _ => {}
                }
            }
        }
        commands
    }
}
