//! How punctual each real-time thread of the agent has to be.

use std::time::Duration;

pub use heartbeat_sys::process::scheduling::{
    Granted, Granter, Refusal, Reservation, Scheduling, Urgency, lock_memory,
};

/// Part of a period that the pulse reserves. Its round of probes takes a few per cent of an
/// interval; the rest is for votes and takeovers. The kernel admits 95 % of all processors in
/// total, so several agents find room on one.
const PULSE_SHARE: u32 = 5;
/// Part of a period that the resource manager reserves, which has nothing to do but for a change.
const CONDUCTOR_SHARE: u32 = 20;

/// The pulse's reservation: once each interval.
pub fn of_pulse(interval: Duration) -> Reservation {
    Reservation::share(interval, PULSE_SHARE)
}

/// The resource manager's reservation.
pub fn of_conductor(interval: Duration) -> Reservation {
    Reservation::share(interval, CONDUCTOR_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn reservation_of_any_interval_stays_within_what_the_kernel_takes() {
        for (interval, runtime, period) in [
            (1, 200, 1),
            (10, 2_000, 10),
            (100, 20_000, 100),
            (10_000, 20_000, 100),
        ] {
            let reserved = of_pulse(interval * MS);
            assert_eq!(reserved.runtime, Duration::from_micros(runtime));
            assert_eq!(reserved.period, period * MS);
            assert!(of_conductor(interval * MS).runtime >= Duration::from_micros(50));
        }
    }
}
