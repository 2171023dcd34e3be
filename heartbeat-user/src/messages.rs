//! All messages between the threads of an agent, under one drawing. A message carries values; it
//! never calls back.
//!
//! ```text
//!                 clients, peers, signals
//!                            │
//!            ┌───────────────▼───────────────┐  MonitorCommand   ┌───────────────────┐
//!            │ control task                  ├──────────────────▶│ interface monitor │
//!            │ agent/control_task            │◀──────────────────┤ interface_monitor │
//!            └─┬─▲────────────────────┬─▲────┘  Report           └────┬─────────┬────┘
//!    Directive │ │ Report             │ │ Report                      │         │
//!              │ │    ResourceCommand │ │                             │         │
//!            ┌─▼─┴───┐              ┌─▼─┴──────────────┐              │         │
//!            │ pulse ├─────────────▶│ resource manager │◀─────────────╯         │
//!            │       │◀─────────────┤ resource_manager │ ResourceCommand        │
//!            └───▲───┘  Directive   └─┬─▲────────────▲─┘                        │
//!                │                    │ │            │ ResourceCommand          │
//!                │      ActionRequest │ │ Resource-  ╰── address watch          │
//!                │                    │ │ Command        address_watch          │
//!                │                  ┌─▼─┴───────┐                               │
//!                │                  │ executors │ Question  ┌─────────┐         │
//!                │                  │ resources ├──────────▶│ helper  │         │
//!                │                  │           │◀──────────┤ process │         │
//!                │                  └───────────┘ Answer    └─────────┘         │
//!                ╰──────────────────── Directive ───────────────────────────────╯
//! ```
//!
//! Executors and health checks are tokio tasks beside the control task; the health checks send the
//! pulse their sum ([`Directive::Health`]). Checks and hooks ask the helper, too. Questions and
//! answers cross a process boundary, so the helper has a protocol of its own, in
//! `helper/message.rs`.
//!
//! No sender waits for a receiver: all channels are unbounded. The pulse does not wait even for the
//! lock of a mailbox, see [`mailbox`](crate::pulse::mailbox).

use std::{sync::Arc, time::Duration};

use heartbeat_common::{
    siphash::SipKey,
    time::Boottime,
    wire::{LinkId, LinkSet, NodeId},
};
use heartbeat_core::{
    Command,
    cluster::Intent,
    group::{AcquisitionTimeline, Note},
    index::{GroupIndex, ResourceIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    report,
    resource::{Action, GroupState, Outcome, ResourcePlan, ResourceState},
};

use crate::{
    config::{Group, Resource, Vip},
    control::protocol::VipEvent,
    dataplane::{Attachment, GuardView, SetupGuard},
    health::Sum,
    interface_monitor::Signal,
    net::{Changes, Claim, ProbeSocket},
    pulse::Replan,
};

/// A message to the pulse.
#[derive(Debug)]
pub enum Directive {
    /// All of the group with this index has stopped here.
    Stopped { group: GroupIndex },
    /// An operator wants the group with this index on `to`.
    Move { group: GroupIndex, to: NodeId },
    /// A fact about the group with this index.
    Note { group: GroupIndex, note: Note },
    /// The interfaces of these links are missing, switched off or without carrier.
    Broken(LinkSet),
    /// A peer reported.
    Reported {
        node: NodeId,
        report: report::Report,
    },
    /// The sum of this node's health checks.
    Health(Sum),
    /// This node's load per mille.
    Load(u16),
    /// The number of this agent's latest report, from now on.
    Report { number: u32 },
    /// Seal with this key. The kernel accepts it already, and `generation` is the digest of the
    /// configuration under it.
    Rekey { key: (u8, SipKey), generation: u32 },
    /// The configuration has changed.
    Replan(Box<Replan>),
    /// The intent of the operator for this node.
    Intend(Intent),
    /// A socket for the probes of a link, from here on.
    Rebind { link: LinkId, socket: ProbeSocket },
    /// Get a last lease of this length for every group that is served, and end. The next agent goes
    /// on with them.
    Part(Duration),
    /// End.
    Stop,
}

/// From the real-time threads and the interface monitor to the control task.
#[derive(Debug)]
pub(crate) enum Report {
    /// A command of the core, and when it was decided.
    Command(Boottime, Command),
    /// A round of probes had errors, after one without.
    SendFailed {
        errors: u64,
        error: Option<nix::Error>,
    },
    /// The node's own acceptor could not be asked, after it could.
    OwnVoteFailed { error: anyhow::Error },
    /// A report of a peer that the pulse needs no longer, for another thread to free.
    Spent(report::Report),
    /// An event of a resource or an address.
    Resource(ResourceEvent),
    /// An event of an interface.
    Interface(InterfaceEvent),
}

/// A resource by its place: the index of its group, and its own index in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub group: GroupIndex,
    pub resource: ResourceIndex,
}

/// A message to the resource manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceCommand {
    /// The plans of a group's resources are known: probe what runs.
    Begin {
        group: GroupIndex,
        plans: IndexVec<ResourceIndex, ResourcePlan>,
    },
    /// This node holds the lease of the group: start.
    Start {
        group: GroupIndex,
        timeline: AcquisitionTimeline,
        decided: Boottime,
    },
    /// The group is to stop.
    Stop {
        group: GroupIndex,
        decided: Boottime,
    },
    /// The result of an [`ActionRequest`].
    Done {
        part: Part,
        number: u64,
        action: Action,
        outcome: Outcome,
        message: String,
    },
    /// A process of a resource was seen to end; `message` says what is known of that.
    Ended { part: Part, message: String },
    /// Forget the failures of a resource, or of all in the group, and probe anew.
    Cleanup {
        group: GroupIndex,
        resource: Option<ResourceIndex>,
    },
    /// Leave the group alone, or look after it again.
    Maintain { group: GroupIndex, on: bool },
    /// The resource may run, or not.
    Enable { part: Part, enabled: bool },
    /// Restart the resource.
    Restart { part: Part },
    /// The configuration has changed. These are all addresses and groups, the earlier ones in their
    /// places.
    Replan {
        vips: IndexVec<VipIndex, Vip>,
        groups: ByGroup<Group>,
    },
    /// Another interface has this name now, and is guarded: addresses that are served go there.
    Follow { interface: String },
    /// Another interface, with the index `arrived`, has this name now, and the guard is about to
    /// leave the former one: the addresses must leave that first.
    Vacate { interface: String, arrived: u32 },
    /// Addresses came to interfaces, or went from them.
    Changed(Changes),
    /// Another host on a link claims an address.
    Claimed(Claim),
    /// Announce anew every address that is held: neighbours may believe that it has moved.
    Reassert,
    /// Remove all addresses and end.
    Quit,
    /// End, and leave everything in place for the next agent.
    Leave,
}

/// A request of the resource manager to the executors, which run resource agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionRequest {
    /// Make the plans of a group's resources. The answer is [`ResourceCommand::Begin`].
    Prepare {
        group: GroupIndex,
        resources: IndexVec<ResourceIndex, Arc<Resource>>,
    },
    /// Do `action`. The answer is [`ResourceCommand::Done`] with the same number, twice if the
    /// action lingers.
    Act {
        part: Part,
        number: u64,
        resource: Arc<Resource>,
        action: Action,
        timeout: Duration,
    },
    /// End the last [`ActionRequest::Act`] for this resource at once, with its processes. There is
    /// no answer.
    Cancel { part: Part },
    /// Answer by [`ResourceCommand::Ended`] when the process of `resource` has ended; without one,
    /// watch no longer.
    Watch {
        part: Part,
        resource: Option<Arc<Resource>>,
    },
}

/// An event of a resource or an address, for the control task to log and show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceEvent {
    /// An event of an address; `vip` is its index among all.
    Vip { vip: VipIndex, event: VipEvent },
    /// A resource is in another state.
    State {
        part: Part,
        state: ResourceState,
        failures: u32,
        /// What there is to say of how it came to that; mostly nothing.
        note: String,
    },
    /// An action failed on the resource of this name, which the configuration may not have any more.
    Failed {
        part: Part,
        resource: String,
        action: Action,
        outcome: Outcome,
        at: Boottime,
        message: String,
    },
    /// A change of a group as a whole.
    Group {
        group: GroupIndex,
        state: GroupState,
    },
}

/// An event of an interface, or of [`SOCKETS`](crate::interface_monitor::SOCKETS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceEvent {
    pub interface: String,
    pub change: InterfaceChange,
    /// The event in words.
    pub message: String,
    /// The way in which the programs are attached now, if they are.
    pub attachment: Option<Attachment>,
    /// The present fault, if any.
    pub problem: Option<String>,
    /// Whether anything can be sent and received there.
    pub signal: Signal,
}

/// The kind of an event of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceChange {
    /// No interface has the name.
    Missing,
    /// The interface has another name now.
    Renamed,
    /// The interface is there, and the programs are on it.
    Attached,
    /// The interface is there, but the programs could not be attached, or the sockets not opened.
    Failed,
    /// The XDP program is attached and does not run.
    NotRunning,
    /// The XDP program runs again.
    Running,
    /// The interface has lost its carrier, or was switched off.
    Lost,
    /// The interface is switched on and has its carrier again.
    Back,
}

impl InterfaceChange {
    /// The change as status and journal name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Renamed => "renamed",
            Self::Attached => "attached",
            Self::Failed => "failed",
            Self::NotRunning => "not-running",
            Self::Running => "running",
            Self::Lost => "lost",
            Self::Back => "back",
        }
    }
}

/// A message to the interface monitor.
pub(crate) enum MonitorCommand {
    /// Something changed about some interface.
    Check,
    /// Other addresses are guarded from here on.
    Guard(Vec<SetupGuard>, GuardView),
    /// End.
    Stop,
}
