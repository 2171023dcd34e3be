//! Switches to a changed configuration. A changed group stops in its old form before it starts in
//! the new one.

use std::{net::IpAddr, sync::Arc};

use heartbeat_core::{
    index::{GroupIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    resource::{GroupRun, GroupState},
};

use super::EventLoop;
use crate::{
    clock,
    config::{Group, Vip},
    messages::ResourceEvent,
    resource_manager::{
        address::{Held, addresses},
        run::Run,
    },
};

impl<R: FnMut(ResourceEvent)> EventLoop<R> {
    /// Replaces a group that runs nothing here by its changed form, without its failures.
    pub(super) fn replace(&mut self, group: GroupIndex, next: &Group) {
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

    /// Stops changed groups in their old form, and starts them in the new one.
    pub(super) fn replan(&mut self, vips: &IndexVec<VipIndex, Vip>, groups: ByGroup<Group>) {
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
}
