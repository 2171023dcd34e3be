//! The actions on resources: on addresses by this thread, on all others by the executors.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use heartbeat_common::time::Boottime;
use heartbeat_core::{
    group::AcquisitionTimeline,
    index::VipIndex,
    resource::{Action, ExitCode, Outcome},
};

use super::EventLoop;
use crate::{
    clock,
    control::protocol::VipEvent,
    messages::{ActionRequest, ResourceEvent, ResourceRef},
    resource_manager::{address::addresses, run::Kind},
};

impl<R: FnMut(ResourceEvent)> EventLoop<R> {
    /// Reports an event of an address to the control task.
    pub(super) fn report_vip(&mut self, vip: VipIndex, event: VipEvent) {
        (self.ends.report)(ResourceEvent::Vip { vip, event });
    }

    pub(super) fn act(&mut self, reference: ResourceRef, action: Action, timeout: Duration) {
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

    pub(super) fn cancel(&mut self, reference: ResourceRef) {
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

    pub(super) fn remove(&mut self, vip: VipIndex, decided: Boottime) -> Result<Outcome, String> {
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

    /// Tries once more to remove an address.
    pub(super) fn retry(&mut self, vip: VipIndex) {
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
