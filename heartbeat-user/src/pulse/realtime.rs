//! The scheduling reservations of the agent's real-time threads.

use std::time::Duration;

pub use heartbeat_sys::process::scheduling::{
    Granted, Granter, Refusal, Reservation, Scheduling, Urgency, lock_memory,
};

/// The pulse reserves one part in this many of a period. A round of probes needs a few per cent of
/// an interval; the rest is for votes and takeovers. The kernel admits 95 % of all processors in
/// total, so several agents fit on one.
const PULSE_SHARE: u32 = 5;
/// The resource manager reserves one part in this many of a period. It works only on changes.
const RESOURCE_MANAGER_SHARE: u32 = 20;

/// Returns the pulse's reservation: once each interval.
pub fn of_pulse(interval: Duration) -> Reservation {
    Reservation::share(interval, PULSE_SHARE)
}

/// Returns the resource manager's reservation.
pub fn of_resource_manager(interval: Duration) -> Reservation {
    Reservation::share(interval, RESOURCE_MANAGER_SHARE)
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
            assert!(of_resource_manager(interval * MS).runtime >= Duration::from_micros(50));
        }
    }
}
