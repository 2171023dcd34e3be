//! A node on which a group runs: the real states of its resources, agents that report them more or
//! less correctly, and an operator. Everything is checked against the [`Shadow`] and against the
//! truth.

use std::{num::NonZeroU32, time::Duration};

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    index::ResourceIndex,
    resource::{
        Action::{self, Monitor, Probe, Start, Stop},
        Effect, ExitCode, GroupRun, GroupState, Outcome, ResourcePlan,
    },
};

use crate::shadow::{Observed, Shadow, Violation};

/// The pause before a probe that could not be executed is repeated.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The end of an action. The first is the expected one, and by far the most likely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Luck {
    pub(crate) bad: Option<Outcome>,
    /// Whether the action took effect although its agent failed.
    pub(crate) happened: bool,
}

pub(crate) const GOOD: Luck = Luck {
    bad: None,
    happened: true,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Input {
    Start,
    Stop,
    Cleanup(Option<usize>),
    Maintain(bool),
    Enable(usize, bool),
    Restart(usize),
    Replan(usize, ResourcePlan),
    /// The end of one of the actions in flight.
    Finish(usize, Luck),
    /// The report of an action's end, whether it is in flight or not. If it is, its real end is
    /// lost.
    Echo(usize, Action, Outcome),
    /// The end of a resource by itself, and the number of reports of it.
    Die(usize, usize),
    /// The report of the end of an earlier process.
    LateNews(usize),
    /// A start or a stop by hand, in maintenance only.
    ByHand(usize, bool),
    /// A time after which all due events come.
    Pass(Duration),
    /// The end of the agent, and the start of another one.
    Crash {
        inherited: bool,
    },
}

/// Bugs in the surroundings of the group. Tests put them back to show that a check finds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bug {
    #[default]
    None,
    /// An agent whose stop failed reports success.
    StopsTellLies,
    /// A probe finds no running resource, whatever runs.
    ProbesSeeNothing,
    /// The group does not receive the stop.
    StopIsLost,
    /// The group does not receive the maintenance.
    MaintenanceIsLost,
}

pub(crate) struct Node {
    pub(crate) run: GroupRun,
    plans: Vec<ResourcePlan>,
    now: Boottime,
    /// The resources that really run.
    pub(crate) up: Vec<bool>,
    pub(crate) shadow: Shadow,
    bug: Bug,
    /// The number of effects so far.
    pub(crate) effects: usize,
}

impl Node {
    /// A node on which these resources run already when the first agent begins.
    pub(crate) fn new(
        plans: Vec<ResourcePlan>,
        up: &[bool],
        inherited: bool,
        bug: Bug,
    ) -> Result<Self, Violation> {
        let enabled = vec![true; plans.len()];
        let mut node = Self {
            run: GroupRun::new(plans.clone().into()),
            up: up[..plans.len()].to_vec(),
            now: Boottime::default().after(Duration::from_secs(100)),
            shadow: Shadow::new(inherited, false, &plans, &enabled),
            plans,
            bug,
            effects: 0,
        };
        node.tell(|run, now, out| run.begin(inherited, now, out))?;
        Ok(node)
    }

    fn tell(
        &mut self,
        call: impl FnOnce(&mut GroupRun, Boottime, &mut Vec<Effect>),
    ) -> Result<(), Violation> {
        self.shadow.forget_outdated(self.now);
        let mut out = Vec::new();
        call(&mut self.run, self.now, &mut out);
        self.effects += out.len();
        out.into_iter().try_for_each(|effect| self.see(effect))?;
        self.shadow.agree(&self.run)
    }

    fn see(&mut self, effect: Effect) -> Result<(), Violation> {
        self.shadow.see(effect)?;
        let running = |from: usize| self.up[from..].iter().any(|up| *up);
        match effect {
            Effect::Act {
                resource,
                action: Start,
                ..
            } if running(resource.0) => Err(format!("{resource} is started, and really runs")),
            Effect::Act {
                resource,
                action: Stop,
                ..
            } if running(resource.0 + 1) => Err(format!("{resource} is stopped before another")),
            Effect::State(GroupState::Stopped) if running(0) => {
                Err("stopped, and something really runs".into())
            }
            Effect::State(GroupState::Ready) if running(0) && !self.shadow.wanted => {
                Err("ready, and something really runs".into())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn input(&mut self, input: Input) -> Result<(), Violation> {
        let count = self.up.len();
        match input {
            Input::Start => {
                self.shadow.start();
                self.tell(GroupRun::start)
            }
            Input::Stop => {
                self.shadow.stop();
                match self.bug {
                    Bug::StopIsLost => Ok(()),
                    _ => self.tell(GroupRun::stop),
                }
            }
            Input::Cleanup(of) => {
                let of = of.map(|of| of % count);
                self.shadow.cleanup(of);
                self.tell(|run, now, out| run.cleanup(of.map(ResourceIndex), now, out))
            }
            Input::Maintain(on) => {
                self.shadow.maintain(on);
                match self.bug {
                    Bug::MaintenanceIsLost => Ok(()),
                    _ => self.tell(|run, now, out| run.maintain(on, now, out)),
                }
            }
            Input::Enable(of, enabled) => {
                self.shadow.resources[of % count].enabled = enabled;
                self.tell(|run, now, out| run.enable(ResourceIndex(of % count), enabled, now, out))
            }
            Input::Restart(of) => {
                self.shadow.restart(of % count);
                self.tell(|run, now, out| run.restart(ResourceIndex(of % count), now, out))
            }
            Input::Replan(of, plan) => {
                self.plans[of % count] = plan;
                self.shadow.replan(of % count, plan);
                self.tell(|run, now, out| run.replan(ResourceIndex(of % count), plan, now, out))
            }
            Input::Finish(which, luck) => match self.in_flight()[..] {
                [] => Ok(()),
                ref some => {
                    let (resource, action) = some[which % some.len()];
                    self.finish(resource, action, luck)
                }
            },
            Input::Echo(of, action, outcome) => {
                let of = of % count;
                if self.shadow.resources[of].in_flight == Some(action) {
                    return Ok(());
                }
                self.tell(|run, now, out| {
                    run.finished(ResourceIndex(of), action, outcome, now, out);
                })
            }
            Input::Die(of, noticed) => {
                let of = of % count;
                match std::mem::replace(&mut self.up[of], false) {
                    true => (0..noticed).try_for_each(|_| self.died(of)),
                    false => Ok(()),
                }
            }
            Input::LateNews(of) => self.died(of % count),
            Input::ByHand(of, up) => {
                if self.shadow.maintenance {
                    self.up[of % count] = up;
                }
                Ok(())
            }
            Input::Pass(duration) => self.pass(duration),
            Input::Crash { inherited } => self.crash(inherited),
        }
    }

    pub(crate) fn in_flight(&self) -> Vec<(usize, Action)> {
        let models = self.shadow.resources.iter().enumerate();
        models
            .filter_map(|(resource, model)| Some((resource, model.in_flight?)))
            .collect()
    }

    fn died(&mut self, resource: usize) -> Result<(), Violation> {
        self.shadow.died(resource);
        self.tell(|run, now, out| run.died(ResourceIndex(resource), now, out))
    }

    fn finish(&mut self, resource: usize, action: Action, luck: Luck) -> Result<(), Violation> {
        let changes = matches!(action, Start | Stop);
        let luck = match luck.bad {
            // A killed action has no other end.
            _ if self.shadow.resources[resource].lingers => Luck {
                bad: Some(Outcome::TimedOut),
                ..luck
            },
            Some(Outcome::Lingers) if changes => {
                let outcome = Outcome::Lingers;
                self.shadow.finished(resource, action, outcome, self.now);
                return self.tell(|run, now, out| {
                    run.finished(ResourceIndex(resource), action, outcome, now, out);
                });
            }
            Some(Outcome::Lingers) => Luck {
                bad: Some(Outcome::TimedOut),
                ..luck
            },
            _ => luck,
        };
        let missing = luck.bad == Some(Outcome::Exited(ExitCode::NOT_INSTALLED));
        let up = &mut self.up[resource];
        // A resource that is not installed was not started.
        let happened = luck.happened && !(missing && action == Start);
        if happened || luck.bad.is_none() {
            match action {
                Start => *up = true,
                Stop => *up = false,
                Probe | Monitor => {}
            }
        }
        let truth = match (action, *up) {
            (Probe | Monitor, false) => Outcome::NOT_RUNNING,
            _ => Outcome::OK,
        };
        let outcome = match (luck.bad, action, self.bug) {
            (_, Stop, Bug::StopsTellLies) => Outcome::OK,
            (_, Probe, Bug::ProbesSeeNothing) => Outcome::NOT_RUNNING,
            // The group treats a resource that was never known to run as stopped if it is not
            // installed. The agent may answer so only then.
            (Some(Outcome::Exited(ExitCode::NOT_INSTALLED)), Probe, _)
                if *up && !self.shadow.is_known_to_run(resource) =>
            {
                truth
            }
            (bad, ..) => bad.unwrap_or(truth),
        };
        self.shadow.finished(resource, action, outcome, self.now);
        self.tell(|run, now, out| run.finished(ResourceIndex(resource), action, outcome, now, out))
    }

    fn pass(&mut self, duration: Duration) -> Result<(), Violation> {
        let end = self.now.after(duration);
        while let Some(deadline) = self.run.next_deadline().filter(|due| *due <= end) {
            if self.shadow.maintenance {
                return Err("something is due in maintenance".into());
            }
            self.now = self.now.max(deadline);
            self.tell(GroupRun::wake)?;
            if self.run.next_deadline() == Some(deadline) {
                return Err(format!("woken in vain at {deadline}"));
            }
        }
        self.now = end;
        Ok(())
    }

    /// The actions in flight end somehow, without a report.
    fn crash(&mut self, inherited: bool) -> Result<(), Violation> {
        for (resource, action) in self.in_flight() {
            match action {
                Start => self.up[resource] = true,
                Stop if resource % 2 == 0 => self.up[resource] = false,
                _ => {}
            }
        }
        let enabled: Vec<bool> = self
            .shadow
            .resources
            .iter()
            .map(|model| model.enabled)
            .collect();
        let maintenance = self.shadow.maintenance;
        self.shadow = Shadow::new(inherited, maintenance, &self.plans, &enabled);
        self.run = GroupRun::new(self.plans.clone().into());
        for (resource, enabled) in enabled.into_iter().enumerate() {
            self.tell(|run, now, out| run.enable(ResourceIndex(resource), enabled, now, out))?;
        }
        self.tell(|run, now, out| run.maintain(maintenance, now, out))?;
        self.tell(|run, now, out| run.begin(inherited, now, out))
    }

    /// Makes all agents answer correctly, and nothing else happen: the group must come to rest.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        // Each resource may be probed twice, stopped and started twice, and monitored once on the
        // way.
        let most = self.effects + 12 * self.up.len() + 12;
        loop {
            match self.in_flight().first().copied() {
                Some((resource, action)) => self.finish(resource, action, GOOD)?,
                // A probe that could not be executed is repeated.
                None if self.shadow.resources.iter().any(|model| model.unseen) => {
                    self.pass(LOOK_AGAIN)?;
                }
                None => break,
            }
            if self.effects > most {
                return Err("it never comes to rest".into());
            }
        }
        let shadow = &self.shadow;
        let known = |model: &crate::shadow::ResourceModel| model.observed != Observed::Nothing;
        let stuck = shadow.resources.iter().any(|model| model.stuck);
        let stopped = shadow
            .resources
            .iter()
            .all(|model| model.observed == Observed::Down);
        let rests = match (shadow.wanted, shadow.owed) {
            _ if stuck => shadow.resources.iter().all(known),
            (true, false) => shadow.readies == 1 && (shadow.started || shadow.left),
            (false, false) => shadow.readies == 1 && stopped,
            (_, true) => false,
        };
        match rests {
            true => Ok(()),
            false => Err(format!("it stands still half-way: {shadow:?}")),
        }
    }
}

/// Any plan.
pub(crate) fn plan(interval: u8, threshold: u8, timeout: u8) -> ResourcePlan {
    let seconds = |seconds: u8| (seconds > 0).then(|| Duration::from_secs(seconds.into()));
    ResourcePlan {
        start_timeout: Duration::from_secs(40),
        stop_timeout: Duration::from_secs(60),
        monitor_timeout: Duration::from_secs(20),
        monitor_interval: seconds(interval),
        migration_threshold: NonZeroU32::new(threshold.into()),
        failure_timeout: seconds(timeout),
    }
}
