//! Runs what this node serves: one thread that drives the resources of all groups.
//!
//! It moves addresses itself, so that neither the pulse waits for the kernel's network
//! configuration nor an address for a busy tokio. All other resources it leaves to those who may
//! wait: it says what is to be done ([`ActionRequest`]) and is told what became of it. What is next
//! is decided by the core.

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
    messages::{ActionRequest, Directive, Part, ResourceCommand, ResourceEvent},
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

/// How long to wait when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// The running thread.
#[derive(Debug)]
pub struct ResourceManager {
    commands: Post<ResourceCommand>,
    thread: JoinHandle<()>,
}

/// Where the resource manager's words go.
#[derive(Debug)]
pub struct Ends<R> {
    pub directives: Directives,
    pub work: UnboundedSender<ActionRequest>,
    /// Called on the resource manager's thread: it must not block.
    pub report: R,
}

/// A way to send commands, to be had before the resource manager is.
#[derive(Debug)]
pub struct Inbox(Mailbox<ResourceCommand>);

pub fn inbox() -> Result<(Post<ResourceCommand>, Inbox)> {
    let (commands, mailbox) = mailbox()?;
    Ok((commands, Inbox(mailbox)))
}

impl ResourceManager {
    /// Starts with the groups that an earlier run was granted and that may still be served
    /// (`inherited`, one for each group), and with what operators want of them (`wishes`, the
    /// same). `granter` makes its threads real-time ones.
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
        // Just behind the pulse. If it is refused the pulse has said so already.
        let priority = config.realtime_priority;
        let priority = priority.map(|priority| priority.saturating_sub(1).max(1));
        let reservation = realtime::of_conductor(config.interval);
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
            .context("could not start the thread that runs the resources")?;
        Ok(Self { commands, thread })
    }

    /// A handle for those who decide.
    pub fn commands(&self) -> Post<ResourceCommand> {
        self.commands.clone()
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Removes all addresses and waits. The pulse must have been stopped before, so that no order
    /// comes after.
    pub fn stop(self) {
        self.end(ResourceCommand::Quit);
    }

    /// Leaves all as it is for the next agent, and waits for the end.
    pub fn leave(self) {
        self.end(ResourceCommand::Leave);
    }

    fn end(self, command: ResourceCommand) {
        // If the thread has ended it is joined at once.
        self.commands.send(command);
        if self.thread.join().is_err() {
            log::error!(
                "the resource manager had panicked: see whether any address was left behind"
            );
        }
    }
}

/// What an address may take: the network configuration answers at once, or not at all.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at an address.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(10);

/// What there is to say of how a resource came to a state: that its program had to be killed.
fn note(resource: &Resource, words: &Words, state: ResourceState) -> String {
    let is_service = matches!(resource.kind, ResourceKind::Exec(Exec::Service { .. }));
    match state == ResourceState::Stopped && is_service {
        true => words.of(Action::Stop, Outcome::OK),
        false => String::new(),
    }
}

/// Whether a resource in this state has something to do.
fn begins(state: ResourceState) -> bool {
    matches!(state, ResourceState::Starting | ResourceState::Stopping)
}

/// How an address is to be handled.
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

/// What operators want of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// It is left alone.
    pub maintained: bool,
    /// Of each resource, whether it may run.
    pub enabled: IndexVec<ResourceIndex, bool>,
}

/// Who carries a resource's actions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// We: the address with this index.
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
    /// Once it is known how its resources are to be handled.
    engine: Option<GroupRun>,
    kinds: IndexVec<ResourceIndex, Kind>,
    /// What was said last of each resource.
    words: IndexVec<ResourceIndex, Words>,
    /// The number of the action that each waits for, if others carry it out.
    asked: IndexVec<ResourceIndex, Option<u64>>,
    /// What was told of each resource.
    shown: IndexVec<ResourceIndex, (ResourceState, u32)>,
    watched: IndexVec<ResourceIndex, bool>,
    /// What the operator wants of it.
    enabled: IndexVec<ResourceIndex, bool>,
    maintained: bool,
    /// The configuration does not have it any more.
    removed: bool,
    /// It is to be served here: the lease is ours, or an earlier run of this node still has it.
    wanted: bool,
    /// The pulse waits to hear that it has stopped.
    stop_owed: bool,
    /// What comes in its place once it has stopped.
    next: Option<Group>,
    timeline: AcquisitionTimeline,
    /// When the last command was decided.
    decided: Boottime,
}

impl Run {
    fn new(group: &Group, wanted: bool) -> Self {
        let count = group.resources.len();
        Self {
            kinds: group.resources.iter().map(Kind::of).collect(),
            resources: group.resources.iter().cloned().map(Arc::new).collect(),
            engine: None,
            words: vec![Words::default(); count].into(),
            asked: vec![None; count].into(),
            shown: vec![(ResourceState::Unknown, 0); count].into(),
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

/// What was said last of a resource, and of what: a failure is never told in the words of another
/// action.
#[derive(Clone, Debug, Default)]
struct Words {
    /// `None` of a process that ended.
    action: Option<Action>,
    text: String,
}

impl Words {
    /// What there is to say of an action that came to this outcome.
    fn of(&self, action: Action, outcome: Outcome) -> String {
        let wanted = (outcome != Outcome::Died).then_some(action);
        match self.action == wanted {
            true => self.text.clone(),
            false => String::new(),
        }
    }
}

/// All addresses that may be served here.
fn addresses(held: &[Held]) -> Vec<IpAddr> {
    held.iter().map(|held| held.vip.address.address).collect()
}

struct Body<R> {
    /// What happens to the addresses is heard by this for as long as the thread runs.
    address_watch: Option<Watcher>,
    netlink: Netlink,
    held: IndexVec<VipIndex, Held>,
    groups: ByGroup<Run>,
    ends: Ends<R>,
    effects: VecDeque<(GroupIndex, Effect)>,
    scratch: Vec<Effect>,
    /// Of the last [`ActionRequest::Act`].
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
                Some(command) => self.obey(command),
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
        // Nothing that is removed from here on comes back.
        self.address_watch = None;
        let now = clock::now();
        for vip in self.held.indices() {
            if self.held[vip].is_held()
                && let Err(message) = self.remove(vip, now)
            {
                self.tell(vip, VipEvent::Failed { message });
            }
        }
    }

    fn due_at(&self) -> Option<Boottime> {
        let held = self.held.iter().filter_map(Held::due_at);
        let engines = self.groups.iter().filter_map(|run| run.engine.as_ref());
        held.chain(engines.filter_map(GroupRun::next_deadline))
            .min()
    }

    fn obey(&mut self, command: ResourceCommand) {
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
                // What has not stopped yet since the group was here before may have been announced
                // elsewhere.
                self.each_address(group, Held::reassert);
                self.drive(group, |engine, out| engine.start(now, out));
            }
            ResourceCommand::Stop { group, decided } => {
                let run = &mut self.groups[group];
                run.decided = decided;
                run.wanted = false;
                run.stop_owed = true;
                self.each_address(group, |held, _| held.hush());
                self.drive(group, |engine, out| engine.stop(now, out));
            }
            ResourceCommand::Done {
                part,
                number,
                action,
                outcome,
                message,
            } => {
                // Another is not waited for any more: it was cancelled, or the group has changed.
                let asked = self.groups[part.group].asked.get(part.resource);
                if asked == Some(&Some(number)) {
                    self.done(part, action, outcome, message);
                }
            }
            ResourceCommand::Ended {
                part: Part { group, resource },
                message,
            } => {
                if let Some(words) = self.groups[group].words.get_mut(resource) {
                    *words = Words {
                        action: None,
                        text: message,
                    };
                }
                self.drive(group, |engine, out| engine.died(resource, now, out));
            }
            ResourceCommand::Cleanup { group, resource } => {
                // The number is that in what is to come in its place: whichever it was, it is to
                // make way.
                let resource = resource.filter(|_| self.groups[group].next.is_none());
                self.drive(group, |engine, out| engine.cleanup(resource, now, out));
            }
            ResourceCommand::Maintain { group, on } => {
                self.groups[group].maintained = on;
                self.drive(group, |engine, out| engine.maintain(on, now, out));
            }
            ResourceCommand::Enable {
                part: Part { group, resource },
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
                part: Part { group, resource },
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

    /// Does something to each address of a group.
    fn each_address(&mut self, group: GroupIndex, act: impl Fn(&mut Held, &mut Netlink)) {
        for kind in &self.groups[group].kinds {
            if let Kind::Address(vip) = kind {
                act(&mut self.held[*vip], &mut self.netlink);
            }
        }
    }

    /// Finds out how a group's resources are to be handled, and begins.
    fn prepare(&mut self, group: GroupIndex) {
        let run = &self.groups[group];
        if run.kinds.contains(&Kind::Other) {
            let resources = run.resources.clone();
            // It fails only when the agent ends.
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
            // It was asked for before the group changed.
            return;
        }
        let note = Note::StopTimeout(plans.iter().map(|plan| plan.stop_timeout).sum());
        self.ends.directives.tell(Directive::Note { group, note });
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

    /// Lets the engine of a group think, if there is one yet; what follows is done by
    /// [`Body::carry_out`].
    fn drive(&mut self, group: GroupIndex, think: impl FnOnce(&mut GroupRun, &mut Vec<Effect>)) {
        if let Some(engine) = &mut self.groups[group].engine {
            think(engine, &mut self.scratch);
            self.note_effects(group);
        }
    }

    fn note_effects(&mut self, group: GroupIndex) {
        self.effects
            .extend(self.scratch.drain(..).map(|effect| (group, effect)));
        self.show(group);
    }

    fn done(&mut self, part: Part, action: Action, outcome: Outcome, message: String) {
        let Part { group, resource } = part;
        // What was asked for before the group changed has no place any more.
        let Some(words) = self.groups[group].words.get_mut(resource) else {
            return;
        };
        *words = Words {
            action: Some(action),
            text: message,
        };
        if outcome != Outcome::Lingers {
            self.groups[group].asked[resource] = None;
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
                let part = Part { group, resource };
                self.act(part, action, timeout);
            }
            Effect::Cancel { resource } => self.cancel(Part { group, resource }),
            Effect::Failed(failure) => {
                let part = Part {
                    group,
                    resource: failure.resource,
                };
                let run = &self.groups[group];
                let message = run.words[failure.resource].of(failure.action, failure.outcome);
                (self.ends.report)(ResourceEvent::Failed {
                    part,
                    resource: run.resources[failure.resource].name.clone(),
                    action: failure.action,
                    outcome: failure.outcome,
                    at: failure.at,
                    message,
                });
            }
            Effect::State(GroupState::Stopped) => self.stopped(group),
            Effect::State(state) => self.say(group, state),
        }
    }

    /// Tells the pulse and the control task what becomes of a group.
    fn say(&mut self, group: GroupIndex, state: GroupState) {
        let note = Note::State(state);
        self.ends.directives.tell(Directive::Note { group, note });
        (self.ends.report)(ResourceEvent::Group { group, state });
    }

    /// Tells the control task what becomes of an address.
    fn tell(&mut self, vip: VipIndex, event: VipEvent) {
        (self.ends.report)(ResourceEvent::Vip { vip, event });
    }

    /// All of a group has stopped.
    fn stopped(&mut self, group: GroupIndex) {
        if let Some(next) = self.groups[group].next.take() {
            let stop_owed = self.groups[group].stop_owed;
            self.replace(group, &next);
            if !stop_owed {
                return;
            }
        }
        self.say_stopped(group);
    }

    /// A group that runs nothing here begins anew, with what it is now and a clean record.
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
            self.say(group, GroupState::Fit);
        }
        if was_blocked {
            self.say(group, GroupState::Unblocked);
        }
        self.prepare(group);
    }

    /// Not by way of the control task: it may hang, and the lease is to be given up then.
    fn say_stopped(&mut self, group: GroupIndex) {
        self.groups[group].stop_owed = false;
        self.ends.directives.tell(Directive::Stopped { group });
        (self.ends.report)(ResourceEvent::Group {
            group,
            state: GroupState::Stopped,
        });
    }

    fn act(&mut self, part: Part, action: Action, timeout: Duration) {
        let kind = self.groups[part.group].kinds[part.resource];
        let Kind::Address(vip) = kind else {
            self.number += 1;
            let number = self.number;
            let run = &mut self.groups[part.group];
            run.asked[part.resource] = Some(number);
            let resource = Arc::clone(&run.resources[part.resource]);
            let _ = self.ends.work.send(ActionRequest::Act {
                part,
                number,
                resource,
                action,
                timeout,
            });
            return;
        };
        let run = &self.groups[part.group];
        let (timeline, decided) = (run.timeline, run.decided);
        let result = match action {
            Action::Start => self.add(vip, timeline, decided),
            Action::Stop => self.remove(vip, decided),
            Action::Probe if run.wanted => self.held[vip].adopt(&mut self.netlink),
            Action::Monitor if run.wanted => self.monitor(vip),
            Action::Probe | Action::Monitor => self.held[vip].observe(&mut self.netlink),
        };
        match result {
            Ok(outcome) => self.done(part, action, outcome, String::new()),
            Err(message) => {
                let failed = VipEvent::Failed {
                    message: message.clone(),
                };
                self.tell(vip, failed);
                // Its guard is closed, so nobody is harmed while it is tried again: until it is
                // gone the stop has not ended.
                if action != Action::Stop {
                    let outcome = Outcome::Exited(ExitCode::GENERIC_ERROR);
                    self.done(part, action, outcome, message);
                }
            }
        }
    }

    fn cancel(&mut self, part: Part) {
        self.groups[part.group].asked[part.resource] = None;
        let _ = self.ends.work.send(ActionRequest::Cancel { part });
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
        self.tell(vip, takeover);
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
                    self.tell(vip, release);
                }
                Ok(Outcome::OK)
            }
            Err(error) => Err(format!("{error:#}; trying again")),
        }
    }

    /// Tells what changed of a group's resources, and has those watched that run.
    fn show(&mut self, group: GroupIndex) {
        let run = &mut self.groups[group];
        let Some(engine) = &run.engine else { return };
        // What has come to an end comes before what begins because of that: the event log tells it
        // in the order in which it happened.
        let (begun, ended): (Vec<_>, Vec<_>) = run
            .kinds
            .indices()
            .partition(|resource| begins(engine.state(*resource)));
        for resource in ended.into_iter().chain(begun) {
            let part = Part { group, resource };
            let state = engine.state(resource);
            let now = (state, engine.failures(resource));
            if std::mem::replace(&mut run.shown[resource], now) != now {
                let (state, failures) = now;
                (self.ends.report)(ResourceEvent::State {
                    part,
                    state,
                    failures,
                    note: note(&run.resources[resource], &run.words[resource], state),
                });
            }
            let watch = state == ResourceState::Started && run.kinds[resource] == Kind::Other;
            if std::mem::replace(&mut run.watched[resource], watch) != watch {
                let resource = watch.then(|| Arc::clone(&run.resources[resource]));
                let _ = self.ends.work.send(ActionRequest::Watch { part, resource });
            }
        }
    }

    /// What changed of a group is stopped as it was, and started as it is now.
    fn replan(&mut self, vips: &IndexVec<VipIndex, Vip>, groups: ByGroup<Group>) {
        let ours: Vec<IpAddr> = vips.iter().map(|vip| vip.address.address).collect();
        for vip in vips.iter().skip(self.held.len()) {
            match Held::new(vip, &ours, &mut self.netlink) {
                Ok(held) => self.held.push(held),
                Err(error) => {
                    // The interface was there a moment ago.
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
                // It is stopped as it is.
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
                    // Nothing was looked at yet: it begins with what is new.
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
            // The guard of one that is to stop is closed, and lets nothing out.
            match &self.groups[group] {
                run if !run.wanted => {}
                run if run.maintained => self.each_address(group, Held::recall),
                _ => self.each_address(group, Held::reassert),
            }
        }
        self.do_what_is_due();
    }

    /// Goes on with the interface that is called so now: puts back what is served there.
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
                    // It failed for want of the interface, and for nothing else.
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
                self.expel(vip);
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

    /// The resource that an address is.
    fn part_of(&self, vip: VipIndex) -> Option<Part> {
        let address = Kind::Address(vip);
        self.groups.iter_enumerated().find_map(|(group, run)| {
            let resource = run.kinds.position(|kind| *kind == address)?;
            Some(Part { group, resource })
        })
    }

    /// Tries once more to remove an address.
    fn retry(&mut self, vip: VipIndex) {
        let Some(part) = self.part_of(vip) else {
            return;
        };
        let decided = self.groups[part.group].decided;
        match self.remove(vip, decided) {
            Ok(outcome) => self.done(part, Action::Stop, outcome, String::new()),
            Err(message) => self.tell(vip, VipEvent::Failed { message }),
        }
    }
}
