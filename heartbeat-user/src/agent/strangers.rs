//! Reports processes and containers on this host that tried to send in this node's name.
//!
//! The kernel drops and counts their datagrams. Whatever their number, there is at most one warning
//! a minute.

use std::time::Duration;

use anyhow::Result;
use heartbeat_common::time::Boottime;

/// The time between two checks.
const PERIOD: Duration = Duration::from_secs(1);
/// The shortest time between two warnings.
const PAUSE: Duration = Duration::from_secs(60);

/// The count of the last warning, and its time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strangers {
    checked_at: Boottime,
    reported: u64,
    reported_at: Option<Boottime>,
}

impl Strangers {
    /// Warns at `now` if a warning is due; most calls return early. `count` reads the kernel's
    /// counter.
    pub(super) fn check(&mut self, now: Boottime, count: impl FnOnce() -> Result<u64>) {
        if now.since(self.checked_at) < PERIOD {
            return;
        }
        self.checked_at = now;
        match count() {
            Ok(count) => {
                if let Some(new) = self.due(count, now) {
                    log::warn!("{}", warning(new));
                }
            }
            Err(error) => log::debug!("could not read the kernel's counters: {error:#}"),
        }
    }

    /// Returns the number of new datagrams, if a warning is due.
    fn due(&mut self, count: u64, now: Boottime) -> Option<u64> {
        let lately = self.reported_at.is_some_and(|at| now.since(at) < PAUSE);
        let new = count.saturating_sub(self.reported);
        if new == 0 || lately {
            return None;
        }
        (self.reported, self.reported_at) = (count, Some(now));
        Some(new)
    }
}

fn warning(datagrams: u64) -> String {
    format!(
        "{datagrams} datagrams in this node's name to the heartbeat port of a peer were dropped: \
         no socket of this agent sent them, but another process or a container on this host \
         (counter stamp_foreign_socket)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_datagrams_are_reported_once_a_minute() {
        let start = Boottime::from_nanos(1);
        let mut strangers = Strangers::default();
        assert_eq!(strangers.due(0, start), None);
        assert_eq!(strangers.due(3, start), Some(3));
        for second in 0..60 {
            let now = start.after(Duration::from_secs(second));
            assert_eq!(strangers.due(1_000 * second + 3, now), None);
        }
        assert_eq!(strangers.due(60_003, start.after(PAUSE)), Some(60_000));
        assert_eq!(strangers.due(60_003, start.after(PAUSE * 3)), None);
    }
}
