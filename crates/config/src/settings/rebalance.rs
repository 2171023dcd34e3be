//! `[rebalance]`: groups that move to where there is room.

use std::time::Duration;

use super::{
    Check::Prose,
    Fallback::{Follows, Is},
    Reload::Rebalance,
    settings,
};
use crate::readers::{Number, PER_MILLE, Time, number};

/// The least distance between the bounds, so that a group that moves does not make its new node the
/// next that has too much.
pub(crate) const APART: u16 = 100;
/// The load of a node that can do no more.
const FULL: u16 = 1_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

settings! {
    /// Groups that move to where there is room. Without this table they move only when they must.
    "[rebalance]" of (), "with its bounds below";

    /// The load from which a node has too much to do.
    HIGH: Number<u16> = number(APART, FULL, PER_MILLE) => {
        name: "high", default: Is(|| 800),
        reload: Rebalance, digest: true, check: Prose;
        |config, _| config.placement.rebalance.map(|rebalance| rebalance.high)
    }

    /// The load up to which a node has room: at least 100 below `high`.
    LOW: Number<u16> = number(0, FULL - APART, PER_MILLE) => {
        name: "low", default: Is(|| 500),
        reload: Rebalance, digest: true, check: Prose;
        |config, _| config.placement.rebalance.map(|rebalance| rebalance.low)
    }

    /// For how long without interruption a node must have had too much: at least four intervals of
    /// heartbeats and one of [load].
    HOLD: Time = Time { low: Duration::from_millis(100), high: Duration::from_secs(3_600) } => {
        name: "hold", default: Follows("30s, or as long as it must be"), example: r#""30s""#,
        reload: Rebalance, digest: true, check: Prose;
        |config, _| config.placement.rebalance.map(|rebalance| rebalance.hold)
    }

    /// How long nothing moves after anything has.
    COOLDOWN: Time = Time { low: Duration::ZERO, high: DAY } => {
        name: "cooldown", default: Is(|| Duration::from_secs(300)),
        reload: Rebalance, digest: true, check: Prose;
        |config, _| config.placement.rebalance.map(|rebalance| rebalance.cooldown)
    }
}
