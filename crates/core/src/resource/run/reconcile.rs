//! The next action between the known and the wanted states, and the reports on the way.

use heartbeat_common::time::Boottime;

use super::{GroupRun, Phase};
use crate::{
    index::ResourceIndex,
    resource::{
        Action, Effect, GroupState,
        state::{Known, Resource},
    },
};

impl GroupRun {
    /// The time of the next [`Self::wake`].
    pub fn next_deadline(&self) -> Option<Boottime> {
        if self.is_paused() {
            return None;
        }
        let forgotten = self
            .resources
            .iter()
            .filter(|of| !of.is_unseen())
            .filter_map(|of| of.failures.end(of.plan.failure_timeout));
        let unseen = self.resources.iter();
        let unseen = unseen.filter_map(|of| of.probe_due(Boottime::default()));
        let monitors = self
            .resources
            .iter()
            .take(self.watched())
            .filter(|of| of.in_flight.is_none())
            .filter_map(|of| of.monitor_due);
        let overdue = |of: &Resource| of.overdue_at(self.stopping);
        let overdue = self.resources.iter().filter_map(overdue);
        forgotten.chain(monitors).chain(overdue).chain(unseen).min()
    }

    pub(super) fn step(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        if self.is_paused() {
            return;
        }
        for of in &mut self.resources {
            of.forget_outdated(now);
        }
        self.probe(now, out);
        self.block_overdue(now, out);
        self.announce(out);
        self.start_or_stop(now, out);
        self.monitor(now, out);
    }

    fn is_paused(&self) -> bool {
        self.maintenance || self.phase == Phase::New
    }

    fn is_to_serve(&self) -> bool {
        let may = match self.phase {
            Phase::New => false,
            Phase::Settling { inherited } => inherited,
            Phase::Ready => true,
        };
        may && self.wanted && !self.stopping
    }

    /// The number of resources, from the first on, that the operator enabled.
    fn enabled(&self) -> usize {
        let first_disabled = self.resources.position(|of| !of.enabled);
        first_disabled.map_or(self.resources.len(), |first| first.0)
    }

    fn first_barred(&self) -> Option<ResourceIndex> {
        self.resources.position(|of| of.failures.is_barred())
    }

    /// The number of resources, from the first on, that should run.
    pub(super) fn goal(&self) -> usize {
        if !self.is_to_serve() {
            return 0;
        }
        let enabled = self.enabled();
        self.first_barred()
            .map_or(enabled, |barred| barred.0.min(enabled))
    }

    /// The number of resources, from the first on, that should run and do.
    pub(super) fn kept(&self) -> usize {
        let goal = self.resources.iter().take(self.goal());
        goal.take_while(|of| of.is_kept()).count()
    }

    /// The number of resources, from the first on, that are monitored.
    fn watched(&self) -> usize {
        match self.phase {
            Phase::Ready if !self.has(Known::Stuck) => self.kept(),
            _ => 0,
        }
    }

    fn has(&self, known: Known) -> bool {
        self.resources.iter().any(|of| of.known == known)
    }

    fn all_stopped(&self) -> bool {
        self.resources.iter().all(|of| of.known == Known::Stopped)
    }

    fn probe(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        for resource in self.resources.indices() {
            let due = self.resources[resource].probe_due(now);
            if due.is_some_and(|at| at <= now) {
                self.act(resource, Action::Probe, now, out);
            }
        }
    }

    /// Reports a stop that may never end, and goes on waiting for it. A resource that cannot be
    /// probed counts too, because its stop cannot be confirmed.
    fn block_overdue(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        for resource in self.resources.indices() {
            let of = &self.resources[resource];
            let overdue = of.overdue_at(self.stopping).is_some_and(|at| at <= now);
            if overdue || (self.stopping && of.is_unseen() && of.in_flight.is_none()) {
                self.block(resource, out);
            }
        }
    }

    pub(super) fn block(&mut self, resource: ResourceIndex, out: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.resources[resource].blocked, true) {
            self.notified.blocked = true;
            out.push(Effect::State(GroupState::Blocked { resource }));
        }
    }

    fn announce(&mut self, out: &mut Vec<Effect>) {
        if self.notified.blocked && !self.is_blocked() {
            self.notified.blocked = false;
            out.push(Effect::State(GroupState::Unblocked));
        }
        if self.notified.unfit && self.is_fit() {
            self.notified.unfit = false;
            self.notified.leave = false;
            out.push(Effect::State(GroupState::Fit));
        }
        // This report comes before `Ready`.
        if !self.is_to_serve() {
            self.announce_barred(out);
        }
        if self.has(Known::Nothing) {
            return;
        }
        let settled = self.is_to_serve() || self.all_stopped();
        if self.phase != Phase::Ready && settled {
            self.phase = Phase::Ready;
            out.push(Effect::State(GroupState::Ready));
        }
        if self.stopping && self.all_stopped() {
            self.stopping = false;
            out.push(Effect::State(GroupState::Stopped));
        }
        self.announce_service(out);
    }

    fn announce_service(&mut self, out: &mut Vec<Effect>) {
        let serves = self.is_to_serve();
        let started = serves && self.kept() == self.enabled();
        if started && !self.notified.started {
            out.push(Effect::State(GroupState::Started));
        } else if serves && !started && self.notified.started {
            out.push(Effect::State(GroupState::Incomplete));
        }
        self.notified.started = started;
        if serves {
            self.announce_barred(out);
        }
    }

    fn announce_barred(&mut self, out: &mut Vec<Effect>) {
        if let Some(resource) = self.first_barred().filter(|_| !self.notified.leave) {
            self.notified.leave = true;
            self.notified.unfit = true;
            out.push(Effect::State(GroupState::Barred { resource }));
        }
    }

    fn start_or_stop(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        let busy = |of: &Resource| matches!(of.action(), Some(Action::Start | Action::Stop));
        let is_known = !self.has(Known::Nothing) && !self.has(Known::Stuck);
        if !is_known || self.resources.iter().any(busy) {
            return;
        }
        let kept = self.kept();
        let may_run = |of: &Resource| of.known != Known::Stopped;
        let last = self.resources.iter().rposition(may_run);
        if let Some(last) = last.filter(|last| *last >= kept).map(ResourceIndex) {
            if self.resources[last].in_flight.take().is_some() {
                out.push(Effect::Cancel { resource: last });
            }
            self.act(last, Action::Stop, now, out);
        } else if kept < self.goal() && self.is_fit() {
            self.act(ResourceIndex(kept), Action::Start, now, out);
        }
    }

    fn monitor(&mut self, now: Boottime, out: &mut Vec<Effect>) {
        for resource in (0..self.watched()).map(ResourceIndex) {
            let of = &self.resources[resource];
            if of.in_flight.is_none() && of.monitor_due.is_some_and(|due| due <= now) {
                self.act(resource, Action::Monitor, now, out);
            }
        }
    }

    fn act(
        &mut self,
        resource: ResourceIndex,
        action: Action,
        now: Boottime,
        out: &mut Vec<Effect>,
    ) {
        let of = &mut self.resources[resource];
        of.begins(action, now);
        match action {
            Action::Probe => of.doubted = false,
            // From here on any part of the resource may run.
            Action::Start => {
                of.known = Known::Unsure;
                of.doubted = false;
            }
            Action::Stop => of.known = Known::Unsure,
            Action::Monitor => {}
        }
        out.push(Effect::Act {
            resource,
            action,
            timeout: of.plan.timeout(action),
        });
    }
}
