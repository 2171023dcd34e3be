//! The resource manager: one thread that drives the resources of all groups on this node.
//!
//! This thread moves addresses itself, so that the pulse does not wait for the kernel's network
//! configuration, and an address does not wait for a busy tokio. All other resources go to the
//! executors, which may block: the manager sends an [`ActionRequest`] and receives the result. The
//! core decides the next step.

mod address;
mod address_watch;
mod backoff;
mod sweep;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    collections::VecDeque, net::IpAddr, num::NonZeroU32, sync::Arc, thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use heartbeat_core::{
    group::{AcquisitionTimeline, Note},
    index::{GroupIndex, ResourceIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    resource::{
        Action, Effect, ExitCode, GroupRun, GroupState, Outcome, ResourcePlan, ResourceState,
    },
};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    clock,
    config::{Config, Exec, Group, Resource, ResourceKind, Vip},
    control::protocol::VipEvent,
    messages::{ActionRequest, Directive, ResourceCommand, ResourceEvent, ResourceRef},
    net::Netlink,
    pulse::{
        Directives,
        mailbox::{Mailbox, Post, mailbox},
        realtime::{self, Granter},
    },
};
use address::Held;
use address_watch::Watcher;
pub use sweep::{remove_guarded, sweep};

/// The longest wait when no work is due.
const IDLE: Duration = Duration::from_secs(3600);

/// The running thread.
#[derive(Debug)]
pub struct ResourceManager {
    commands: Post<ResourceCommand>,
    thread: JoinHandle<()>,
}

/// The receivers of the resource manager's messages.
#[derive(Debug)]
pub struct Ends<R> {
    pub directives: Directives,
    pub work: UnboundedSender<ActionRequest>,
    /// A callback on the resource manager's thread: it must not block.
    pub report: R,
}

/// The receiving end of the commands, which exists before the resource manager does.
#[derive(Debug)]
pub struct Inbox(Mailbox<ResourceCommand>);

pub fn inbox() -> Result<(Post<ResourceCommand>, Inbox)> {
    let (commands, mailbox) = mailbox()?;
    Ok((commands, Inbox(mailbox)))
}

impl ResourceManager {
    /// Starts the thread.
    ///
    /// `inherited` has an entry for each group that an earlier run was granted and that may still
    /// be served. `wishes` are the operators' decisions on each group. `granter` grants the threads
    /// real-time scheduling.
    pub fn start(
        config: &Config,
        granter: Granter,
        inherited: &[Option<Boottime>],
        wishes: ByGroup<Wish>,
        (commands, inbox): (Post<ResourceCommand>, Inbox),
        ends: Ends<impl FnMut(ResourceEvent) + Send + 'static>,
    ) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let held = address::open(config.served(), &mut netlink)?;
        let groups = config.served_groups().iter().zip(inherited).zip(wishes);
        let groups = groups.map(|((group, inherited), wish)| Run {
            maintained: wish.maintained,
            enabled: wish.enabled,
            ..Run::new(group, inherited.is_some())
        });
        // The priority is just below that of the pulse, which has already logged a refusal.
        let priority = config.realtime_priority;
        let priority = priority.map(|priority| priority.saturating_sub(1).max(1));
        let reservation = realtime::of_resource_manager(config.interval);
        let address_watch = Watcher::start(
            commands.clone(),
            &addresses(&held),
            priority,
            granter.clone(),
        )
        .inspect_err(|error| {
            log::error!("removed addresses are put back late, at the next monitor: {error:#}");
        })
        .ok();
        let mut body = Body {
            address_watch,
            netlink,
            held,
            groups: groups.collect(),
            ends,
            effects: VecDeque::new(),
            scratch: Vec::new(),
            number: 0,
        };
        let thread = std::thread::Builder::new()
            .name("resources".to_owned())
            .spawn(move || {
                if let Some(priority) = priority {
                    granter.ask(reservation, priority);
                }
                drop(granter);
                body.run(&inbox.0);
            })
            .context("could not start the resource manager")?;
        Ok(Self { commands, thread })
    }

    /// Returns a sender of commands.
    pub fn commands(&self) -> Post<ResourceCommand> {
        self.commands.clone()
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Removes all addresses and waits for the end of the thread. The pulse must have stopped
    /// before, so that no command follows.
    pub fn stop(self) {
        self.end(ResourceCommand::Quit);
    }

    /// Leaves everything in place for the next agent, and waits for the end of the thread.
    pub fn leave(self) {
        self.end(ResourceCommand::Leave);
    }

    fn end(self, command: ResourceCommand) {
        // A thread that has ended is joined at once.
        self.commands.send(command);
        if self.thread.join().is_err() {
            log::error!(
                "the resource manager had panicked: see whether any address was left behind"
            );
        }
    }
}

/// The time limit for an address: the network configuration answers at once, or not at all.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// The time between two monitors of an address.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(10);

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

/// Returns the plan of an address.
pub fn address_plan(resource: &Resource) -> ResourcePlan {
    let interval = resource.monitor_interval.unwrap_or(ADDRESS_INTERVAL);
    ResourcePlan {
        start_timeout: ADDRESS_TIMEOUT,
        stop_timeout: ADDRESS_TIMEOUT,
        monitor_timeout: ADDRESS_TIMEOUT,
        monitor_interval: Some(interval).filter(|interval| !interval.is_zero()),
        migration_threshold: NonZeroU32::new(resource.migration_threshold),
        failure_timeout: resource.failure_timeout,
    }
}

/// The operators' decisions on a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The group is in maintenance mode.
    pub maintained: bool,
    /// Whether each resource may run.
    pub enabled: IndexVec<ResourceIndex, bool>,
}

/// The executor of a resource's actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// This thread, for the address with this index.
    Address(VipIndex),
    Other,
}

impl Kind {
    fn of(resource: &Resource) -> Self {
        match resource.kind {
            ResourceKind::Vip(vip) => Self::Address(vip),
            _ => Self::Other,
        }
    }
}

/// One group.
struct Run {
    resources: IndexVec<ResourceIndex, Arc<Resource>>,
    /// The state machine of the group, once the plans of its resources are known.
    engine: Option<GroupRun>,
    kinds: IndexVec<ResourceIndex, Kind>,
    /// The last message of each resource.
    messages: IndexVec<ResourceIndex, LastMessage>,
    /// The number of the pending action of each resource, if an executor carries it out.
    pending: IndexVec<ResourceIndex, Option<u64>>,
    /// The last reported state of each resource.
    reported: IndexVec<ResourceIndex, (ResourceState, u32)>,
    watched: IndexVec<ResourceIndex, bool>,
    /// The operators' decisions on the resources.
    enabled: IndexVec<ResourceIndex, bool>,
    maintained: bool,
    /// The configuration no longer has the group.
    removed: bool,
    /// The group should run here: this node holds the lease, or an earlier run of this node still
    /// does.
    wanted: bool,
    /// The pulse waits for the report that the group has stopped.
    stop_owed: bool,
    /// The changed group that follows once this one has stopped.
    next: Option<Group>,
    timeline: AcquisitionTimeline,
    /// The time at which the last command was decided.
    decided: Boottime,
}

impl Run {
    fn new(group: &Group, wanted: bool) -> Self {
        let count = group.resources.len();
        Self {
            kinds: group.resources.iter().map(Kind::of).collect(),
            resources: group.resources.iter().cloned().map(Arc::new).collect(),
            engine: None,
            messages: vec![LastMessage::default(); count].into(),
            pending: vec![None; count].into(),
            reported: vec![(ResourceState::Unknown, 0); count].into(),
            watched: vec![false; count].into(),
            enabled: vec![true; count].into(),
            maintained: false,
            removed: group.is_removed(),
            wanted,
            stop_owed: false,
            next: None,
            timeline: AcquisitionTimeline::default(),
            decided: Boottime::default(),
        }
    }
}

/// The last message about a resource, with its action: a failure is never reported with the message
/// of another action.
#[derive(Clone, Debug, Default)]
struct LastMessage {
    /// `None` if a process ended by itself.
    action: Option<Action>,
    text: String,
}

impl LastMessage {
    /// Returns the message for an action with this outcome.
    fn of(&self, action: Action, outcome: Outcome) -> String {
        let wanted = (outcome != Outcome::Died).then_some(action);
        match self.action == wanted {
            true => self.text.clone(),
            false => String::new(),
        }
    }
}

/// Returns all addresses that may be served here.
fn addresses(held: &[Held]) -> Vec<IpAddr> {
    held.iter().map(|held| held.vip.address.address).collect()
}

struct Body<R> {
    /// The watch for changes of addresses, which runs as long as this thread.
    address_watch: Option<Watcher>,
    netlink: Netlink,
    held: IndexVec<VipIndex, Held>,
    groups: ByGroup<Run>,
    ends: Ends<R>,
    effects: VecDeque<(GroupIndex, Effect)>,
    scratch: Vec<Effect>,
    /// The number of the last [`ActionRequest::Act`].
    number: u64,
}

impl<R: FnMut(ResourceEvent)> Body<R> {
    fn run(&mut self, inbox: &Mailbox<ResourceCommand>) {
        self.reassert();
        for group in self.groups.indices() {
            self.prepare(group);
        }
        self.carry_out();
        let mut commands = VecDeque::new();
        loop {
            match commands.pop_front() {
                Some(ResourceCommand::Leave) => return,
                Some(ResourceCommand::Quit) => break,
                Some(command) => self.handle(command),
                None => {
                    let due = self.due_at();
                    let patience = due.map_or(IDLE, |at| at.since(clock::now()));
                    inbox.wait(patience);
                    inbox.take(&mut commands);
                    if !commands.is_empty() {
                        continue;
                    }
                    self.do_what_is_due();
                }
            }
            self.carry_out();
        }
        // From here on no removed address may be added again.
        self.address_watch = None;
        let now = clock::now();
        for vip in self.held.indices() {
            if self.held[vip].is_held()
                && let Err(message) = self.remove(vip, now)
            {
                self.report_vip(vip, VipEvent::Failed { message });
            }
        }
    }

    fn due_at(&self) -> Option<Boottime> {
        let held = self.held.iter().filter_map(Held::due_at);
        let engines = self.groups.iter().filter_map(|run| run.engine.as_ref());
        held.chain(engines.filter_map(GroupRun::next_deadline))
            .min()
    }

    fn handle(&mut self, command: ResourceCommand) {
        let now = clock::now();
        match command {
            ResourceCommand::Begin { group, plans } => self.begin(group, plans, now),
            ResourceCommand::Start {
                group,
                timeline,
                decided,
            } => {
                let run = &mut self.groups[group];
                (run.timeline, run.decided) = (timeline, decided);
                run.wanted = true;
                // An address that has not stopped since this node last held the group may have been
                // announced by another node meanwhile.
                self.each_address(group, Held::reassert);
                self.drive(group, |engine, out| engine.start(now, out));
            }
            ResourceCommand::Stop { group, decided } => {
                let run = &mut self.groups[group];
                run.decided = decided;
                run.wanted = false;
                run.stop_owed = true;
                self.each_address(group, |held, _| held.end_announcements());
                self.drive(group, |engine, out| engine.stop(now, out));
            }
            ResourceCommand::Done {
                reference,
                number,
                action,
                outcome,
                message,
            } => {
                // A result with another number is stale: the action was cancelled, or the group has
                // changed.
                let pending = self.groups[reference.group].pending.get(reference.resource);
                if pending == Some(&Some(number)) {
                    self.done(reference, action, outcome, message);
                }
            }
            ResourceCommand::Ended {
                reference: ResourceRef { group, resource },
                message,
            } => {
                if let Some(last) = self.groups[group].messages.get_mut(resource) {
                    *last = LastMessage {
                        action: None,
                        text: message,
                    };
                }
                self.drive(group, |engine, out| engine.died(resource, now, out));
            }
            ResourceCommand::Cleanup { group, resource } => {
                // The index belongs to the changed group that is to follow. Any resource of the
                // present one must make way.
                let resource = resource.filter(|_| self.groups[group].next.is_none());
                self.drive(group, |engine, out| engine.cleanup(resource, now, out));
            }
            ResourceCommand::Maintain { group, on } => {
                self.groups[group].maintained = on;
                self.drive(group, |engine, out| engine.maintain(on, now, out));
            }
            ResourceCommand::Enable {
                reference: ResourceRef { group, resource },
                enabled,
            } => {
                if let Some(kept) = self.groups[group].enabled.get_mut(resource) {
                    *kept = enabled;
                }
                self.drive(group, |engine, out| {
                    engine.enable(resource, enabled, now, out);
                });
            }
            ResourceCommand::Restart {
                reference: ResourceRef { group, resource },
            } => self.drive(group, |engine, out| engine.restart(resource, now, out)),
            ResourceCommand::Replan { vips, groups } => self.replan(&vips, groups),
            ResourceCommand::Follow { interface } => self.follow(&interface),
            ResourceCommand::Vacate { interface, arrived } => self.vacate(&interface, arrived),
            ResourceCommand::Changed(changes) => self.changed(&changes),
            ResourceCommand::Claimed(claim) => self.claimed(&claim),
            ResourceCommand::Reassert => self.reassert(),
            ResourceCommand::Quit | ResourceCommand::Leave => {}
        }
    }

    /// Applies `act` to each address of a group.
    fn each_address(&mut self, group: GroupIndex, act: impl Fn(&mut Held, &mut Netlink)) {
        for kind in &self.groups[group].kinds {
            if let Kind::Address(vip) = kind {
                act(&mut self.held[*vip], &mut self.netlink);
            }
        }
    }

    /// Obtains the plans of a group's resources, and begins.
    fn prepare(&mut self, group: GroupIndex) {
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

    fn begin(
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

    /// Runs the state machine of a group, if it exists yet. [`Body::carry_out`] carries out the
    /// effects.
    fn drive(&mut self, group: GroupIndex, act: impl FnOnce(&mut GroupRun, &mut Vec<Effect>)) {
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

    fn done(&mut self, reference: ResourceRef, action: Action, outcome: Outcome, message: String) {
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

    fn carry_out(&mut self) {
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
    fn report_group(&mut self, group: GroupIndex, state: GroupState) {
        let note = Note::State(state);
        self.ends.directives.send(Directive::Note { group, note });
        (self.ends.report)(ResourceEvent::Group { group, state });
    }

    /// Reports an event of an address to the control task.
    fn report_vip(&mut self, vip: VipIndex, event: VipEvent) {
        (self.ends.report)(ResourceEvent::Vip { vip, event });
    }

    /// Handles the complete stop of a group.
    fn stopped(&mut self, group: GroupIndex) {
        if let Some(next) = self.groups[group].next.take() {
            let stop_owed = self.groups[group].stop_owed;
            self.replace(group, &next);
            if !stop_owed {
                return;
            }
        }
        self.report_stopped(group);
    }

    /// Replaces a group that runs nothing here by its changed form, without its failures.
    fn replace(&mut self, group: GroupIndex, next: &Group) {
        let old = &self.groups[group];
        let was_fit = old.engine.as_ref().is_none_or(GroupRun::is_fit);
        let was_blocked = old.engine.as_ref().is_some_and(GroupRun::is_blocked);
        self.groups[group] = Run {
            maintained: old.maintained,
            timeline: old.timeline,
            decided: old.decided,
            ..Run::new(next, old.wanted)
        };
        if !was_fit {
            self.report_group(group, GroupState::Fit);
        }
        if was_blocked {
            self.report_group(group, GroupState::Unblocked);
        }
        self.prepare(group);
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

    fn act(&mut self, reference: ResourceRef, action: Action, timeout: Duration) {
        let kind = self.groups[reference.group].kinds[reference.resource];
        let Kind::Address(vip) = kind else {
            self.number += 1;
            let number = self.number;
            let run = &mut self.groups[reference.group];
            run.pending[reference.resource] = Some(number);
            let resource = Arc::clone(&run.resources[reference.resource]);
            let _ = self.ends.work.send(ActionRequest::Act {
                reference,
                number,
                resource,
                action,
                timeout,
            });
            return;
        };
        let run = &self.groups[reference.group];
        let (timeline, decided) = (run.timeline, run.decided);
        let result = match action {
            Action::Start => self.add(vip, timeline, decided),
            Action::Stop => self.remove(vip, decided),
            Action::Probe if run.wanted => self.held[vip].adopt(&mut self.netlink),
            Action::Monitor if run.wanted => self.monitor(vip),
            Action::Probe | Action::Monitor => self.held[vip].observe(&mut self.netlink),
        };
        match result {
            Ok(outcome) => self.done(reference, action, outcome, String::new()),
            Err(message) => {
                let failed = VipEvent::Failed {
                    message: message.clone(),
                };
                self.report_vip(vip, failed);
                // The stop has not ended before the address is removed. Its guard is closed, so the
                // retries do no harm.
                if action != Action::Stop {
                    let outcome = Outcome::Exited(ExitCode::GENERIC_ERROR);
                    self.done(reference, action, outcome, message);
                }
            }
        }
    }

    fn cancel(&mut self, reference: ResourceRef) {
        self.groups[reference.group].pending[reference.resource] = None;
        let _ = self.ends.work.send(ActionRequest::Cancel { reference });
    }

    fn add(
        &mut self,
        vip: VipIndex,
        timeline: AcquisitionTimeline,
        decided: Boottime,
    ) -> Result<Outcome, String> {
        let ours = addresses(&self.held);
        let added = self.held[vip].add(&ours, &mut self.netlink);
        let added = added.map_err(|error| format!("{error:#}"))?;
        let takeover = VipEvent::Takeover {
            timeline,
            decided_ns: decided.as_nanos(),
            address_ns: added.address.as_nanos(),
            announced_ns: added.announced.as_nanos(),
        };
        self.report_vip(vip, takeover);
        Ok(Outcome::OK)
    }

    fn remove(&mut self, vip: VipIndex, decided: Boottime) -> Result<Outcome, String> {
        match self.held[vip].remove(&mut self.netlink) {
            Ok(was_there) => {
                if was_there {
                    let release = VipEvent::Release {
                        decided_ns: decided.as_nanos(),
                        address_ns: clock::now().as_nanos(),
                    };
                    self.report_vip(vip, release);
                }
                Ok(Outcome::OK)
            }
            Err(error) => Err(format!("{error:#}; trying again")),
        }
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

    /// Stops changed groups in their old form, and starts them in the new one.
    fn replan(&mut self, vips: &IndexVec<VipIndex, Vip>, groups: ByGroup<Group>) {
        let ours: Vec<IpAddr> = vips.iter().map(|vip| vip.address.address).collect();
        for vip in vips.iter().skip(self.held.len()) {
            match Held::new(vip, &ours, &mut self.netlink) {
                Ok(held) => self.held.push(held),
                Err(error) => {
                    // The interface existed a moment ago.
                    log::error!(
                        "vip {}: {error:#}; the rest of the change is not applied",
                        vip.name
                    );
                    return;
                }
            }
        }
        if let Some(address_watch) = &self.address_watch {
            address_watch.listen_for(&addresses(&self.held));
        }
        for (index, group) in groups.into_iter_enumerated() {
            let Some(run) = self.groups.get_mut(index) else {
                self.groups.push(Run::new(&group, false));
                self.prepare(index);
                continue;
            };
            let resources = run.resources.iter().zip(&group.resources);
            let same_length = run.resources.len() == group.resources.len();
            let comes_back = std::mem::replace(&mut run.removed, group.is_removed());
            if group.is_removed() {
                // A removed group stops in its old form.
            } else if !comes_back
                && same_length
                && resources.clone().all(|(old, new)| old.is_same(new))
            {
                if resources.clone().any(|(old, new)| **old != *new) {
                    run.resources = group.resources.into_iter().map(Arc::new).collect();
                    self.prepare(index);
                }
            } else {
                let untouched = run.engine.as_ref().is_some_and(GroupRun::is_untouched);
                run.next = Some(group);
                let now = clock::now();
                match run.engine {
                    Some(_) if untouched => self.stopped(index),
                    Some(_) => self.drive(index, |engine, out| engine.stop(now, out)),
                    // Nothing has been probed yet: the group begins in its new form.
                    None => {
                        if let Some(next) = run.next.take() {
                            let (wanted, stop_owed) = (run.wanted, run.stop_owed);
                            *run = Run {
                                stop_owed,
                                ..Run::new(&next, wanted)
                            };
                            self.prepare(index);
                        }
                    }
                }
            }
        }
    }

    fn reassert(&mut self) {
        for group in self.groups.indices() {
            // The guard of a stopping group is closed, and drops announcements.
            match &self.groups[group] {
                run if !run.wanted => {}
                run if run.maintained => self.each_address(group, Held::announce_if_present),
                _ => self.each_address(group, Held::reassert),
            }
        }
        self.do_what_is_due();
    }

    /// Switches to the interface that has this name now, and adds the served addresses there.
    fn follow(&mut self, interface: &str) {
        let ours = addresses(&self.held);
        for group in self.groups.indices() {
            for resource in self.groups[group].kinds.indices() {
                let Kind::Address(vip) = self.groups[group].kinds[resource] else {
                    continue;
                };
                if self.held[vip].vip.interface != interface {
                    continue;
                }
                let lacked = self.held[vip].lacked();
                if let Err(error) = self.held[vip].follow(&ours, &mut self.netlink) {
                    log::error!("vip {}: {error:#}", self.held[vip].vip.name);
                }
                if lacked {
                    // The missing interface was the only cause of the failure.
                    let now = clock::now();
                    let resource = Some(resource);
                    self.drive(group, |engine, out| engine.cleanup(resource, now, out));
                }
            }
        }
        self.do_what_is_due();
    }

    fn do_what_is_due(&mut self) {
        let now = clock::now();
        for vip in self.held.indices() {
            self.held[vip].poll(now, &mut self.netlink);
            if self.held[vip].must_retry(now) {
                self.retry(vip);
            }
            if self.held[vip].must_restore(now) {
                self.held[vip].restore_at = None;
                self.settle(vip);
                self.remove_stray(vip);
            }
        }
        for group in self.groups.indices() {
            let engine = self.groups[group].engine.as_ref();
            let due = engine.and_then(GroupRun::next_deadline);
            if due.is_some_and(|at| at <= now) {
                self.drive(group, |engine, out| engine.wake(now, out));
            }
        }
    }

    /// Returns the resource of an address.
    fn resource_of(&self, vip: VipIndex) -> Option<ResourceRef> {
        let address = Kind::Address(vip);
        self.groups.iter_enumerated().find_map(|(group, run)| {
            let resource = run.kinds.position(|kind| *kind == address)?;
            Some(ResourceRef { group, resource })
        })
    }

    /// Tries once more to remove an address.
    fn retry(&mut self, vip: VipIndex) {
        let Some(reference) = self.resource_of(vip) else {
            return;
        };
        let decided = self.groups[reference.group].decided;
        match self.remove(vip, decided) {
            Ok(outcome) => self.done(reference, Action::Stop, outcome, String::new()),
            Err(message) => self.report_vip(vip, VipEvent::Failed { message }),
        }
    }
}
