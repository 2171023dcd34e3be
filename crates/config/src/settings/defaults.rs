//! `[defaults]`: settings of groups and resources that do not say otherwise.

use std::time::Duration;

use heartbeat_core::placement::Score;

use super::{
    Check::Hidden,
    Fallback::{Is, Without},
    Reload::Inherited,
    settings,
};
use crate::readers::{COUNT, Number, Points, Time, TimeOrNever, number};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The score that Pacemaker counts as infinite: as many failures are never reached.
const MAX_THRESHOLD: u32 = 1_000_000;

pub(crate) const DEFAULT_THRESHOLD: u32 = 3;
pub(crate) const DEFAULT_FAILURE_TIMEOUT: Duration = Duration::from_secs(600);

/// Points for the node that serves a group.
pub(crate) const STICKINESSES: Points = Points { low: Score::ZERO };
/// Numbers of failures; 0 is never.
pub(crate) const THRESHOLDS: Number<u32> = number(0, MAX_THRESHOLD, COUNT);
/// How long a failure counts.
pub(crate) const FAILURE_TIMEOUTS: TimeOrNever = TimeOrNever(Time {
    low: SECOND,
    high: DAY.saturating_mul(30),
});

settings! {
    /// For groups and resources that do not say otherwise.
    "[defaults]" of ();

    /// Points for the node that has a group, against better-ranked ones. "inf" is that the group
    /// stays.
    STICKINESS: Points = STICKINESSES => {
        name: "stickiness", example: "100",
        default: Without(
            "0 for groups of addresses alone, 999999 for all others; see auto_failback"
        ),
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// Failures of a resource after which its group leaves the node; until then the resource is
    /// restarted where it is. 0 is never.
    MIGRATION_THRESHOLD: Number<u32> = THRESHOLDS => {
        name: "migration_threshold", default: Is(|| DEFAULT_THRESHOLD),
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// How long a failure counts; "never" is until `heartbeat cleanup`.
    FAILURE_TIMEOUT: TimeOrNever = FAILURE_TIMEOUTS => {
        name: "failure_timeout", default: Is(|| Some(DEFAULT_FAILURE_TIMEOUT)),
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }
}
