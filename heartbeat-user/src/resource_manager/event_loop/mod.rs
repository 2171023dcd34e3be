//! The loop of the resource manager's thread. It carries out commands, and work whose time has
//! come: announcements, repairs, and the timeouts of groups.

mod actions;
mod effects;
mod interfaces;
mod replan;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{collections::VecDeque, time::Duration};

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    index::{GroupIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    resource::{Effect, GroupRun},
};

use super::{
    Ends,
    address::Held,
    address_watch::Watcher,
    run::{Kind, LastMessage, Run},
};
use crate::{
    clock,
    control::protocol::VipEvent,
    messages::{ResourceCommand, ResourceEvent, ResourceRef},
    net::Netlink,
    pulse::mailbox::Mailbox,
};

/// The longest wait for a command if no work has a time.
const IDLE: Duration = Duration::from_secs(3600);

pub(super) struct EventLoop<R> {
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

impl<R: FnMut(ResourceEvent)> EventLoop<R> {
    pub(super) fn new(
        address_watch: Option<Watcher>,
        netlink: Netlink,
        held: IndexVec<VipIndex, Held>,
        groups: ByGroup<Run>,
        ends: Ends<R>,
    ) -> Self {
        Self {
            address_watch,
            netlink,
            held,
            groups,
            ends,
            effects: VecDeque::new(),
            scratch: Vec::new(),
            number: 0,
        }
    }

    pub(super) fn run(&mut self, inbox: &Mailbox<ResourceCommand>) {
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
                // If the group was not stopped after a lapse of its lease, its addresses are still
                // on their interfaces. Another node may have announced them meanwhile.
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
                // While a changed group waits for the stop of the present one (`next`), the index
                // is that of a resource in the changed group. It may be another resource in the
                // present group, so all failures of the present group are forgotten.
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
}
