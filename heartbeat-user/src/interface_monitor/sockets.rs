//! The guard at the sockets, in its last observed state.

use super::{SOCKETS, Signal};
use crate::dataplane::{Dataplane, SocketGuard, SocketWatch};
use crate::messages::{InterfaceChange, InterfaceEvent};

pub(super) struct Sockets {
    watch: SocketWatch,
}

impl Sockets {
    pub(super) fn of(dataplane: &Dataplane) -> Self {
        Self {
            watch: dataplane.socket_watch(),
        }
    }

    /// Attaches the guard again if it was detached. Returns `None` if there is nothing to report.
    pub(super) fn check(&mut self) -> Option<InterfaceEvent> {
        let was = self.watch.state().clone();
        match self.watch.check()? {
            SocketGuard::Attached(_) if matches!(was, SocketGuard::Attached(_)) => {
                let what = "another process had removed it; the agent attached it again";
                log::warn!("guard at the sockets: {what}");
                Some(news(InterfaceChange::Attached, what.to_owned(), None))
            }
            SocketGuard::Attached(root) => {
                let what = format!("it is attached to {}", root.display());
                Some(news(InterfaceChange::Attached, what, None))
            }
            SocketGuard::Missing(why) => Some(news(
                InterfaceChange::Failed,
                why.clone(),
                Some(why.clone()),
            )),
            SocketGuard::Idle => None,
        }
    }
}

fn news(change: InterfaceChange, message: String, problem: Option<String>) -> InterfaceEvent {
    InterfaceEvent {
        interface: SOCKETS.to_owned(),
        change,
        message,
        attachment: None,
        problem,
        signal: Signal::default(),
    }
}
