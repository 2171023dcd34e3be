//! Announces the served addresses anew, and follows interfaces that were replaced.

use super::EventLoop;
use crate::{
    clock,
    messages::ResourceEvent,
    resource_manager::{
        address::{Held, addresses},
        run::Kind,
    },
};

impl<R: FnMut(ResourceEvent)> EventLoop<R> {
    pub(super) fn reassert(&mut self) {
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
    pub(super) fn follow(&mut self, interface: &str) {
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
}
