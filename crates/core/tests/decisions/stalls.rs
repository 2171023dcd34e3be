//! The failure detector on a node that is held up: its machine is paused, its agent gets no CPU, or
//! its probes do not leave. The detector must not declare an answering peer down, and must still
//! find a dead one.

use heartbeat_common::{
    maps::{PeerRow, sent_slot},
    time::Boottime,
};
use heartbeat_core::link::{Finding, LinkDetector, LinkState, Silence};
use proptest::prelude::*;

use crate::support::{
    MS, TIMINGS, ns,
    observer::{Observer, acquainted, every_timing},
    timing,
};

const HOUR: u64 = 3_600_000 * MS;

/// The instants at which a machine may stop, as fractions of an interval after a tick.
const PHASES: [u64; 5] = [0, 1, 5, 11, 99];

/// The lengths of pauses: from within the timeout to a night's suspend.
fn pauses(timeout: u64) -> [u64; 7] {
    [
        timeout / 3,
        timeout - MS / 2,
        timeout,
        timeout + MS / 2,
        2 * timeout,
        10 * timeout,
        9 * HOUR,
    ]
}

#[test]
fn machine_that_stood_still_does_not_blame_a_peer_that_answers() {
    for (interval, timeout) in TIMINGS {
        for rtt in [
            interval * MS / 100,
            interval * MS * 6 / 10,
            interval * MS * 9 / 10,
        ] {
            for pause in pauses(timeout * MS) {
                for phase in PHASES {
                    let mut link = acquainted(interval, timeout, rtt);
                    link.run_for(interval * MS / 2 + phase * interval * MS / 100);
                    link.pause_for(pause, false);
                    link.run_for(3 * timeout * MS);
                    let story = format!(
                        "{interval} ms, {timeout} ms, round trip {rtt} ns, {pause} ns from {phase} \
                         % on"
                    );
                    assert_eq!(link.downs(), [], "{story}");
                    assert_eq!(link.state(), LinkState::Up, "{story}");
                }
            }
        }
    }
}

#[test]
fn agent_that_wakes_before_its_kernel_has_seen_the_waiting_replies_calls_it_a_stall() {
    for (interval, timeout) in TIMINGS {
        let mut link = acquainted(interval, timeout, interval * MS / 10);
        // A few unanswered probes come first, so that on return the deadline has passed.
        link.peer_answers_after(timeout * MS - interval * MS / 2);
        link.run_for(timeout * MS - interval * MS);
        link.pause_for(4 * timeout * MS, true);
        link.run_for(3 * timeout * MS);
        assert_eq!(link.downs(), [], "{interval} ms, {timeout} ms");
        assert!(link.stalls > 0, "{interval} ms, {timeout} ms");
    }
}

#[test]
fn peer_that_died_while_the_machine_stood_still_is_down_soon_after_its_return() {
    for (interval, timeout) in TIMINGS {
        for pause in pauses(timeout * MS) {
            for phase in PHASES {
                let mut link = acquainted(interval, timeout, interval * MS / 10);
                link.run_for(interval * MS / 2 + phase * interval * MS / 100);
                link.peer_dies();
                link.pause_for(pause, false);
                let returned = link.now;
                let bound = (timeout + 2 * interval) * MS;
                link.run_for(bound);
                let story = format!("{interval} ms, {timeout} ms, {pause} ns from {phase} % on");
                assert_eq!(link.state(), LinkState::Down, "{story}");
                assert!(link.downs()[0] <= returned + bound, "{story}");
            }
        }
    }
}

#[test]
fn silence_counts_for_nothing_while_no_probe_leaves() {
    for mut link in every_timing() {
        link.fall_mute();
        link.peer_dies();
        link.run_for(20 * ns(link.timing.timeout));
        assert_eq!(link.downs(), [], "{:?}", link.timing);
        link.speak_again();
        let spoke_at = link.now;
        link.run_for(2 * ns(link.timing.timeout));
        let (interval, timeout) = (ns(link.timing.interval), ns(link.timing.timeout));
        let down = link.downs()[0] - spoke_at;
        assert!(
            down >= timeout - interval,
            "{:?}: down after {down} ns",
            link.timing
        );
        assert!(
            down <= timeout + interval,
            "{:?}: down after {down} ns",
            link.timing
        );
    }
}

#[test]
fn agent_kept_from_the_cpu_does_not_blame_a_peer_that_answers_its_kernel() {
    for (interval, timeout) in TIMINGS {
        for rtt in [interval * MS / 100, interval * MS * 9 / 10] {
            for stall in pauses(timeout * MS) {
                let mut link = acquainted(interval, timeout, rtt);
                for _ in 0..3 {
                    link.stall_agent_for(stall);
                    link.run_for(interval * MS * 7 / 3);
                }
                link.run_for(3 * timeout * MS);
                assert_eq!(
                    link.downs(),
                    [],
                    "{interval} ms, {timeout} ms, {rtt} ns, {stall} ns"
                );
                assert_eq!(link.state(), LinkState::Up);
            }
        }
    }
}

#[test]
fn lost_reply_a_late_tick_and_a_slow_answer_are_no_death() {
    let mut link = acquainted(10, 30, MS);
    let last = link.kernel.row(0).last_probe_seq;
    link.peer_answers(move |n| if n == last + 1 { vec![] } else { vec![7 * MS] });
    link.run_for(6 * MS);
    link.stall_agent_for(18 * MS);
    link.run_for(100 * MS);
    assert_eq!(link.downs(), []);
}

#[test]
fn late_tick_gives_slow_answers_the_time_that_they_would_have_had() {
    let mut link = acquainted(10, 30, MS);
    link.peer_answers_after(15 * MS);
    link.run_for(4 * MS);
    link.stall_agent_for(10 * MS);
    link.run_for(100 * MS);
    assert_eq!(link.downs(), []);
}

#[test]
fn machine_that_stood_still_waits_for_answers_that_take_longer_than_an_interval() {
    for phase in PHASES {
        for pause in pauses(30 * MS) {
            let mut link = acquainted(10, 30, 13 * MS);
            link.run_for(5 * MS + phase * MS / 10);
            link.pause_for(pause, false);
            link.run_for(100 * MS);
            assert_eq!(link.downs(), [], "{pause} ns from {phase} % on");
        }
    }
}

/// A silence that the kernel's timer found on time is trusted, however late the agent checks.
#[test]
fn kernel_s_timer_vouches_for_a_look_that_comes_late() {
    for mut link in every_timing() {
        let (interval, timeout) = (ns(link.timing.interval), ns(link.timing.timeout));
        link.peer_dies();
        let due = link.last_reply_at() + timeout;
        link.run_for(due - link.now - interval / 4);
        assert_eq!(link.downs(), []);
        link.stall_agent_for(3 * timeout);
        assert_eq!(link.downs(), [link.now], "{:?}", link.timing);
        assert_eq!(
            link.silence.and_then(|silence| silence.fired),
            Some(Boottime::from_nanos(due))
        );
        assert_eq!(link.stalls, 0);
    }
}

/// The same holds if the last probes left a little late, which delays this node's deadline but not
/// the timer's.
#[test]
fn timer_vouches_too_when_the_probes_left_a_little_late() {
    for mut link in every_timing() {
        let (interval, timeout) = (ns(link.timing.interval), ns(link.timing.timeout));
        let little = ns(link.timing.slack()) / 5;
        link.peer_answers_after(little / 100);
        link.run_for(interval);
        link.peer_dies();
        let due = link.last_reply_at() + timeout;
        link.run_for(interval / 4);
        link.stall_agent_for(interval / 4 + little);
        assert!(link.now < due, "the tick came late");
        link.run_for(due - link.now - interval / 10);
        link.stall_agent_for(3 * timeout);
        let downs = vec![link.now];
        assert_eq!((link.downs(), link.stalls), (downs, 0), "{:?}", link.timing);
    }
}

#[test]
fn without_that_a_late_look_is_a_stall_and_the_silence_begins_anew() {
    for mut link in every_timing() {
        let (interval, timeout) = (ns(link.timing.interval), ns(link.timing.timeout));
        link.peer_dies();
        let due = link.last_reply_at() + timeout;
        link.run_for(due - link.now - interval / 4);
        link.pause_for(3 * timeout, false);
        assert_eq!(
            (link.downs().len(), link.stalls),
            (0, 1),
            "{:?}",
            link.timing
        );
        let returned = link.now;
        link.run_for(timeout + 2 * interval);
        assert!(
            link.downs()[0] >= returned + timeout - interval,
            "{:?}",
            link.timing
        );
    }
}

proptest! {
    /// Any mixture of running, pauses and lack of CPU: a peer that answers each probe is never down
    /// if a timeout holds three intervals. With two, of which the configuration warns, one probe
    /// that left just before a pause is enough. A pause that ends within the slack behind a
    /// deadline cannot be told from silence.
    #[test]
    fn no_history_of_stalls_makes_a_peer_that_answers_down(
        which in prop::sample::select(vec![0, 1, 2, 4]),
        rtt in 1..750u64,
        history in prop::collection::vec((0..4u8, 1..4_000u64), 1..30),
    ) {
        let (interval, timeout) = TIMINGS[which];
        let mut link = acquainted(interval, timeout, rtt * interval * MS / 1_000);
        for (what, length) in history {
            let duration = length * timeout * MS / 1_000;
            match what {
                0 => link.stall_agent_for(duration),
                1 => link.pause_for(duration, false),
                _ => link.run_for(duration),
            }
            let slack = link.timing.slack();
            let at_its_end = |silence: Silence| silence.decided <= silence.deadline.after(slack);
            if what == 1 && link.silence.is_some_and(at_its_end) {
                return Ok(());
            }
            prop_assert_eq!(link.downs(), [], "down at {}", link.now);
        }
    }

    /// After any such history a peer that dies is down in bounded time.
    #[test]
    fn no_history_of_stalls_hides_a_death(
        which in 0..TIMINGS.len(),
        history in prop::collection::vec((0..4u8, 1..4_000u64), 1..30),
    ) {
        let (interval, timeout) = TIMINGS[which];
        let mut link = Observer::new(timing(interval, timeout));
        link.peer_answers_after(interval * MS / 10);
        for (what, length) in history {
            let duration = length * timeout * MS / 1_000;
            match what {
                0 => link.stall_agent_for(duration),
                1 => link.pause_for(duration, false),
                _ => link.run_for(duration),
            }
        }
        link.peer_dies();
        link.run_for((timeout + 2 * interval) * MS);
        prop_assert_eq!(link.state(), LinkState::Down);
    }
}

#[test]
fn agent_that_is_always_late_finds_the_dead_after_a_few_excuses() {
    for (interval, timeout) in TIMINGS {
        let timing = timing(interval, timeout);
        let mut detector = LinkDetector::default();
        let mut row = PeerRow::default();
        let (mut now, mut stalls) = (MS, 0);
        // The peer never answers, and every decision comes too late to be trusted.
        while detector.state() != LinkState::Down {
            while row.last_probe_seq * interval * MS < now {
                row.last_probe_seq += 1;
                row.sent_at[sent_slot(row.last_probe_seq)] = row.last_probe_seq * interval * MS;
            }
            if let Finding::Stalled { .. } =
                detector.observe(&row, Boottime::from_nanos(now), &timing)
            {
                stalls += 1;
            }
            let late = timing.slack().as_nanos() as u64 + 1;
            now = match detector.deadline() {
                Some(deadline) => deadline.as_nanos() + late,
                None => now + interval * MS,
            };
            assert!(now < 8 * timeout * MS, "{interval} ms, {timeout} ms");
        }
        assert_eq!(stalls, 3, "{interval} ms, {timeout} ms");
    }
}
