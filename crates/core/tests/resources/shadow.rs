//! The properties of a group run, derived only from the group's commands, its agents' answers, and
//! its effects.

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    index::ResourceIndex,
    resource::{
        Action::{self, Monitor, Probe, Start, Stop},
        Effect, ExitCode, Failure, Finding, GroupRun, GroupState, Outcome, ResourcePlan,
    },
};

pub(crate) type Violation = String;

fn wrong(condition: bool, what: &str) -> Result<(), Violation> {
    match condition {
        true => Err(what.to_owned()),
        false => Ok(()),
    }
}

/// The last answer of the agents about a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    Nothing,
    Up,
    Down,
    /// An action on it failed, or is still going on.
    Unsure,
}

#[derive(Clone, Debug)]
pub(crate) struct ResourceModel {
    pub(crate) observed: Observed,
    pub(crate) in_flight: Option<Action>,
    pub(crate) enabled: bool,
    restart: bool,
    /// The action in flight was killed and does not end.
    pub(crate) lingers: bool,
    /// The operator cleaned up meanwhile.
    cleaned: bool,
    /// The stop failed and the operator has not cleaned up since.
    pub(crate) stuck: bool,
    /// The resource was reported as blocked.
    blocked: bool,
    /// The probe in flight began before the last maintenance ended.
    outdated: bool,
    /// A probe found that it is not installed.
    missing: bool,
    /// The last probe could not be executed.
    pub(crate) unseen: bool,
    /// The resource was started, or seen running, since it was last seen stopped.
    ran: bool,
    plan: ResourcePlan,
    failures: u32,
    last_failure: Boottime,
    barred: bool,
}

impl ResourceModel {
    fn forget(&mut self) {
        self.failures = 0;
        self.barred = false;
        self.unseen = false;
        if std::mem::take(&mut self.missing) && self.observed == Observed::Down {
            self.observed = Observed::Nothing;
        }
    }

    /// Counts a failure that bars the group from this node. Earlier failures that are older than
    /// the failure timeout do not count beside it, in maintenance either.
    fn bar(&mut self, at: Boottime) {
        let timeout = self.plan.failure_timeout;
        if timeout.is_some_and(|timeout| self.last_failure.after(timeout) <= at) {
            self.failures = 0;
        }
        self.failures += 1;
        self.last_failure = at;
        self.barred = true;
    }
}

/// One agent's life, from the view of its group.
#[derive(Clone, Debug)]
pub(crate) struct Shadow {
    pub(crate) resources: Vec<ResourceModel>,
    inherited: bool,
    pub(crate) wanted: bool,
    /// `Stopped` is due.
    pub(crate) owed: bool,
    /// The group reported that it should leave, and not that this is over.
    pub(crate) left: bool,
    /// A failed or overdue stop was reported, and not that this is over.
    blocked: bool,
    pub(crate) maintenance: bool,
    pub(crate) readies: usize,
    pub(crate) started: bool,
}

impl Shadow {
    pub(crate) fn new(
        inherited: bool,
        maintenance: bool,
        plans: &[ResourcePlan],
        enabled: &[bool],
    ) -> Self {
        let model = |(plan, enabled): (&ResourcePlan, &bool)| ResourceModel {
            plan: *plan,
            failures: 0,
            last_failure: Boottime::default(),
            barred: false,
            observed: Observed::Nothing,
            in_flight: None,
            enabled: *enabled,
            restart: false,
            lingers: false,
            cleaned: false,
            stuck: false,
            blocked: false,
            outdated: false,
            missing: false,
            unseen: false,
            ran: false,
        };
        Self {
            resources: plans.iter().zip(enabled).map(model).collect(),
            inherited,
            wanted: inherited,
            owed: false,
            left: false,
            blocked: false,
            maintenance,
            readies: 0,
            started: false,
        }
    }

    pub(crate) fn start(&mut self) {
        self.wanted = true;
    }

    pub(crate) fn stop(&mut self) {
        self.wanted = false;
        self.owed = true;
        self.started = false;
    }

    pub(crate) fn cleanup(&mut self, resource: Option<usize>) {
        for (number, model) in self.resources.iter_mut().enumerate() {
            if resource.is_some_and(|resource| resource != number) {
                continue;
            }
            model.forget();
            model.cleaned = model.lingers && model.in_flight == Some(Stop);
            if std::mem::take(&mut model.stuck) {
                model.observed = Observed::Nothing;
            }
        }
    }

    pub(crate) fn maintain(&mut self, on: bool) {
        if self.maintenance && !on {
            for model in self.resources.iter_mut().filter(|model| !model.stuck) {
                if !matches!(model.in_flight, Some(Start | Stop)) {
                    model.observed = Observed::Nothing;
                    model.outdated = model.in_flight == Some(Probe);
                }
            }
        }
        self.maintenance = on;
    }

    pub(crate) fn replan(&mut self, resource: usize, plan: ResourcePlan) {
        self.resources[resource].plan = plan;
    }

    pub(crate) fn restart(&mut self, resource: usize) {
        let model = &mut self.resources[resource];
        model.restart = model.observed != Observed::Down;
    }

    pub(crate) fn died(&mut self, resource: usize) {
        let model = &mut self.resources[resource];
        if model.observed == Observed::Up {
            model.observed = Observed::Unsure;
        }
    }

    pub(crate) fn finished(
        &mut self,
        resource: usize,
        action: Action,
        outcome: Outcome,
        now: Boottime,
    ) {
        let maintenance = self.maintenance;
        let not_to_serve = !self.wanted && !self.owed;
        let known_to_run = self.is_known_to_run(resource);
        let model = &mut self.resources[resource];
        if outcome == Outcome::Lingers {
            model.lingers = true;
            return;
        }
        model.in_flight = None;
        model.lingers = false;
        let cleaned = std::mem::take(&mut model.cleaned);
        if std::mem::take(&mut model.outdated) {
            return;
        }
        let missing = outcome == Outcome::Exited(ExitCode::NOT_INSTALLED);
        let refused = matches!(outcome, Outcome::Exited(_)) && outcome.is_hard() && !missing;
        let hidden = missing && known_to_run;
        let nothing = outcome == Outcome::NotStarted || hidden || refused && not_to_serve;
        if action == Probe && nothing {
            if not_to_serve && !std::mem::replace(&mut model.unseen, true) {
                model.bar(now);
            }
            model.unseen = true;
            return;
        }
        if std::mem::take(&mut model.unseen) {
            model.forget();
        }
        if action == Probe && missing {
            model.missing = true;
            model.bar(now);
        }
        model.observed = match (action, outcome.finding(action)) {
            (Monitor, _) if model.observed != Observed::Up => model.observed,
            (Start | Probe | Monitor, Finding::Well) => Observed::Up,
            (Stop, Finding::Well) | (Stop | Probe, Finding::NotRunning) => Observed::Down,
            // A resource that never ran counts as stopped if it is not even installed.
            (Stop, _) if missing && !model.ran => Observed::Down,
            _ => Observed::Unsure,
        };
        let failed = action == Stop && model.observed == Observed::Unsure && !maintenance;
        model.stuck = failed && !cleaned;
        if failed && cleaned {
            model.observed = Observed::Nothing;
        }
        // A failed stop does not show whether the resource ever ran.
        let may_run = model.observed == Observed::Unsure && action != Stop;
        model.ran |= model.observed == Observed::Up || may_run || action == Start;
        model.ran &= model.observed != Observed::Down && !(action == Start && missing);
        if model.observed == Observed::Down {
            model.restart = false;
            model.blocked = false;
        }
    }

    /// Whether the resource counts as running until an agent that can determine its state reports
    /// otherwise.
    pub(crate) fn is_known_to_run(&self, resource: usize) -> bool {
        let model = &self.resources[resource];
        model.ran || model.blocked || self.inherited && self.readies == 0
    }

    fn serves(&self) -> bool {
        self.wanted && !self.owed && (self.readies > 0 || self.inherited)
    }

    /// Whether the resource should run, and does.
    fn is_well(&self, resource: usize) -> bool {
        let model = &self.resources[resource];
        model.observed == Observed::Up && model.enabled && !model.restart && !model.blocked
    }

    fn all_known(&self) -> bool {
        self.resources
            .iter()
            .all(|model| model.observed != Observed::Nothing)
    }

    fn all_down(&self, from: usize) -> bool {
        self.resources[from..]
            .iter()
            .all(|model| model.observed == Observed::Down)
    }

    /// Checks each effect, in the order of their arrival.
    pub(crate) fn see(&mut self, effect: Effect) -> Result<(), Violation> {
        wrong(self.maintenance, "something happens in maintenance")?;
        match effect {
            Effect::Act {
                resource, action, ..
            } => self.begins(resource.0, action)?,
            Effect::Cancel { resource } => {
                let cancelled = self.resources[resource.0].in_flight.take();
                wrong(cancelled != Some(Monitor), "no monitor to cancel")?;
            }
            Effect::Failed(failure) => self.count(failure),
            Effect::State(state) => self.see_state(state)?,
        }
        Ok(())
    }

    fn see_state(&mut self, state: GroupState) -> Result<(), Violation> {
        match state {
            GroupState::Ready => {
                wrong(!self.all_known(), "ready before all is known")?;
                wrong(self.readies > 0, "ready twice")?;
                wrong(!self.serves() && !self.all_down(0), "ready too early")?;
                self.readies += 1;
            }
            GroupState::Stopped => {
                wrong(!self.owed, "stopped without having been told to")?;
                wrong(!self.all_down(0), "stopped, and yet something runs")?;
                self.owed = false;
            }
            GroupState::Started => {
                let all = (0..self.resources.len())
                    .take_while(|resource| self.resources[*resource].enabled)
                    .all(|resource| self.is_well(resource));
                wrong(!all || !self.serves(), "started, and yet it is not")?;
                wrong(self.started, "started twice")?;
                self.started = true;
            }
            GroupState::Incomplete => {
                wrong(!self.all_known(), "incomplete before all is known")?;
                wrong(!self.started, "incomplete without having started")?;
                self.started = false;
            }
            GroupState::Barred { resource } => {
                wrong(!self.resources[resource.0].barred, "no reason to leave")?;
                self.left = true;
            }
            GroupState::Fit => {
                wrong(!self.left, "fit without having left")?;
                wrong(
                    self.resources.iter().any(|model| model.barred),
                    "not fit yet",
                )?;
                self.left = false;
            }
            GroupState::Blocked { resource } => {
                let model = &mut self.resources[resource.0];
                let waits =
                    self.owed && (model.unseen || matches!(model.in_flight, Some(Start | Probe)));
                let overdue = model.in_flight == Some(Stop) || model.lingers || waits;
                wrong(
                    !model.stuck && !overdue,
                    "blocked without a stop that failed",
                )?;
                wrong(model.blocked, "blocked twice")?;
                model.blocked = true;
                self.blocked = true;
            }
            GroupState::Unblocked => {
                wrong(!self.blocked, "unblocked without having been blocked")?;
                let is = self.resources.iter().any(|model| model.blocked);
                wrong(is, "unblocked, and yet it is")?;
                self.blocked = false;
            }
            GroupState::Broken | GroupState::Mended => {
                wrong(true, "a run knows of no interfaces")?;
            }
        }
        Ok(())
    }

    /// Counts a failure of a resource that should run while everything before it does.
    fn count(&mut self, failure: Failure) {
        let Failure {
            resource, action, ..
        } = failure;
        let up_to = &self.resources[..=resource.0];
        let to_run = self.serves()
            && up_to.iter().all(|model| model.enabled && !model.barred)
            && (0..resource.0).all(|before| self.is_well(before));
        if matches!(action, Probe | Stop) || !to_run {
            return;
        }
        let model = &mut self.resources[resource.0];
        model.failures += 1;
        model.last_failure = failure.at;
        let too_many = model.plan.migration_threshold;
        model.barred |= action == Start
            || failure.outcome.is_hard()
            || too_many.is_some_and(|threshold| model.failures >= threshold.get());
    }

    /// Forgets failures that have counted for long enough. The caller calls it before each call,
    /// except in maintenance.
    pub(crate) fn forget_outdated(&mut self, now: Boottime) {
        if self.maintenance {
            return;
        }
        for model in self.resources.iter_mut().filter(|model| !model.unseen) {
            let end = |timeout| model.last_failure.after(timeout);
            if model
                .plan
                .failure_timeout
                .is_some_and(|timeout| model.failures > 0 && end(timeout) <= now)
            {
                model.forget();
            }
        }
    }

    /// Checks the state after all effects of one call.
    pub(crate) fn agree(&self, run: &GroupRun) -> Result<(), Violation> {
        let barred = self.resources.iter().any(|model| model.barred);
        if self.serves() && barred && self.all_known() && !self.maintenance && !self.left {
            return Err("it should leave".into());
        }
        for (resource, model) in self.resources.iter().enumerate() {
            if run.failures(ResourceIndex(resource)) != model.failures {
                return Err(format!("{resource} failed {} times", model.failures));
            }
        }
        Ok(())
    }

    fn begins(&mut self, resource: usize, action: Action) -> Result<(), Violation> {
        let model = &self.resources[resource];
        let busy = |model: &ResourceModel| matches!(model.in_flight, Some(Start | Stop));
        let stuck = self.resources.iter().any(|model| model.stuck);
        let looks = matches!(action, Probe | Monitor);
        let rules = [
            (
                looks || self.all_known(),
                "something is done before all is known",
            ),
            (model.in_flight.is_none(), "two actions at once"),
            (
                action == Probe || !stuck,
                "something is done though a stop failed",
            ),
        ];
        let of_action: &[_] = match action {
            Probe => &[(model.observed == Observed::Nothing, "a needless probe")],
            Monitor => &[(
                model.observed == Observed::Up,
                "what does not run is monitored",
            )],
            Start => &[
                (
                    !self.resources.iter().any(busy),
                    "two starts or stops at once",
                ),
                (self.readies == 1, "a start before ready"),
                (self.serves(), "a start though not wanted"),
                (!self.left, "a start after leaving"),
                (
                    (0..resource).all(|before| self.is_well(before)) && model.enabled,
                    "a start though not all before it run",
                ),
                (self.all_down(resource), "a start though it may run"),
            ],
            Stop => &[
                (
                    !self.resources.iter().any(busy),
                    "two starts or stops at once",
                ),
                (self.all_down(resource + 1), "a stop before those behind it"),
                (
                    model.observed != Observed::Down,
                    "a stop of what is stopped",
                ),
                (
                    !self.serves() || self.left || !(0..=resource).all(|up_to| self.is_well(up_to)),
                    "a needless stop",
                ),
            ],
        };
        let broken = rules.iter().chain(of_action).find(|(holds, _)| !holds);
        if let Some((_, what)) = broken {
            return Err(format!("{what}: {action} of {resource}"));
        }
        let model = &mut self.resources[resource];
        model.in_flight = Some(action);
        model.missing = false;
        if matches!(action, Start | Stop) {
            model.observed = Observed::Unsure;
        }
        Ok(())
    }
}
