//! The failure detector of one link, as stories. The real per-packet functions write the rows, and
//! time passes as the story says. The consequences of a stall of this node are in `stalls.rs`.

use heartbeat_common::time::Boottime;
use heartbeat_core::link::{LinkState, Silence};
use proptest::prelude::*;

use crate::support::{
    MS, START, TIMINGS, US,
    kernel::last_reply,
    ns,
    observer::{Observer, every_timing},
    timing,
};

#[test]
fn dead_peer_is_down_exactly_a_timeout_after_its_last_reply() {
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
fn probe_overdue_is_suspicion_and_an_answer_ends_it() {
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
fn however_many_probes_leave_at_a_tick_the_dead_are_down_on_time() {
    for frames in [2, 3, 8, 20] {
        for mut link in every_timing() {
            link.frames = frames;
            link.run_for(5 * ns(link.timing.interval));
            link.peer_dies();
            let due = link.last_reply_at() + ns(link.timing.timeout);
            link.run_for(2 * ns(link.timing.timeout));
            assert_eq!(link.downs(), [due], "{:?}, {frames} at a tick", link.timing);
        }
    }
}

/// All frames of a burst may be lost at once.
#[test]
fn probes_of_one_tick_are_one_chance() {
    for mut link in every_timing() {
        let (interval, timeout) = (ns(link.timing.interval), ns(link.timing.timeout));
        link.frames = 3;
        link.run_for(5 * interval);
        // Loses as many ticks in a row as a timeout tolerates, and then leaves only the first probe
        // of a tick.
        let forgiven = timeout / interval - 2;
        let (first, rtt) = (link.kernel.row(0).last_probe_seq + 1, interval / 10);
        link.peer_answers(move |n| {
            let (tick, frame) = ((n - first) / 3, (n - first) % 3);
            if tick % (forgiven + 1) == 0 && frame == 0 {
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
fn peer_that_returns_is_up_at_the_tick_after_its_first_reply() {
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
fn peer_that_never_answers_goes_from_unknown_to_down() {
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

proptest! {
    /// In any order and any number of the replies, each is in time, so the peer is alive.
    #[test]
    fn reordered_and_repeated_replies_are_all_evidence(
        which in 0..TIMINGS.len(),
        delays in prop::collection::vec(prop::collection::vec(1..600u64, 1..4), 50..150),
    ) {
        let (interval, timeout) = TIMINGS[which];
        let mut link = Observer::new(timing(interval, timeout));
        // Thousandths of the timeout less an interval: the longest time of a first reply.
        let unit = ((timeout - interval) * MS / 1_000).max(1);
        let count = delays.len() as u64;
        link.peer_answers(move |n| {
            delays[(n as usize - 1) % delays.len()].iter().map(|delay| delay * unit).collect()
        });
        link.run_for(count * interval * MS);
        prop_assert_eq!(link.downs(), []);
        let never = last_reply(link.kernel.row(0)) == Boottime::default();
        prop_assert_eq!(link.state() == LinkState::Unknown, never);
    }
}
