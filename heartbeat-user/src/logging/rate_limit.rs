//! Keeps repeated faults, such as those of a misconfigured peer, from filling the log.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Least time between two warnings of a kind.
const PAUSE: Duration = Duration::from_secs(60);

/// Time and number of repetitions of the last warning, for each subject. There must be few
/// subjects.
#[derive(Debug)]
pub(crate) struct RateLimit<A>(Mutex<HashMap<A, (Instant, u64)>>);

impl<A> Default for RateLimit<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: Eq + Hash> RateLimit<A> {
    /// Logs a warning unless there was one recently.
    pub(crate) fn warn(&self, about: A, text: impl FnOnce() -> String) {
        match self.due(about, Instant::now()) {
            Some(0) => log::warn!("{}", text()),
            Some(more) => log::warn!("{} (and {more} times before)", text()),
            None => {}
        }
    }

    /// Returns whether to warn, and the number of suppressed warnings before.
    fn due(&self, about: A, now: Instant) -> Option<u64> {
        // The value is valid at any time.
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
    fn warnings_are_limited_to_one_a_minute_per_subject() {
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
