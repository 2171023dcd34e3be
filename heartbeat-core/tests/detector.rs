//! The failure detector of one link, as stories: rows are written by the real per-packet functions,
//! time passes as the story says.

mod support;

use heartbeat_common::time::Boottime;
use heartbeat_core::link::{LinkState, Silence};
use proptest::prelude::*;
use support::{MS, START, TIMINGS, US, kernel::last_reply, ns, observer::Observer, timing};

const HOUR: u64 = 3_600_000 * MS;

/// An observer whose peer has answered a few probes, each after `rtt`.
fn acquainted(interval_ms: u64, timeout_ms: u64, rtt: u64) -> Observer {
    let mut link = Observer::new(timing(interval_ms, timeout_ms));
    link.peer_answers_after(rtt);
    link.run_for(20 * interval_ms * MS + interval_ms * MS / 2);
    assert_eq!(link.state(), LinkState::Up);
    link
}

/// Every timing with its usual round trip: a tenth of the interval.
fn every_timing() -> impl Iterator<Item = Observer> {
    TIMINGS
        .into_iter()
        .map(|(interval, timeout)| acquainted(interval, timeout, interval * MS / 10))
}

#[test]
fn a_dead_peer_is_down_exactly_a_timeout_after_its_last_reply() {
    for mut link in every_timing() {
        link.peer_dies();
        let died_at = link.last_reply_at();
        let due = died_at + ns(link.timing.timeout);
        link.run_for(2 * ns(link.timing.timeout));
        assert_eq!(link.downs(), [due], "{:?}", link.timing);
        let silence = link.silence.unwrap();
        let at = Boottime::from_nanos(due);
        let expected = Silence {
            last_reply: Some(Boottime::from_nanos(died_at)),
            deadline: at,
            fired: Some(at),
            decided: at,
        };
        assert_eq!(silence, expected, "{:?}", link.timing);
    }
}

#[test]
fn a_probe_overdue_is_suspicion_and_an_answer_ends_it() {
    for mut link in every_timing().filter(|link| link.timing.timeout > 2 * link.timing.interval) {
        let interval = ns(link.timing.interval);
        link.peer_dies();
        link.run_for(interval * 2 - interval / 4);
        assert_eq!(link.state(), LinkState::Suspect, "{:?}", link.timing);
        link.peer_answers_after(interval / 10);
        link.run_for(2 * interval);
        assert_eq!(link.state(), LinkState::Up, "{:?}", link.timing);
        assert_eq!(link.downs(), []);
    }
}

#[test]
fn a_peer_that_returns_is_up_at_the_tick_after_its_first_reply() {
    for mut link in every_timing() {
        link.peer_dies();
        link.run_for(3 * ns(link.timing.timeout));
        assert_eq!(link.state(), LinkState::Down);
        link.peer_answers_after(10 * US);
        link.run_for(2 * ns(link.timing.interval));
        assert_eq!(link.state(), LinkState::Up, "{:?}", link.timing);
        link.run_for(3 * ns(link.timing.timeout));
        assert_eq!(link.state(), LinkState::Up, "{:?}", link.timing);
        assert_eq!(link.downs().len(), 1);
    }
}

#[test]
fn a_peer_that_never_answers_goes_from_unknown_to_down() {
    for (interval, timeout) in TIMINGS {
        let mut link = Observer::new(timing(interval, timeout));
        link.run_for(3 * timeout * MS);
        let due = START + timeout * MS;
        assert_eq!(
            link.changes,
            [(due, LinkState::Down)],
            "{interval} ms, {timeout} ms"
        );
        assert_eq!(link.silence.and_then(|silence| silence.last_reply), None);
    }
}

#[test]
fn as_many_lost_replies_as_leave_one_in_time_are_forgiven() {
    for mut link in every_timing() {
        let (interval, timeout) = (ns(link.timing.interval), ns(link.timing.timeout));
        let forgiven = timeout / interval - 2;
        let rtt = interval / 10;
        link.peer_answers(move |n| {
            if n % (forgiven + 1) == 0 {
                vec![rtt]
            } else {
                vec![]
            }
        });
        link.run_for(5 * timeout);
        assert_eq!(link.downs(), [], "{:?}", link.timing);
    }
}

#[test]
fn replies_that_all_come_late_are_no_evidence() {
    for (interval, timeout) in TIMINGS {
        let mut link = Observer::new(timing(interval, timeout));
        link.peer_answers_after(timeout * MS + 1);
        link.run_for(5 * timeout * MS);
        assert_eq!(link.changes, [(START + timeout * MS, LinkState::Down)]);
        assert!(link.kernel.row(0).late_replies > 0);
    }
}

#[test]
fn copies_of_old_replies_do_not_keep_a_dead_peer_alive() {
    for mut link in every_timing() {
        let (interval, timeout) = (ns(link.timing.interval), ns(link.timing.timeout));
        let copies = (1..=40).map(|n| n * interval / 8).collect::<Vec<_>>();
        link.peer_answers(move |_| copies.clone());
        link.run_for(interval);
        link.peer_dies();
        let died_at = link.last_reply_at();
        link.run_for(2 * timeout);
        assert_eq!(link.downs(), [died_at + timeout], "{:?}", link.timing);
    }
}

/// Instants at which a machine may stop, as fractions of an interval after a tick.
const PHASES: [u64; 5] = [0, 1, 5, 11, 99];

/// How long machines stand still: from within the timeout to a night's suspend.
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
fn a_machine_that_stood_still_does_not_blame_a_peer_that_answers() {
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
                        "{interval} ms, {timeout} ms, round trip {rtt} ns, {pause} ns from {phase} % on"
                    );
                    assert_eq!(link.downs(), [], "{story}");
                    assert_eq!(link.state(), LinkState::Up, "{story}");
                }
            }
        }
    }
}

#[test]
fn an_agent_that_wakes_before_its_kernel_has_seen_the_waiting_replies_calls_it_a_stall() {
    for (interval, timeout) in TIMINGS {
        let mut link = acquainted(interval, timeout, interval * MS / 10);
        // A few unanswered probes first, so that on return the deadline has passed.
        link.peer_answers_after(timeout * MS - interval * MS / 2);
        link.run_for(timeout * MS - interval * MS);
        link.pause_for(4 * timeout * MS, true);
        link.run_for(3 * timeout * MS);
        assert_eq!(link.downs(), [], "{interval} ms, {timeout} ms");
        assert!(link.stalls > 0, "{interval} ms, {timeout} ms");
    }
}

#[test]
fn a_peer_that_died_while_the_machine_stood_still_is_down_soon_after_its_return() {
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
fn an_agent_kept_from_the_cpu_does_not_blame_a_peer_that_answers_its_kernel() {
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

/// A silence that the kernel's timer saw on time is trusted however late the agent looks.
#[test]
fn the_kernel_s_timer_vouches_for_a_look_that_comes_late() {
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
    /// However replies overtake each other and however often they come: each is in time, so the peer
    /// is alive.
    #[test]
    fn reordered_and_repeated_replies_are_all_evidence(
        which in 0..TIMINGS.len(),
        delays in prop::collection::vec(prop::collection::vec(1..600u64, 1..4), 50..150),
    ) {
        let (interval, timeout) = TIMINGS[which];
        let mut link = Observer::new(timing(interval, timeout));
        // Thousandths of the timeout less an interval: the longest that a first reply may take.
        let unit = ((timeout - interval) * MS / 1_000).max(1);
        let count = delays.len() as u64;
        link.peer_answers(move |n| {
            delays[(n as usize - 1) % delays.len()].iter().map(|delay| delay * unit).collect()
        });
        link.run_for(count * interval * MS);
        prop_assert_eq!(link.downs(), []);
        prop_assert_eq!(link.state() == LinkState::Unknown, last_reply(link.kernel.row(0)) == Boottime::default());
    }

    /// Any mixture of running, standing still and being kept from the CPU: a peer that answers each
    /// probe is never down, if a timeout holds three intervals. Where it holds only two, one probe
    /// is enough, and a stand-still that ends less than `slack` after the deadline can't be told from
    /// silence.
    #[test]
    fn no_history_of_stalls_makes_a_peer_that_answers_down(
        which in prop::sample::select(vec![0, 1, 2, 4]),
        rtt in 1..950u64,
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
