//! `[placement]` and `[rebalance]`: how a node is chosen for a group, beside scores and
//! constraints, and when groups move for load.

use std::time::Duration;

use super::{
    duration::Show,
    read::{At, Section},
    settings::{
        placement::{self, DEGRADED_POINTS, STRATEGY},
        rebalance::{self, APART, COOLDOWN, HIGH, HOLD, LOW},
    },
    types::{Policy, Rebalance},
};

const DEFAULT_HOLD: Duration = Duration::from_secs(30);

/// How often the facts that decide on a move become known.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Time from one heartbeat to the next.
    pub(super) heartbeat: Duration,
    /// Time from one sample of the load to the next.
    pub(super) load: Duration,
}

/// The policy, and where the file names the strategy.
pub(super) fn read(top: &Section<'_>, pace: Pace) -> (Policy, usize) {
    let section = placement::TABLE.open(top);
    let policy = Policy {
        strategy: STRATEGY.or_default(&section),
        degraded_points: DEGRADED_POINTS.or_default(&section),
        rebalance: rebalance(top, pace),
    };
    let at = match section.has(&STRATEGY) {
        true => section.at_field(&STRATEGY),
        false => top.at(),
    };
    (policy, at)
}

fn rebalance(top: &Section<'_>, pace: Pace) -> Option<Rebalance> {
    let section = rebalance::TABLE.open(top);
    if !section.is_given() {
        return None;
    }
    let (high, low) = (HIGH.or_default(&section), LOW.or_default(&section));
    if low + APART > high {
        let at = match section.has(&LOW) {
            true => section.at_field(&LOW),
            false => section.at_field(&HIGH),
        };
        section.problem(
            at,
            format!(
                "low {low} is not {APART} below high {high}: a group that moves would soon have to \
                 go again"
            ),
            format!(
                "write low = {} or less, or raise high",
                high.saturating_sub(APART)
            ),
        );
    }
    Some(Rebalance {
        high,
        low,
        hold: hold(&section, pace),
        cooldown: COOLDOWN.or_default(&section),
    })
}

/// The time to see a load in, long enough for several samples of this node and of the others.
fn hold(section: &Section<'_>, pace: Pace) -> Duration {
    let known = 4 * pace.heartbeat;
    let least = known.max(pace.load);
    let Some(At { value, at }) = HOLD.read(section) else {
        return DEFAULT_HOLD.max(least);
    };
    let reason = if value < known {
        Some(format!(
            "four heartbeats, {}: the others' loads come with these, and some get lost",
            Show(known)
        ))
    } else if value < pace.load {
        Some(format!(
            "the interval of [load], {}: a single sample would decide",
            Show(pace.load)
        ))
    } else {
        None
    };
    if let Some(reason) = reason {
        section.problem(
            at,
            format!("hold {} is below {reason}", Show(value)),
            format!("write hold = \"{}\" or more", Show(least)),
        );
    }
    value
}
