//! Keeps a peer that does everything wrong from filling the log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use heartbeat_common::wire::NodeId;
use tokio::time::Instant;

/// One warning of a kind in that time.
const PAUSE: Duration = Duration::from_secs(60);

/// Whom a warning is about. There are as many as there are nodes, and a few more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    Peer(NodeId),
    /// All who are no peer.
    Strangers,
    /// This host's own shortage.
    Ourselves,
}

/// When what was last complained of, and how often since.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<About, (Instant, u64)>>);

impl Complaints {
    /// Logs a warning unless there was one lately.
    pub(super) fn warn(&self, about: About, text: impl FnOnce() -> String) {
        match self.due(about, Instant::now()) {
            Some(0) => log::warn!("{}", text()),
            Some(more) => log::warn!("{} (and {more} times before)", text()),
            None => {}
        }
    }

    /// Whether to warn, and of how many that were not told before.
    fn due(&self, about: About, now: Instant) -> Option<u64> {
        // What is behind the lock is whole at any time.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get_mut(&about) {
            Some((at, untold)) if now.duration_since(*at) < PAUSE => {
                *untold += 1;
                None
            }
            Some(entry) => {
                let untold = entry.1;
                *entry = (now, 0);
                Some(untold)
            }
            None => {
                last.insert(about, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_a_minute_and_each_peer_for_itself() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let peer = About::Peer(NodeId(2));
        assert_eq!(complaints.due(peer, start), Some(0));
        assert_eq!(complaints.due(About::Strangers, start), Some(0));
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(complaints.due(peer, now), None);
        }
        assert_eq!(complaints.due(peer, start + PAUSE), Some(59));
        assert_eq!(complaints.due(peer, start + 2 * PAUSE), Some(0));
    }
}
