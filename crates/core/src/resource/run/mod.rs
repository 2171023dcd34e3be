//! One group on one node: begins the actions on its resources, in order, and decides by what
//! becomes of them.
//!
//! It never decides where the group is served: it is told to start and to stop, and says when this
//! node should rather not have it. Whether anything runs it knows from the agents alone.
//!
//! One resource, as its agent tells:
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
//! Whatever of a failed one runs is stopped before anything else, also after "not running": agents
//! clean up. One that was blocked is not trusted again before it was seen to be stopped.
//!
//! What is done next follows from what is known, and from nothing else: no plan is kept that could
//! become outdated. *Kept* are the resources from the first on that are to run and do.
//!
//! 1. Who is unknown is probed, all at once.
//! 2. While one is unknown or blocked, or a start or a stop is in flight, neither begins.
//! 3. Of those after the kept ones that may run, the last is stopped. Its monitor is cancelled.
//! 4. If there are none, the first after the kept ones is started, if it is to run.
//! 5. The kept ones are monitored, unless one is blocked.
//!
//! Whoever is started finds all before it running and none after it, and whoever is stopped has
//! none after it. A resource that runs behind one that does not is stopped first: it may have lost
//! what it needs. Only what is kept, or is being started next to it, can fail: an agent that fails
//! on a resource about to be stopped says nothing that counts, for what it needs may be gone.
//!
//! The group, between what it is told and what it says:
//!
//! ```text
//!   begin ─▶ settling ──Ready──▶ idle ──start──▶ serving ──stop──▶ stopping ──Stopped──▶ idle
//! ```
//!
//! A start or a stop that was killed and does not end blocks the group, too: it may yet come about.
//! It is over when its end is told, which is that of one that timed out.
//!
//! A stop that has not ended long after its timeout blocks the group, and so does whatever a stop
//! of the group waits for. It is still waited for, and if it ends well after all the group goes on.
//!
//! Settling without an inherited lease nothing is to run; with one, all is. A `start` that comes
//! while the group stops takes effect after `Stopped`. In maintenance all that is told is
//! remembered, and nothing is said.

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

/// What was said last.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    started: bool,
    /// Since the last `start`.
    leave: bool,
    unfit: bool,
    blocked: bool,
}

/// One group on this node. Resources are numbered from 0 in the order in which they start; numbers
/// beyond the last are ignored by whatever changes something, and are a panic for whatever looks.
#[derive(Clone, Debug)]
pub struct GroupRun {
    resources: IndexVec<ResourceIndex, Resource>,
    phase: Phase,
    /// It is to be served: the last of `start` and `stop` was `start`.
    wanted: bool,
    /// `stop` is not answered yet: all is stopped first, whatever came after it.
    stopping: bool,
    maintenance: bool,
    said: Said,
}

impl GroupRun {
    pub fn new(resources: IndexVec<ResourceIndex, ResourcePlan>) -> Self {
        Self {
            resources: resources.into_iter().map(Resource::new).collect(),
            phase: Phase::New,
            wanted: false,
            stopping: false,
            maintenance: false,
            said: Said::default(),
        }
    }

    /// The agent begins; nothing but `maintain` and `enable` may come before, and it begins once.
    /// `inherited`: an earlier agent of this node was granted the lease and it still lives. What
    /// runs goes on then, what does not is started; otherwise whatever is found running is stopped.
    pub fn begin(&mut self, inherited: bool, now: Boottime, out: &mut Vec<Effect>) {
        if self.phase == Phase::New {
            self.phase = Phase::Settling { inherited };
            self.wanted = inherited;
            self.stopping = false;
            self.step(now, out);
        }
    }

    /// The lease was acquired: serve.
    pub fn start(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        self.wanted = true;
        // Whoever did not hear it then hears it again.
        self.said.leave = false;
        self.step(now, out);
    }

    /// Stop everything, in reverse. May come at any time, also during a start; a start in flight is
    /// waited for. Answered by one [`super::GroupState::Stopped`], also if nothing runs.
    pub fn stop(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        self.wanted = false;
        self.stopping = true;
        self.said.started = false;
        self.step(now, out);
    }

    /// Time has come to [`Self::next_deadline`]: a monitor is due, failures no longer count, or an
    /// action is overdue.
    pub fn wake(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        self.step(now, out);
    }

    /// The operator forgets the failures of one resource, or of all, and lets what is blocked be
    /// looked at: if it does not run the group goes on, and otherwise its stop is tried again.
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

    /// While maintenance is on no action begins and nothing is said; what is in flight ends, and
    /// its result is noted but counts for nothing. As anything may have been done by hand
    /// meanwhile, all is probed when it ends, but for what is blocked: that waits for `cleanup`.
    pub fn maintain(&mut self, on: bool, now: Boottime, out: &mut Vec<Effect>) {
        if self.maintenance == on {
            return;
        }
        self.maintenance = on;
        if !on {
            self.resources.iter_mut().for_each(Resource::look_anew);
        }
        self.step(now, out);
    }

    /// The operator stops a resource, and with it those after it in the group, or lets them run
    /// again.
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

    /// The operator wants a resource stopped, after those behind it in the group, and all of them
    /// started again. Nothing happens if it does not run.
    pub fn restart(&mut self, resource: ResourceIndex, now: Boottime, out: &mut Vec<Effect>) {
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.restart = resource.known != Known::Stopped;
        }
        self.step(now, out);
    }

    /// The configuration has new times for a resource, which is not touched. Failures count by the
    /// new threshold from the next one on.
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

    /// The action on it that was begun and has not ended.
    pub fn in_flight(&self, resource: ResourceIndex) -> Option<Action> {
        self.resources[resource].action()
    }

    /// How many failures of it count.
    pub fn failures(&self, resource: ResourceIndex) -> u32 {
        self.resources[resource].failures.count()
    }

    /// Whether it is why the group is to leave this node.
    pub fn is_banned(&self, resource: ResourceIndex) -> bool {
        self.resources[resource].failures.is_banned()
    }

    pub fn is_enabled(&self, resource: ResourceIndex) -> bool {
        self.resources[resource].enabled
    }

    /// Whether failures do not keep the group from this node.
    pub fn is_fit(&self) -> bool {
        !self.resources.iter().any(|of| of.failures.is_banned())
    }

    /// Whether the last of `start` and `stop` was `start`.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a `stop` is not answered yet.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether nothing of it was seen to run, nor started: also what could not be looked at, which
    /// is what may be wrong with it.
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

    /// Whether a stop failed and nothing is known to have ended what it was to end.
    pub fn is_blocked(&self) -> bool {
        self.resources.iter().any(|of| of.blocked)
    }

    /// Whether everything that is to run does, as was last said.
    pub fn is_started(&self) -> bool {
        self.said.started
    }

    /// Whether all of it runs, and not only what the operator lets run.
    pub fn is_whole(&self) -> bool {
        self.said.started && self.resources.iter().all(|of| of.enabled)
    }
}
