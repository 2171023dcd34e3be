//! How groups hold on to their node and recover: the settings of `[defaults]`, and those of a group
//! or a resource that beat them. Each level starts from the one above.

use std::time::Duration;

use heartbeat_core::placement::Score;

use crate::{
    read::Section,
    settings::{defaults, group, resource},
};

/// The settings of a group that does not say otherwise.
#[derive(Clone, Copy)]
pub(super) struct Policy {
    /// `None` if the file does not say.
    pub(super) stickiness: Option<Score>,
    pub(super) recovery: Recovery,
}

/// The settings of a resource that does not say otherwise.
#[derive(Clone, Copy)]
pub(super) struct Recovery {
    pub(super) migration_threshold: u32,
    /// `None` is for ever.
    pub(super) failure_timeout: Option<Duration>,
}

impl Policy {
    /// `[defaults]`. A cluster without failback is one of groups that stick.
    pub(super) fn defaults(top: &Section<'_>, auto_failback: Option<bool>) -> Self {
        let section = defaults::TABLE.open(top);
        let by_failback = auto_failback.map(|back| if back { Score::ZERO } else { Score::MUST });
        let given = defaults::STICKINESS.value(&section);
        if auto_failback == Some(false)
            && let Some(stickiness) = given.filter(|other| *other != Score::MUST)
        {
            section.problem(
                section.at_field(&defaults::STICKINESS),
                format!(
                    "stickiness {stickiness} contradicts auto_failback = false, which is the same \
                     as stickiness = \"inf\""
                ),
                "keep one of the two",
            );
        }
        Self {
            stickiness: given.or(by_failback),
            recovery: Recovery {
                migration_threshold: defaults::MIGRATION_THRESHOLD.or_default(&section),
                failure_timeout: defaults::FAILURE_TIMEOUT.or_default(&section),
            },
        }
    }

    /// The settings of the group in `section`.
    pub(super) fn of_group(self, section: &Section<'_>) -> Self {
        let Recovery {
            migration_threshold,
            failure_timeout,
        } = self.recovery;
        let threshold = group::MIGRATION_THRESHOLD.value(section);
        let timeout = group::FAILURE_TIMEOUT.value(section);
        Self {
            stickiness: group::STICKINESS.value(section).or(self.stickiness),
            recovery: Recovery {
                migration_threshold: threshold.unwrap_or(migration_threshold),
                failure_timeout: timeout.unwrap_or(failure_timeout),
            },
        }
    }
}

impl Recovery {
    /// The settings of the resource in `section`.
    pub(super) fn of_resource(self, section: &Section<'_>) -> Self {
        let threshold = resource::MIGRATION_THRESHOLD.value(section);
        let timeout = resource::FAILURE_TIMEOUT.value(section);
        Self {
            migration_threshold: threshold.unwrap_or(self.migration_threshold),
            failure_timeout: timeout.unwrap_or(self.failure_timeout),
        }
    }
}
