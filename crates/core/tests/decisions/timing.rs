//! The bounds that the decisions derive from the configured durations.

use std::time::Duration;

use heartbeat_core::Timing;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn timing(interval: Duration, timeout: Duration) -> Timing {
    Timing {
        interval,
        timeout,
        agent_stall: ms(500),
        lease: ms(60),
        drift_ppm: 1_000,
    }
}

#[test]
fn bounds_of_the_detector_follow_from_interval_and_timeout() {
    // Interval, timeout; probes needed, grace, pause, slack.
    for (interval, timeout, needed, grace, pause, slack) in [
        (ms(1), ms(3), 2, ms(1), ms(2), ms(1)),
        (ms(10), ms(30), 2, ms(10), ms(20), ms(5)),
        (ms(10), ms(35), 2, ms(15), ms(25), ms(5)),
        (ms(10), ms(100), 8, ms(20), ms(90), ms(5)),
        (ms(100), ms(150), 1, ms(50), ms(200), ms(5)),
        (ms(100), ms(110), 1, ms(50), ms(200), ms(5)),
        (ms(1_000), ms(60_000), 8, ms(52_000), ms(59_000), ms(5)),
    ] {
        let timing = timing(interval, timeout);
        let case = format!("{interval:?} {timeout:?}");
        assert_eq!(timing.probes_needed(), needed, "{case}");
        assert_eq!(timing.grace(), grace, "{case}");
        assert_eq!(timing.pause(), pause, "{case}");
        assert_eq!(timing.slack(), slack, "{case}");
        assert_eq!(timing.stagger(), interval, "{case}");
        assert_eq!(timing.grace_after_lapse(), interval * 2, "{case}");
    }
}

/// The owner counts a vote for less than the lease, by the drift of two clocks, rounded up.
// docs/design/leases.md#rule-1
#[test]
fn owner_counts_a_lease_less_the_drift_of_two_clocks() {
    for (lease, drift_ppm, nanos) in [
        (ms(60), 1_000, 59_880_000),
        (ms(60), 0, 60_000_000),
        (ms(60), 100_000, 48_000_000),
        (Duration::from_nanos(7), 1, 6),
        (Duration::from_nanos(7), 500_000, 0),
        (ms(60), 1_000_000, 0),
    ] {
        let timing = Timing {
            drift_ppm,
            ..timing(ms(10), ms(30))
        };
        let term = timing.term(lease);
        assert_eq!(term.asked, lease);
        let counted = Duration::from_nanos(nanos);
        assert_eq!(term.counted, counted, "{lease:?} {drift_ppm} ppm");
    }
}
