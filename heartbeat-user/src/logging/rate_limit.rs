//! Keeps what happens again and again, such as a peer that does everything wrong, from filling the log.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// One warning of a kind in that time.
const PAUSE: Duration = Duration::from_secs(60);

/// When what was last complained of, and how often since. There must not be many things to complain of.
#[derive(Debug)]
pub(crate) struct RateLimit<A>(Mutex<HashMap<A, (Instant, u64)>>);

impl<A> Default for RateLimit<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: Eq + Hash> RateLimit<A> {
    /// Logs a warning unless there was one lately.
    pub(crate) fn warn(&self, about: A, text: impl FnOnce() -> String) {
        match self.due(about, Instant::now()) {
            Some(0) => log::warn!("{}", text()),
            Some(more) => log::warn!("{} (and {more} times before)", text()),
            None => {}
        }
    }

    /// Whether to warn, and of how many that were not told before.
    fn due(&self, about: A, now: Instant) -> Option<u64> {
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
    fn one_warning_a_minute_and_each_thing_for_itself() {
        let rate_limit = RateLimit::default();
        let start = Instant::now();
        assert_eq!(rate_limit.due("peer", start), Some(0));
        assert_eq!(rate_limit.due("strangers", start), Some(0));
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(rate_limit.due("peer", now), None);
        }
        assert_eq!(rate_limit.due("peer", start + PAUSE), Some(59));
        assert_eq!(rate_limit.due("peer", start + 2 * PAUSE), Some(0));
    }
}
