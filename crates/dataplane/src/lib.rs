//! The kernel side for userspace: loads the programs, fills, attaches and pins them, and reads the
//! maps.
//!
//! Nothing here decides anything about peers or groups, and nothing here depends on the
//! configuration.

mod attach;
mod exits;
mod maps;
mod object;
pub mod pins;
mod running;
mod setup;
mod start;

pub use attach::sockets::{SocketGuard, SocketWatch, lacks as sockets_lack};
pub use exits::{Exit, ExitProgram, ProcessExits, WatchError};
pub use maps::{
    acceptor::{LeaseSlots, OwnVote, longest_grant},
    senders::Senders,
    view::{GuardView, LocalView, PeerRows},
};
pub use pins::{Pins, directory::Claim, origin::must_be_here};
pub use running::{Dataplane, Guarding, Hotplug};
pub use setup::{Attached, Attachment, Setup, SetupGuard, SetupLink, XdpMode};
pub use start::adopted::{Continuation, guarded};
