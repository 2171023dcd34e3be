//! `[placement]` and `[rebalance]`: where groups go, beside scores and constraints, and when they
//! move for load.

use std::time::Duration;

use super::{
    duration::Show,
    fields,
    read::{At, Section},
    types::{Policy, Rebalance, Strategy},
    values,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As much as a score can be.
const MAX_POINTS: u32 = 1_000_000;
const DEFAULT_HIGH: u16 = 800;
const DEFAULT_LOW: u16 = 500;
/// What lies between the bounds at least, so that a group that moves does not make its new node
/// the next that has too much.
const APART: u16 = 100;
const DEFAULT_HOLD: Duration = Duration::from_secs(30);
const DEFAULT_COOLDOWN: Duration = Duration::from_secs(5 * 60);

/// How often what decides on a move becomes known.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// From one heartbeat to the next.
    pub(super) heartbeat: Duration,
    /// From one look at the load to the next.
    pub(super) load: Duration,
}

/// What the file says of placement, and where it names the strategy.
pub(super) fn read(top: &Section<'_>, pace: Pace) -> (Policy, usize) {
    use fields::{DEGRADED_POINTS, PLACEMENT, STRATEGY};
    let default = Policy::default();
    let section = top.table(&PLACEMENT, &[STRATEGY, DEGRADED_POINTS]);
    let strategy = section
        .as_ref()
        .and_then(|section| section.text(&STRATEGY, values::strategy));
    let points = section
        .as_ref()
        .and_then(|section| section.number(&DEGRADED_POINTS, 0..=MAX_POINTS));
    let at = strategy.as_ref().map_or(top.at(), |strategy| strategy.at);
    let policy = Policy {
        strategy: strategy.map_or_else(Strategy::default, |strategy| strategy.value),
        degraded_points: points.map_or(default.degraded_points, |points| points.value),
        rebalance: rebalance(top, pace),
    };
    (policy, at)
}

fn rebalance(top: &Section<'_>, pace: Pace) -> Option<Rebalance> {
    use fields::{COOLDOWN, HIGH, HOLD, LOW, REBALANCE};
    let section = top.table(&REBALANCE, &[HIGH, LOW, HOLD, COOLDOWN])?;
    let per_mille = |field, low, high| {
        let number = section.number(field, low..=high)?;
        Some(u16::try_from(number.value).unwrap_or_default())
    };
    let bounds = |high: Option<u16>, low: Option<u16>| {
        let (high, low) = (high.unwrap_or(DEFAULT_HIGH), low.unwrap_or(DEFAULT_LOW));
        (high, low, low + APART > high)
    };
    // 1,000 is as much as a node can have to do.
    let (high, low, close) = bounds(
        per_mille(&HIGH, u32::from(APART), 1_000),
        per_mille(&LOW, 0, 1_000 - u32::from(APART)),
    );
    if close {
        let at = if section.has(&LOW) { &LOW } else { &HIGH };
        section.problem(
            section.at_field(at),
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
    let cooldown = section.text(&COOLDOWN, values::duration(Duration::ZERO, DAY));
    Some(Rebalance {
        high,
        low,
        hold: hold(&section, pace),
        cooldown: cooldown.map_or(DEFAULT_COOLDOWN, |cooldown| cooldown.value),
    })
}

/// Long enough to see more than one moment, of this node and of the others.
fn hold(section: &Section<'_>, pace: Pace) -> Duration {
    let known = 4 * pace.heartbeat;
    let least = known.max(pace.load);
    let limits = values::duration(SECOND / 10, 60 * MINUTE);
    let Some(At { value, at }) = section.text(&fields::HOLD, limits) else {
        return DEFAULT_HOLD.max(least);
    };
    let reason = if value < known {
        Some(format!(
            "four heartbeats, {}: the others' loads come with these, and some get lost",
            Show(known)
        ))
    } else if value < pace.load {
        Some(format!(
            "the interval of [load], {}: a single look would decide",
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
