//! Instants in wall-clock time, by which the logs of a cluster can be compared.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use heartbeat_common::time::Boottime;

use crate::clock;

/// Formats an instant in nanoseconds since 1970, to the microsecond: 2026-11-25T17:03:00.123456Z.
pub(crate) fn rfc3339(unix_ns: u64) -> impl fmt::Display {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(unix_ns))
}

/// Formats an instant in nanoseconds since 1970, to the second.
pub(crate) fn rfc3339_seconds(unix_ns: u64) -> impl fmt::Display {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_ns))
}

/// Returns the wall-clock time of an instant, in nanoseconds since 1970, under the clock's present
/// setting.
pub(crate) fn unix_ns(at: Boottime) -> u64 {
    let ago = clock::now().since(at).as_nanos() as u64;
    clock::wall().saturating_sub(ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instant_is_shown_to_the_microsecond_in_utc() {
        let at = 1_764_524_988_123_456_789;
        assert_eq!(rfc3339(at).to_string(), "2025-11-30T17:49:48.123456Z");
        assert_eq!(rfc3339_seconds(at).to_string(), "2025-11-30T17:49:48Z");
    }

    #[test]
    fn boottime_has_the_same_age_by_the_wall_clock() {
        let at = clock::now().before(Duration::from_secs(60));
        let ago = clock::wall().saturating_sub(unix_ns(at));
        // The clock may be adjusted meanwhile, but not by much.
        assert!((59_000_000_000..62_000_000_000).contains(&ago), "{ago}");
    }
}
