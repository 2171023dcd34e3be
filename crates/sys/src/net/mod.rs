//! Addresses, announcements and probes on this host's interfaces, without calls of shell commands.
//!
//! Everything here is synchronous and keeps its sockets open. The callers make the decisions.

mod address_watch;
mod announce;
mod link_watch;
mod multicast;
pub mod namespace;
mod netlink;
mod option;
mod probe;

pub use heartbeat_common::prefix::{Prefix, Prefix as IpPrefix};

pub use address_watch::{AddressChange, AddressWatch, Changes};
pub use announce::{Announcer, Burst, Claim, Claims, Defence};
pub use link_watch::LinkWatch;
pub use netlink::{EgressFilter, Failure, Interface, Netlink, NetlinkError, XdpPlace, XdpProgram};
pub use probe::{ProbeBatch, ProbeSocket, SendReport};
