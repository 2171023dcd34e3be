//! What the conductor is told, and what it tells.

use std::{sync::Arc, time::Duration};

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    group::AcquisitionTimeline,
    resource::{Action, GroupEvent, Outcome, ResourcePlan, ResourceState},
};

use crate::{
    config::{Group, Resource, Vip},
    net::{Changes, Claim},
};

/// A resource: index of its group, and its own in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub group: usize,
    pub resource: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// How the resources of a group are to be handled is known: look what runs.
    Begin {
        group: usize,
        plans: Vec<ResourcePlan>,
    },
    /// The lease is ours: serve.
    Start {
        group: usize,
        timeline: AcquisitionTimeline,
        decided: Boottime,
    },
    Stop {
        group: usize,
        decided: Boottime,
    },
    /// What became of a [`Work`].
    Done {
        part: Part,
        number: u64,
        action: Action,
        outcome: Outcome,
        message: String,
    },
    /// A process of a resource was seen to end.
    Ended {
        part: Part,
    },
    /// Forget the failures of a resource, or of all in the group, and look anew.
    Cleanup {
        group: usize,
        resource: Option<usize>,
    },
    Maintain {
        group: usize,
        on: bool,
    },
    Enable {
        part: Part,
        enabled: bool,
    },
    Restart {
        part: Part,
    },
    /// The configuration has changed: all addresses and groups, those that there were in their places.
    Replan {
        vips: Vec<Vip>,
        groups: Vec<Group>,
    },
    /// The interface that is called so is another than before, and guarded: addresses that are served go
    /// there.
    Follow {
        interface: String,
    },
    /// Another interface, with the index `arrived`, is called so now, and the guard is about to leave the
    /// one that was: the addresses have to leave it first.
    Vacate {
        interface: String,
        arrived: u32,
    },
    /// Addresses came to interfaces, or went from them.
    Changed(Changes),
    /// Somebody else on a link says that an address is theirs.
    Claimed(Claim),
    /// Announce anew whatever is held: others may have believed that it had moved.
    Reassert,
    /// Remove all addresses and end.
    Quit,
    /// End, and leave everything as it is for the next agent.
    Leave,
}

/// What those who run resource agents are to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Find out how the resources of a group are to be handled. Answered by [`Order::Begin`].
    Prepare {
        group: usize,
        resources: Vec<Arc<Resource>>,
    },
    /// Answered by [`Order::Done`] with the same number, twice if it lingers.
    Act {
        part: Part,
        number: u64,
        resource: Arc<Resource>,
        action: Action,
        timeout: Duration,
    },
    /// The last [`Work::Act`] for this is to be ended at once, with its processes. It needs no answer.
    Cancel { part: Part },
    /// To be told by [`Order::Ended`] when the resource's process has ended, if it is given; or no longer.
    Watch {
        part: Part,
        resource: Option<Arc<Resource>>,
    },
}

/// What happened to a resource or an address, for the control task to log and show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceEvent {
    /// An address came; `vip` is its index among all.
    Acquired {
        vip: usize,
        timeline: AcquisitionTimeline,
        decided: Boottime,
        address: Boottime,
        announced: Boottime,
    },
    /// An address went.
    Released {
        vip: usize,
        decided: Boottime,
        address: Boottime,
    },
    /// Somebody had removed an address that is served here, `times` times in a row, and it was put back.
    PutBack {
        vip: usize,
        times: u32,
        message: String,
    },
    /// Another host claims an address that is served here.
    Claimed {
        vip: usize,
        mac: [u8; 6],
        message: String,
    },
    /// An address was on an interface without its lease.
    Stray {
        vip: usize,
        message: String,
    },
    /// An address could not be added or removed.
    AddressFailed {
        vip: usize,
        message: String,
    },
    /// A resource is in another state.
    State {
        part: Part,
        state: ResourceState,
        failures: u32,
    },
    /// An action failed.
    Failed {
        part: Part,
        action: Action,
        outcome: Outcome,
        at: Boottime,
        message: String,
    },
    Group {
        group: usize,
        event: GroupEvent,
    },
}
