//! The threads of the agent beside the tokio runtime, the hand-over of what they serve, and their
//! end.

use std::{thread, time::Duration};

use anyhow::Result;
use heartbeat_common::time::Boottime;
use heartbeat_core::cluster::Intent;

use crate::{
    clock,
    config::Config,
    dataplane::Dataplane,
    interface_monitor::{Ends, InterfaceMonitor},
    messages::{Directive, InterfaceEvent},
    pulse::Pulse,
    resource_manager::ResourceManager,
};

/// The threads of the agent beside the tokio runtime.
pub(super) struct Threads {
    pub(super) monitor: InterfaceMonitor,
    pub(super) pulse: Pulse,
    pub(super) manager: ResourceManager,
}

/// The longest hand-over at a stop, beside the stop timeouts of the resources.
const DRAIN: Duration = Duration::from_secs(2);

impl Threads {
    /// Starts the interface monitor. If that fails, the other threads end.
    pub(super) fn with_monitor(
        config: &Config,
        dataplane: &Dataplane,
        (pulse, manager): (Pulse, ResourceManager),
        ends: Ends<impl FnMut(InterfaceEvent) + Send + 'static>,
    ) -> Result<Self> {
        match InterfaceMonitor::start(config, dataplane, pulse.bound.clone(), ends) {
            Ok(monitor) => Ok(Self {
                monitor,
                pulse,
                manager,
            }),
            Err(error) => {
                pulse.stop();
                manager.stop();
                Err(error)
            }
        }
    }

    /// Begins to hand over the served groups. Returns the deadline for groups that may never begin
    /// to stop.
    pub(super) fn drain(&self) -> Boottime {
        self.pulse
            .directives()
            .send(Directive::Intend(Intent::Drain));
        clock::now().after(DRAIN + self.pulse.stats.stop_timeout())
    }

    /// Returns whether all served groups have stopped, as far as they can.
    ///
    /// The wait for a group that is stopping has no limit: the lease ends with this agent, and
    /// another node would start a group that may still run here.
    pub(super) fn is_drained(&self, until: Boottime) -> bool {
        let stats = &self.pulse.stats;
        let in_vain = clock::now() >= until && stats.stopping().next().is_none();
        stats.has_stopped() || in_vain || !self.pulse.is_running()
    }

    /// Hands over and stops the groups that are still served, then removes all addresses. The pulse
    /// ends before the resource manager, because only the pulse commands the manager.
    ///
    /// A thread that blocks in this function shows the pulse no progress. After `agent_stall` the
    /// pulse then gives up all groups that have not stopped yet, so callers drain first. A failing
    /// agent that cannot drain waits here for the longest stop timeout, and no longer.
    pub(super) fn stop(self) {
        let until = self.drain();
        while !self.is_drained(until) && clock::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        self.monitor.stop();
        self.pulse.stop();
        self.manager.stop();
    }
}
