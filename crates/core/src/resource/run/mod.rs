//! One group on one node: begins the actions on its resources in order, and decides from their
//! outcomes.
//!
//! A group run never decides which node serves the group. It receives start and stop commands, and
//! reports when this node should rather not have the group. Its only source about running resources
//! is the agents.
//!
//! The states of one resource, as its agent reports them:
//!
//! ```text
//!   unknown ──probe──▶ started, stopped, or failed if the agent cannot tell
//!
//!              start               ok              monitor failed, or a process ended
//!   stopped ──────────▶ starting ──────▶ started ─────────────────────────────────────▶ failed
//!      ▲                    │ failed        │ not to run, restarted,                       │
//!      │                    ▼               ▼ or one before it is to stop                  │
//!      │                 failed ────────▶ stopping ◀───────────────────────────────────────┘
//!      │        ok                          │ │ failed              cleanup
//!      └────────────────────────────────────┘ └────────▶ blocked ─────────▶ unknown
//! ```
//!
//! A failed resource is stopped before anything else, also after "not running": agents clean up. A
//! resource that was blocked is not trusted again before it was seen stopped.
//!
//! The next action follows from the known states alone: there is no stored plan that could become
//! outdated. *Kept* resources are those from the first on that should run and do.
//!
//! 1. All unknown resources are probed at once.
//! 2. While one is unknown or blocked, or a start or a stop is in flight, neither begins.
//! 3. Of the resources after the kept ones that may run, the last is stopped. Its monitor is
//!    cancelled.
//! 4. If there are none, the first after the kept ones is started, if it should run.
//! 5. The kept ones are monitored, unless one is blocked.
//!
//! At the start of a resource, all resources before it run and none after it. At its stop, none
//! after it runs. A resource that runs behind a stopped one is stopped first: it may have lost its
//! dependencies. Only a kept resource, or the one being started next to them, can fail. A failure
//! of a resource that is about to be stopped does not count, because its dependencies may be gone.
//!
//! The states of the group, between its commands and its reports:
//!
//! ```text
//!   begin ─▶ settling ──Ready──▶ idle ──start──▶ serving ──stop──▶ stopping ──Stopped──▶ idle
//! ```
//!
//! A killed start or stop that does not end blocks the group too: it may still take effect. The
//! block is over when the action's end is reported, as the end of a timed-out action.
//!
//! A stop that has not ended long after its timeout blocks the group, and so does every action for
//! which a stop of the group waits. The group still waits for the end, and goes on if it is a good
//! one.
//!
//! While the group settles without an inherited lease, no resource should run. With one, all
//! should. A `start` during a stop of the group takes effect after `Stopped`. In maintenance all
//! commands are remembered, and nothing is reported.

mod reconcile;
mod results;

use heartbeat_common::time::Boottime;

use super::{
    Action, Effect, ResourcePlan,
    state::{Known, Resource, ResourceState},
};
use crate::{index::ResourceIndex, index_vec::IndexVec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not begun.
    New,
    /// Not ready yet.
    Settling {
        inherited: bool,
    },
    Ready,
}

/// The last reports.
#[derive(Clone, Copy, Debug, Default)]
struct Notified {
    started: bool,
    /// Since the last `start`.
    leave: bool,
    unfit: bool,
    blocked: bool,
}

/// One group on this node. Resources are numbered from 0 in the order of starting. Methods that
/// change something ignore numbers beyond the last, and methods that read panic.
#[derive(Clone, Debug)]
pub struct GroupRun {
    resources: IndexVec<ResourceIndex, Resource>,
    phase: Phase,
    /// The last command of `start` and `stop` was `start`.
    wanted: bool,
    /// A `stop` without an answer yet: all resources are stopped first, whatever command came after
    /// it.
    stopping: bool,
    maintenance: bool,
    notified: Notified,
}

impl GroupRun {
    pub fn new(resources: IndexVec<ResourceIndex, ResourcePlan>) -> Self {
        Self {
            resources: resources.into_iter().map(Resource::new).collect(),
            phase: Phase::New,
            wanted: false,
            stopping: false,
            maintenance: false,
            notified: Notified::default(),
        }
    }

    /// Begins the run, once. Only `maintain` and `enable` may come before it. `inherited`: an
    /// earlier agent of this node holds a lease that still lasts. Running resources then go on, and
    /// the others are started. Otherwise every running resource is stopped.
    pub fn begin(&mut self, inherited: bool, now: Boottime, out: &mut Vec<Effect>) {
        if self.phase == Phase::New {
            self.phase = Phase::Settling { inherited };
            self.wanted = inherited;
            self.stopping = false;
            self.step(now, out);
        }
    }

    /// Starts the group, whose lease was acquired.
    pub fn start(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        self.wanted = true;
        // A caller that missed the last report gets it again.
        self.notified.leave = false;
        self.step(now, out);
    }

    /// Stops all resources, in reverse. The call may come at any time, also during a start, which
    /// then ends first. The answer is one [`super::GroupState::Stopped`], also if no resource runs.
    pub fn stop(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        self.wanted = false;
        self.stopping = true;
        self.notified.started = false;
        self.step(now, out);
    }

    /// Acts on the time in [`Self::next_deadline`]: a monitor is due, failures no longer count, or
    /// an action is overdue.
    pub fn wake(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        self.step(now, out);
    }

    /// Cleans up for the operator: forgets the failures of one resource, or of all, and probes
    /// blocked resources. If such a resource does not run, the group goes on. Otherwise its stop is
    /// repeated.
    pub fn cleanup(
        &mut self,
        resource: Option<ResourceIndex>,
        now: Boottime,
        out: &mut Vec<Effect>,
    ) {
        for (number, of) in self.resources.iter_mut_enumerated() {
            if resource.is_none_or(|resource| resource == number) {
                of.forget_failures();
                of.cleaned = of.lingers() && of.action() == Some(Action::Stop);
                if of.known == Known::Stuck {
                    of.known = Known::Nothing;
                }
            }
        }
        self.step(now, out);
    }

    /// Switches maintenance. In maintenance no action begins and nothing is reported. An action in
    /// flight ends, and its result is recorded but counts for nothing. At the end of maintenance
    /// all resources are probed, because an operator may have changed them by hand. A blocked
    /// resource waits for `cleanup` instead.
    pub fn maintain(&mut self, on: bool, now: Boottime, out: &mut Vec<Effect>) {
        if self.maintenance == on {
            return;
        }
        self.maintenance = on;
        if !on {
            self.resources.iter_mut().for_each(Resource::probe_anew);
        }
        self.step(now, out);
    }

    /// Disables a resource for the operator, and with it those after it in the group, or enables
    /// them again.
    pub fn enable(
        &mut self,
        resource: ResourceIndex,
        enabled: bool,
        now: Boottime,
        out: &mut Vec<Effect>,
    ) {
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.enabled = enabled;
        }
        self.step(now, out);
    }

    /// Restarts a resource for the operator: stops it, after those behind it in the group, and
    /// starts all of them again. Has no effect if the resource does not run.
    pub fn restart(&mut self, resource: ResourceIndex, now: Boottime, out: &mut Vec<Effect>) {
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.restart = resource.known != Known::Stopped;
        }
        self.step(now, out);
    }

    /// Changes the times of a resource, which is not touched. Failures count by the new threshold
    /// from the next one on.
    pub fn replan(
        &mut self,
        resource: ResourceIndex,
        plan: ResourcePlan,
        now: Boottime,
        out: &mut Vec<Effect>,
    ) {
        if let Some(resource) = self.resources.get_mut(resource) {
            let interval = std::mem::replace(&mut resource.plan, plan).monitor_interval;
            if interval != plan.monitor_interval {
                resource.monitor_in_turn(now);
            }
        }
        self.step(now, out);
    }

    pub fn resources(&self) -> usize {
        self.resources.len()
    }

    pub fn state(&self, resource: ResourceIndex) -> ResourceState {
        self.resources[resource].state()
    }

    /// The action on the resource that was begun and has not ended.
    pub fn in_flight(&self, resource: ResourceIndex) -> Option<Action> {
        self.resources[resource].action()
    }

    /// The number of its failures that count.
    pub fn failures(&self, resource: ResourceIndex) -> u32 {
        self.resources[resource].failures.count()
    }

    /// Whether this resource makes the group leave this node.
    pub fn is_barred(&self, resource: ResourceIndex) -> bool {
        self.resources[resource].failures.is_barred()
    }

    pub fn is_enabled(&self, resource: ResourceIndex) -> bool {
        self.resources[resource].enabled
    }

    /// Whether failures do not keep the group from this node.
    pub fn is_fit(&self) -> bool {
        !self.resources.iter().any(|of| of.failures.is_barred())
    }

    /// Whether the last of `start` and `stop` was `start`.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a `stop` has no answer yet.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether no resource of the group was seen running, or was started. A resource that could not
    /// be probed counts as untouched too: the failed probe may be its only fault.
    pub fn is_untouched(&self) -> bool {
        let untouched = |of: &Resource| {
            matches!(of.known, Known::Nothing | Known::Stopped)
                && matches!(of.action(), None | Some(Action::Probe))
                && !of.ran
        };
        !self.wanted && !self.stopping && self.resources.iter().all(untouched)
    }

    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub fn is_maintained(&self) -> bool {
        self.maintenance
    }

    /// Whether a stop failed, and the end of its resource is not known.
    pub fn is_blocked(&self) -> bool {
        self.resources.iter().any(|of| of.blocked)
    }

    /// Whether every resource runs that should, by the last report.
    pub fn is_started(&self) -> bool {
        self.notified.started
    }

    /// Whether all resources run, and not only those that the operator enabled.
    pub fn is_whole(&self) -> bool {
        self.notified.started && self.resources.iter().all(|of| of.enabled)
    }
}
