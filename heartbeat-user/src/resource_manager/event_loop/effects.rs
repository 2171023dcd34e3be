//! Runs the state machines of the groups, carries out their effects, and reports their changes.

use std::sync::Arc;

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    group::Note,
    index::{GroupIndex, ResourceIndex},
    index_vec::IndexVec,
    resource::{Action, Effect, GroupRun, GroupState, Outcome, ResourcePlan, ResourceState},
};

use super::EventLoop;
use crate::{
    clock,
    config::{Exec, Resource, ResourceKind},
    messages::{ActionRequest, Directive, ResourceEvent, ResourceRef},
    resource_manager::{
        address_plan::address_plan,
        run::{Kind, LastMessage},
    },
};

/// Returns the note on a resource's new state: that its program had to be killed.
fn note(resource: &Resource, last: &LastMessage, state: ResourceState) -> String {
    let is_service = matches!(resource.kind, ResourceKind::Exec(Exec::Service { .. }));
    match state == ResourceState::Stopped && is_service {
        true => last.of(Action::Stop, Outcome::OK),
        false => String::new(),
    }
}

/// Returns whether a resource in this state has an action ahead.
fn begins(state: ResourceState) -> bool {
    matches!(state, ResourceState::Starting | ResourceState::Stopping)
}

impl<R: FnMut(ResourceEvent)> EventLoop<R> {
    /// Obtains the plans of a group's resources, and begins.
    pub(super) fn prepare(&mut self, group: GroupIndex) {
        let run = &self.groups[group];
        if run.kinds.contains(&Kind::Other) {
            let resources = run.resources.clone();
            // Sending fails only when the agent ends.
            let _ = self
                .ends
                .work
                .send(ActionRequest::Prepare { group, resources });
        } else {
            let resources = run.resources.iter();
            let plans = resources.map(|resource| address_plan(resource)).collect();
            self.begin(group, plans, clock::now());
        }
    }

    pub(super) fn begin(
        &mut self,
        group: GroupIndex,
        plans: IndexVec<ResourceIndex, ResourcePlan>,
        now: Boottime,
    ) {
        let run = &mut self.groups[group];
        if plans.len() != run.resources.len() {
            // The plans were requested before the group changed.
            return;
        }
        let note = Note::StopTimeout(plans.iter().map(|plan| plan.stop_timeout).sum());
        self.ends.directives.send(Directive::Note { group, note });
        if run.engine.is_some() {
            for (resource, plan) in plans.into_iter_enumerated() {
                self.drive(group, |engine, out| engine.replan(resource, plan, now, out));
            }
            return;
        }
        let mut engine = GroupRun::new(plans);
        let out = &mut self.scratch;
        engine.maintain(run.maintained, now, out);
        for (resource, enabled) in run.enabled.iter_enumerated() {
            engine.enable(resource, *enabled, now, out);
        }
        engine.begin(run.wanted, now, out);
        if run.stop_owed {
            engine.stop(now, out);
        }
        run.engine = Some(engine);
        self.note_effects(group);
    }

    /// Runs the state machine of a group, if it exists yet. [`EventLoop::carry_out`] carries out
    /// the effects.
    pub(super) fn drive(
        &mut self,
        group: GroupIndex,
        act: impl FnOnce(&mut GroupRun, &mut Vec<Effect>),
    ) {
        if let Some(engine) = &mut self.groups[group].engine {
            act(engine, &mut self.scratch);
            self.note_effects(group);
        }
    }

    fn note_effects(&mut self, group: GroupIndex) {
        self.effects
            .extend(self.scratch.drain(..).map(|effect| (group, effect)));
        self.show(group);
    }

    pub(super) fn done(
        &mut self,
        reference: ResourceRef,
        action: Action,
        outcome: Outcome,
        message: String,
    ) {
        let ResourceRef { group, resource } = reference;
        // A result from before the change of a group is ignored.
        let Some(last) = self.groups[group].messages.get_mut(resource) else {
            return;
        };
        *last = LastMessage {
            action: Some(action),
            text: message,
        };
        if outcome != Outcome::Lingers {
            self.groups[group].pending[resource] = None;
        }
        let now = clock::now();
        self.drive(group, |engine, out| {
            engine.finished(resource, action, outcome, now, out);
        });
    }

    pub(super) fn carry_out(&mut self) {
        while let Some((group, effect)) = self.effects.pop_front() {
            self.take_effect(group, effect);
        }
    }

    fn take_effect(&mut self, group: GroupIndex, effect: Effect) {
        match effect {
            Effect::Act {
                resource,
                action,
                timeout,
            } => {
                let reference = ResourceRef { group, resource };
                self.act(reference, action, timeout);
            }
            Effect::Cancel { resource } => self.cancel(ResourceRef { group, resource }),
            Effect::Failed(failure) => {
                let reference = ResourceRef {
                    group,
                    resource: failure.resource,
                };
                let run = &self.groups[group];
                let message = run.messages[failure.resource].of(failure.action, failure.outcome);
                (self.ends.report)(ResourceEvent::Failed {
                    reference,
                    resource: run.resources[failure.resource].name.clone(),
                    action: failure.action,
                    outcome: failure.outcome,
                    at: failure.at,
                    message,
                });
            }
            Effect::State(GroupState::Stopped) => self.stopped(group),
            Effect::State(state) => self.report_group(group, state),
        }
    }

    /// Reports a change of a group to the pulse and the control task.
    pub(super) fn report_group(&mut self, group: GroupIndex, state: GroupState) {
        let note = Note::State(state);
        self.ends.directives.send(Directive::Note { group, note });
        (self.ends.report)(ResourceEvent::Group { group, state });
    }

    /// Handles the complete stop of a group.
    pub(super) fn stopped(&mut self, group: GroupIndex) {
        if let Some(next) = self.groups[group].next.take() {
            let stop_owed = self.groups[group].stop_owed;
            self.replace(group, &next);
            if !stop_owed {
                return;
            }
        }
        self.report_stopped(group);
    }

    /// Reports the stop directly to the pulse: the control task may hang, and the lease must be
    /// released nevertheless.
    fn report_stopped(&mut self, group: GroupIndex) {
        self.groups[group].stop_owed = false;
        self.ends.directives.send(Directive::Stopped { group });
        (self.ends.report)(ResourceEvent::Group {
            group,
            state: GroupState::Stopped,
        });
    }

    /// Reports changes of a group's resources, and starts the watch of those that run.
    fn show(&mut self, group: GroupIndex) {
        let run = &mut self.groups[group];
        let Some(engine) = &run.engine else { return };
        // Finished changes come before those that they cause, so that the event log has the real
        // order.
        let (begun, ended): (Vec<_>, Vec<_>) = run
            .kinds
            .indices()
            .partition(|resource| begins(engine.state(*resource)));
        for resource in ended.into_iter().chain(begun) {
            let reference = ResourceRef { group, resource };
            let state = engine.state(resource);
            let now = (state, engine.failures(resource));
            if std::mem::replace(&mut run.reported[resource], now) != now {
                let (state, failures) = now;
                (self.ends.report)(ResourceEvent::State {
                    reference,
                    state,
                    failures,
                    note: note(&run.resources[resource], &run.messages[resource], state),
                });
            }
            let watch = state == ResourceState::Started && run.kinds[resource] == Kind::Other;
            if std::mem::replace(&mut run.watched[resource], watch) != watch {
                let resource = watch.then(|| Arc::clone(&run.resources[resource]));
                let _ = self.ends.work.send(ActionRequest::Watch {
                    reference,
                    resource,
                });
            }
        }
    }
}
