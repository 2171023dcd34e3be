//! The guard at the sockets, as it was found last.

use super::{News, SOCKETS, Signal, Turn};
use crate::dataplane::{Dataplane, SocketGuard, SocketWatch};

pub(super) struct Sockets {
    watch: SocketWatch,
}

impl Sockets {
    pub(super) fn of(dataplane: &Dataplane) -> Self {
        Self {
            watch: dataplane.socket_watch(),
        }
    }

    /// Puts the guard back if somebody has taken it off. `None` if there is nothing to tell.
    pub(super) fn look(&mut self) -> Option<News> {
        let was = self.watch.state().clone();
        match self.watch.look()? {
            SocketGuard::Attached(_) if matches!(was, SocketGuard::Attached(_)) => {
                let what = "somebody had taken it off; now it is attached again";
                log::warn!("guard at the sockets: {what}");
                Some(news(Turn::Attached, what.to_owned(), None))
            }
            SocketGuard::Attached(root) => {
                let what = format!("it is attached to {}", root.display());
                Some(news(Turn::Attached, what, None))
            }
            SocketGuard::Missing(why) => Some(news(Turn::Failed, why.clone(), Some(why.clone()))),
            SocketGuard::Idle => None,
        }
    }
}

fn news(turn: Turn, message: String, problem: Option<String>) -> News {
    News {
        interface: SOCKETS.to_owned(),
        turn,
        message,
        attachment: None,
        problem,
        signal: Signal::default(),
    }
}
