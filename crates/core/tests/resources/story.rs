//! A group of three resources, 0 to 2. A story gives it inputs and receives every effect.

use std::{num::NonZeroU32, time::Duration};

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    index::ResourceIndex,
    resource::{
        Action, Effect, ExitCode, Failure, GroupRun, GroupState, Outcome, ResourcePlan,
        ResourceState,
    },
};

pub(crate) const OK: Outcome = Outcome::OK;
pub(crate) const NOT_RUNNING: Outcome = Outcome::NOT_RUNNING;
pub(crate) const ERROR: Outcome = Outcome::Exited(ExitCode::GENERIC_ERROR);
pub(crate) const NOT_INSTALLED: Outcome = Outcome::Exited(ExitCode::NOT_INSTALLED);
pub(crate) const NOT_STARTED: Outcome = Outcome::NotStarted;
pub(crate) const NOT_CONFIGURED: Outcome = Outcome::Exited(ExitCode::NOT_CONFIGURED);

pub(crate) const START: Duration = Duration::from_secs(40);
pub(crate) const STOP: Duration = Duration::from_secs(60);
pub(crate) const MONITOR: Duration = Duration::from_secs(20);

/// A monitor every 10 s; two failures within 10 min are too many.
pub(crate) fn plan() -> ResourcePlan {
    ResourcePlan {
        start_timeout: START,
        stop_timeout: STOP,
        monitor_timeout: MONITOR,
        monitor_interval: Some(Duration::from_secs(10)),
        migration_threshold: NonZeroU32::new(2),
        failure_timeout: Some(Duration::from_secs(600)),
    }
}

pub(crate) const READY: Effect = Effect::State(GroupState::Ready);
pub(crate) const STARTED: Effect = Effect::State(GroupState::Started);
pub(crate) const INCOMPLETE: Effect = Effect::State(GroupState::Incomplete);
pub(crate) const STOPPED: Effect = Effect::State(GroupState::Stopped);
pub(crate) const FIT: Effect = Effect::State(GroupState::Fit);
pub(crate) const UNBLOCKED: Effect = Effect::State(GroupState::Unblocked);

pub(crate) fn says_barred(resource: usize) -> Effect {
    Effect::State(GroupState::Barred {
        resource: ResourceIndex(resource),
    })
}

pub(crate) fn says_blocked(resource: usize) -> Effect {
    Effect::State(GroupState::Blocked {
        resource: ResourceIndex(resource),
    })
}

pub(crate) fn probe(resource: usize) -> Effect {
    act(resource, Action::Probe, MONITOR)
}

pub(crate) fn start(resource: usize) -> Effect {
    act(resource, Action::Start, START)
}

pub(crate) fn stop(resource: usize) -> Effect {
    act(resource, Action::Stop, STOP)
}

pub(crate) fn monitor(resource: usize) -> Effect {
    act(resource, Action::Monitor, MONITOR)
}

fn act(resource: usize, action: Action, timeout: Duration) -> Effect {
    Effect::Act {
        resource: ResourceIndex(resource),
        action,
        timeout,
    }
}

pub(crate) struct Story {
    pub(crate) run: GroupRun,
    pub(crate) now: Boottime,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::with(vec![plan(); 3])
    }

    pub(crate) fn with(plans: Vec<ResourcePlan>) -> Self {
        Self {
            run: GroupRun::new(plans.into()),
            now: Boottime::default().after(Duration::from_secs(100)),
        }
    }

    /// All resources were stopped at first, and all run since this moment.
    pub(crate) fn started() -> Self {
        let mut story = Self::ready();
        assert_eq!(story.start(), [start(0)]);
        assert_eq!(story.finished(0, Action::Start, OK), [start(1)]);
        assert_eq!(story.finished(1, Action::Start, OK), [start(2)]);
        assert_eq!(story.finished(2, Action::Start, OK), [STARTED]);
        story
    }

    /// No resource runs, and none should yet.
    pub(crate) fn ready() -> Self {
        let mut story = Self::new();
        assert_eq!(story.begin(false), [probe(0), probe(1), probe(2)]);
        assert_eq!(
            story.probed([NOT_RUNNING, NOT_RUNNING, NOT_RUNNING]),
            [READY]
        );
        story
    }

    /// The effects of one call.
    pub(crate) fn tell(
        &mut self,
        call: impl FnOnce(&mut GroupRun, Boottime, &mut Vec<Effect>),
    ) -> Vec<Effect> {
        let mut out = Vec::new();
        call(&mut self.run, self.now, &mut out);
        out
    }

    pub(crate) fn begin(&mut self, inherited: bool) -> Vec<Effect> {
        self.tell(|run, now, out| run.begin(inherited, now, out))
    }

    pub(crate) fn start(&mut self) -> Vec<Effect> {
        self.tell(GroupRun::start)
    }

    pub(crate) fn stop(&mut self) -> Vec<Effect> {
        self.tell(GroupRun::stop)
    }

    pub(crate) fn finished(
        &mut self,
        resource: usize,
        action: Action,
        outcome: Outcome,
    ) -> Vec<Effect> {
        self.tell(|run, now, out| run.finished(ResourceIndex(resource), action, outcome, now, out))
    }

    /// Ends the probes of all three, in order. No effect may follow before the last one.
    pub(crate) fn probed(&mut self, outcomes: [Outcome; 3]) -> Vec<Effect> {
        assert_eq!(self.finished(0, Action::Probe, outcomes[0]), []);
        assert_eq!(self.finished(1, Action::Probe, outcomes[1]), []);
        self.finished(2, Action::Probe, outcomes[2])
    }

    pub(crate) fn died(&mut self, resource: usize) -> Vec<Effect> {
        self.tell(|run, now, out| run.died(ResourceIndex(resource), now, out))
    }

    pub(crate) fn cleanup(&mut self, resource: Option<usize>) -> Vec<Effect> {
        self.tell(|run, now, out| run.cleanup(resource.map(ResourceIndex), now, out))
    }

    pub(crate) fn maintain(&mut self, on: bool) -> Vec<Effect> {
        self.tell(|run, now, out| run.maintain(on, now, out))
    }

    pub(crate) fn enable(&mut self, resource: usize, enabled: bool) -> Vec<Effect> {
        self.tell(|run, now, out| run.enable(ResourceIndex(resource), enabled, now, out))
    }

    pub(crate) fn restart(&mut self, resource: usize) -> Vec<Effect> {
        self.tell(|run, now, out| run.restart(ResourceIndex(resource), now, out))
    }

    /// Passes the time up to the next deadline, which must be in this many seconds, and wakes the
    /// group.
    pub(crate) fn due_in(&mut self, seconds: u64) -> Vec<Effect> {
        let deadline = self.now.after(Duration::from_secs(seconds));
        assert_eq!(self.run.next_deadline(), Some(deadline));
        self.now = deadline;
        self.wake()
    }

    pub(crate) fn wake(&mut self) -> Vec<Effect> {
        self.tell(GroupRun::wake)
    }

    /// A failure as the group must record it now.
    pub(crate) fn failed(&self, resource: usize, action: Action, outcome: Outcome) -> Effect {
        Effect::Failed(Failure {
            resource: ResourceIndex(resource),
            action,
            outcome,
            at: self.now,
        })
    }

    pub(crate) fn states(&self) -> [ResourceState; 3] {
        [0, 1, 2].map(|resource| self.run.state(ResourceIndex(resource)))
    }
}
