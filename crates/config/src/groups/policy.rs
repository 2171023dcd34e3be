//! How groups hold on to their node and recover: what `[defaults]` says, and what a group or a
//! resource says instead. Each level starts from the one above.

use std::time::Duration;

use heartbeat_core::placement::Score;

use crate::{fields, read::Section, scores, values};

/// The score that Pacemaker counts as infinite: as many failures are never reached.
const MAX_THRESHOLD: u32 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a group has unless it says otherwise.
#[derive(Clone, Copy)]
pub(super) struct Policy {
    /// What the file says of it, if it does.
    pub(super) stickiness: Option<Score>,
    pub(super) recovery: Recovery,
}

/// What a resource has unless it says otherwise.
#[derive(Clone, Copy)]
pub(super) struct Recovery {
    pub(super) migration_threshold: u32,
    /// `None` is for ever.
    pub(super) failure_timeout: Option<Duration>,
}

impl Policy {
    /// `[defaults]`. A cluster without failback is one of groups that stick.
    pub(super) fn defaults(top: &Section<'_>, auto_failback: Option<bool>) -> Self {
        use fields::{DEFAULTS, FAILURE_TIMEOUT, MIGRATION_THRESHOLD, STICKINESS};
        let builtin = Self {
            stickiness: auto_failback.map(|back| if back { Score::ZERO } else { Score::MUST }),
            recovery: Recovery {
                migration_threshold: 3,
                failure_timeout: Some(600 * SECOND),
            },
        };
        let known = [STICKINESS, MIGRATION_THRESHOLD, FAILURE_TIMEOUT];
        let Some(section) = top.table(&DEFAULTS, &known) else {
            return builtin;
        };
        let defaults = builtin.refined(&section);
        if auto_failback == Some(false)
            && let Some(stickiness) = defaults.stickiness.filter(|other| *other != Score::MUST)
        {
            section.problem(
                section.at_field(&STICKINESS),
                format!(
                    "stickiness {stickiness} contradicts auto_failback = false, which is the same as \
                     stickiness = \"inf\""
                ),
                "keep one of the two",
            );
        }
        defaults
    }

    /// What the group in `section` has.
    pub(super) fn refined(self, section: &Section<'_>) -> Self {
        Self {
            stickiness: scores::score(section, &fields::STICKINESS, Score::ZERO)
                .map_or(self.stickiness, |stickiness| Some(stickiness.value)),
            recovery: self.recovery.refined(section),
        }
    }
}

impl Recovery {
    /// What the group or the resource in `section` has.
    pub(super) fn refined(self, section: &Section<'_>) -> Self {
        use fields::{FAILURE_TIMEOUT, MIGRATION_THRESHOLD};
        Self {
            migration_threshold: section
                .number(&MIGRATION_THRESHOLD, 0..=MAX_THRESHOLD)
                .map_or(self.migration_threshold, |threshold| threshold.value),
            failure_timeout: section
                .text(
                    &FAILURE_TIMEOUT,
                    values::duration_or_never(SECOND, 30 * DAY),
                )
                .map_or(self.failure_timeout, |timeout| timeout.value),
        }
    }
}
