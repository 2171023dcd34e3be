//! All messages between the threads of an agent, and a drawing of their ways. A message carries
//! values, and no callbacks.
//!
//! ```text
//!                 clients, peers, signals
//!                            │
//!            ┌───────────────▼───────────────┐  MonitorCommand   ┌───────────────────┐
//!            │ control task                  ├──────────────────▶│ interface monitor │
//!            │ agent/control_task            │◀──────────────────┤ interface_monitor │
//!            └─┬─▲────────────────────┬─▲────┘  ThreadEvent      └────┬─────────┬────┘
//!    Directive │ │ ThreadEvent        │ │ ThreadEvent                 │         │
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
//! Executors and health checks are tokio tasks beside the control task. The health checks send the
//! pulse the set of failing checks ([`Directive::Health`]). Checks and hooks ask the helper, too.
//! Questions and answers cross a process boundary, so the helper has a protocol of its own, in
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
    /// The whole group with this index has stopped on this node.
    Stopped { group: GroupIndex },
    /// An operator moves the group with this index to the node `to`.
    Move { group: GroupIndex, to: NodeId },
    /// A fact about the group with this index.
    Note { group: GroupIndex, note: Note },
    /// The interfaces of these links are missing, switched off or without carrier.
    Broken(LinkSet),
    /// A peer's status report has arrived.
    Reported {
        node: NodeId,
        report: report::GroupReports,
    },
    /// The failing health checks of this node, taken together.
    Health(Sum),
    /// This node's load per mille.
    Load(u16),
    /// The number of this agent's latest report, for the heartbeats from now on.
    Report { number: u32 },
    /// Sign heartbeats with this key from now on. The kernel already accepts heartbeats with this
    /// key. `generation` is the digest of the configuration under the key.
    Rekey { key: (u8, SipKey), generation: u32 },
    /// The configuration has changed.
    Replan(Box<Replan>),
    /// The state that the operator wants for this node, for example standby.
    Intend(Intent),
    /// The socket for the probes of a link from now on.
    Rebind { link: LinkId, socket: ProbeSocket },
    /// Prepare a graceful restart: acquire a last lease of this length for every group that is
    /// served, then end the thread. The next agent continues with these leases.
    GracefulRestart(Duration),
    /// Close all guards and end the thread.
    Stop,
}

/// A message from the pulse, the resource manager or the interface monitor to the control task.
#[derive(Debug)]
pub(crate) enum ThreadEvent {
    /// A command of the core, and the time of its decision.
    Command(Boottime, Command),
    /// A round of probes had errors, and the round before had none.
    SendFailed {
        errors: u64,
        error: Option<nix::Error>,
    },
    /// The own acceptor did not answer, and it had answered the time before.
    OwnVoteFailed { error: anyhow::Error },
    /// A peer's report that the pulse no longer needs. Another thread frees it.
    Spent(report::GroupReports),
    /// An event of a resource or an address.
    Resource(ResourceEvent),
    /// An event of an interface.
    Interface(InterfaceEvent),
}

/// One resource of one group: the index of the group, and the index of the resource in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceRef {
    pub group: GroupIndex,
    pub resource: ResourceIndex,
}

/// A message to the resource manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceCommand {
    /// The plans of a group's resources are known: probe which resources run.
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
    /// Stop the group.
    Stop {
        group: GroupIndex,
        decided: Boottime,
    },
    /// The result of the [`ActionRequest::Act`] with this number.
    Done {
        reference: ResourceRef,
        number: u64,
        action: Action,
        outcome: Outcome,
        message: String,
    },
    /// A process of a resource has ended; `message` gives the known details.
    Ended {
        reference: ResourceRef,
        message: String,
    },
    /// Forget the failures of a resource, or of all resources in the group, and probe anew.
    Cleanup {
        group: GroupIndex,
        resource: Option<ResourceIndex>,
    },
    /// Begin (`on`) or end the maintenance mode of the group.
    Maintain { group: GroupIndex, on: bool },
    /// Allow or forbid the resource to run.
    Enable {
        reference: ResourceRef,
        enabled: bool,
    },
    /// Restart the resource.
    Restart { reference: ResourceRef },
    /// The configuration has changed. The message has all addresses and groups. Addresses and
    /// groups that existed before keep their indices.
    Replan {
        vips: IndexVec<VipIndex, Vip>,
        groups: ByGroup<Group>,
    },
    /// Another interface has this name now, and the guard covers it: move the served addresses
    /// there.
    Follow { interface: String },
    /// Another interface, with the index `arrived`, has this name now. The guard is about to leave
    /// the former interface: remove the addresses from that one first.
    Vacate { interface: String, arrived: u32 },
    /// Addresses were added to interfaces, or removed from them.
    Changed(Changes),
    /// Another host on a link claims an address.
    Claimed(Claim),
    /// Announce every served address again: the neighbours may have learnt another Ethernet address
    /// for it.
    Reassert,
    /// Remove all addresses and end the thread.
    Quit,
    /// End the thread, and leave all addresses and resources in place for the next agent.
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
    /// Do `action`. The answer is [`ResourceCommand::Done`] with the same number. An action that
    /// lingers ([`Outcome::Lingers`]) gets two answers.
    Act {
        reference: ResourceRef,
        number: u64,
        resource: Arc<Resource>,
        action: Action,
        timeout: Duration,
    },
    /// End the last [`ActionRequest::Act`] for this resource at once, with its processes. No answer
    /// follows.
    Cancel { reference: ResourceRef },
    /// Answer with [`ResourceCommand::Ended`] when the process of `resource` has ended. `None` ends
    /// the watch.
    Watch {
        reference: ResourceRef,
        resource: Option<Arc<Resource>>,
    },
}

/// An event of a resource or an address, for the control task to log and show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceEvent {
    /// An event of an address; `vip` is its index among all addresses.
    Vip { vip: VipIndex, event: VipEvent },
    /// A resource is in another state.
    State {
        reference: ResourceRef,
        state: ResourceState,
        failures: u32,
        /// The cause of the new state; mostly empty.
        note: String,
    },
    /// An action failed on the resource with this name. The configuration may no longer have this
    /// resource.
    Failed {
        reference: ResourceRef,
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
    /// The event as a text for the log.
    pub message: String,
    /// The present attachment of the programs, if they are attached.
    pub attachment: Option<Attachment>,
    /// The present fault, if any.
    pub problem: Option<String>,
    /// The ability to send and receive on this interface.
    pub signal: Signal,
}

/// The kind of an interface event.
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
    /// The name of the change in status and journal.
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
    /// Some interface has changed: check them all.
    Check,
    /// The addresses to guard from now on.
    Guard(Vec<SetupGuard>, GuardView),
    /// End.
    Stop,
}
