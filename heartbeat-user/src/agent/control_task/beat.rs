//! The periodic work of the control task: it polls the sources that send no event, and reports to
//! the service manager.

use std::sync::atomic::Ordering::Relaxed;

use heartbeat_common::{time::Boottime, units::Short, verdict::Verdict};
use heartbeat_core::index::GroupIndex;

use super::ControlTask;
use crate::{
    agent::{graceful_restart, threads::Threads, view},
    clock, logging,
    pulse::GroupStats,
};

impl ControlTask<'_> {
    /// Logs the duration of the start, once the first probe has left.
    pub(super) fn log_start(&mut self, threads: &Threads, began: Boottime) {
        if let Some(took) = graceful_restart::start_took(threads, began) {
            self.starting = false;
            log::info!("sending heartbeats (start took {})", Short(took));
        }
    }

    /// Polls the sources that send no event.
    pub(super) fn beat(&mut self) {
        let now = clock::now();
        if let Some(kernel_log) = &mut self.kernel_log {
            kernel_log.flush();
        }
        logging::report_suppressed();
        {
            let view = view::lock(&self.view);
            self.exchange.poll(|peer| view.groups.known(peer));
        }
        for refused in self.refusals.check(&self.config, now) {
            self.note(now, refused);
        }
        self.check_outdated(now);
        let dataplane = &self.dataplane;
        self.strangers
            .check(now, || dataplane.count(Verdict::ForeignSocket));
        let name = |group: GroupIndex| self.config.groups[group].name.clone();
        self.overdue.check(now, &self.operator.stats, name);
        self.notify_supervisor(now);
    }

    /// Reports to the service manager that pulse and control task are alive.
    fn notify_supervisor(&mut self, now: Boottime) {
        let (stats, config) = (&self.operator.stats, &self.config);
        let status = || {
            let groups = config.served_groups().len();
            let serves = |group: &&GroupStats| group.open_until.load(Relaxed) > now.as_nanos();
            format!(
                "{} of {} nodes are up, {} of {groups} groups served here",
                stats.alive.load(Relaxed),
                config.nodes.len(),
                stats.groups.iter().take(groups).filter(serves).count(),
            )
        };
        self.supervisor.beat(now, stats.ticks.load(Relaxed), status);
    }
}
