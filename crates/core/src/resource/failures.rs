//! The failures of a resource on this node: their number, their duration, and their consequence.

use std::{num::NonZeroU32, time::Duration};

use heartbeat_common::time::Boottime;

use super::ResourcePlan;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    count: u32,
    /// The time of the last failure.
    last: Boottime,
    /// This node must not have the group as long as the failures count.
    barred: bool,
}

impl Failures {
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) const fn is_barred(&self) -> bool {
        self.barred
    }

    /// Adds one failure. `fatal`: another attempt on this node is useless.
    pub(super) fn add(&mut self, fatal: bool, plan: &ResourcePlan, now: Boottime) {
        if self.end(plan.failure_timeout).is_some_and(|end| end <= now) {
            self.forget();
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
        let too_many = |threshold: NonZeroU32| self.count >= threshold.get();
        self.barred |= fatal || plan.migration_threshold.is_some_and(too_many);
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The time at which the failures are forgotten.
    pub(super) fn end(&self, timeout: Option<Duration>) -> Option<Boottime> {
        let timeout = timeout.filter(|_| self.count > 0)?;
        Some(self.last.after(timeout))
    }
}
