//! The control protocol: a request of one JSON line and a response of one JSON line, over a Unix
//! stream socket.
//!
//! `docs/reference/control-socket.md` documents the protocol for scripts. Fields are only ever
//! added.

mod configure;
mod event;
mod group;
mod group_event;
mod keys;
mod node;
mod report;
mod request;
mod status;

/// Version of the JSON Schemas of status and events, `docs/reference/*.schema.json`. A new field or
/// kind keeps the version. A field that goes, or that gets another meaning, takes the next.
pub const SCHEMA_VERSION: u32 = 1;

pub use configure::{Checked, ConfigureStep};
pub use event::{DownTrace, Event, EventKind, Events};
pub use group::{Group, Guard, Lease, Notice, Remains, Resource, Vip, Votes};
pub use group_event::{NamedGroupEvent, VipEvent};
/// Parts of a [`NamedGroupEvent`], exported for its readers.
pub use heartbeat_core::group::{AcquisitionTimeline, GroupEvent, Reason};
pub use keys::Keys;
pub use node::{Abstention, Link, Node, Outage, PeerLink};
pub use report::{FailedAction, FailingCheck, GroupReport, RefusedNode, Report, ResourceReport};
pub use request::{Ping, PingLink, Request, Response};
pub use status::{
    Check, Confinement, FormerPulse, Load, LocalStalls, Pulse, Quorum, SocketGuard, Starved, Status,
};
