use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use super::*;
use crate::config::HealthKind;

const FATAL: Meaning = Meaning::Fatal;
const DEGRADED: Meaning = Meaning::Degraded;

fn check(name: &str, meaning: Meaning) -> HealthCheck {
    HealthCheck {
        name: name.to_owned(),
        kind: HealthKind::Disk(PathBuf::from("/")),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 1,
        meaning,
    }
}

fn good() -> Verdict {
    Ok("good".to_owned())
}

fn bad() -> Verdict {
    Err("bad".to_owned())
}

/// Returns a board with these checks, whose tickets are their numbers, and the channel of its
/// notices.
fn board(trusted: bool, meanings: &[Meaning]) -> (Arc<Board>, mpsc::Receiver<Notice>) {
    let (tell, notices) = mpsc::channel();
    let board = Board::new(Box::new(move |notice| tell.send(notice).unwrap()));
    let entries = meanings.iter().zip(0..).map(|(meaning, number)| {
        Entry::new(check(&format!("c{number}"), *meaning), number, trusted)
    });
    board.set(entries.collect());
    (Arc::new(board), notices)
}

/// Returns number, success and message of the turns, and the sums.
fn notices(inbox: &mpsc::Receiver<Notice>) -> (Vec<(usize, bool, String)>, Vec<Sum>) {
    let (mut turns, mut sums) = (Vec::new(), Vec::new());
    for notice in inbox.try_iter() {
        match notice {
            Notice::Sum(sum) => sums.push(sum),
            Notice::Turn(turn) => turns.push((turn.number, turn.well, turn.message)),
        }
    }
    (turns, sums)
}

fn health(bits: u16) -> Sum {
    Sum {
        health: Health(bits),
        watched: Health::default(),
    }
}

#[test]
fn fatal_check_counts_as_failing_until_its_first_result_without_a_turn() {
    let (board, inbox) = board(false, &[FATAL, DEGRADED]);
    assert_eq!(notices(&inbox), (vec![], vec![health(0x8001)]));
    board.sample(1, good());
    assert_eq!(notices(&inbox), (vec![], vec![]));
    board.sample(0, good());
    assert_eq!(notices(&inbox), (vec![], vec![health(0)]));
}

#[test]
fn first_failure_of_a_fatal_check_is_a_turn_without_a_new_sum() {
    let (board, inbox) = board(false, &[FATAL]);
    notices(&inbox);
    board.sample(0, bad());
    assert_eq!(
        notices(&inbox),
        (vec![(0, false, "bad".to_owned())], vec![])
    );
    board.sample(0, good());
    let well = vec![(0, true, "good".to_owned())];
    assert_eq!(notices(&inbox), (well, vec![health(0)]));
}

#[test]
fn trusted_check_counts_only_after_a_failure() {
    let (board, inbox) = board(true, &[FATAL]);
    assert_eq!(notices(&inbox).1, [health(0)]);
    board.sample(0, bad());
    assert_eq!(notices(&inbox).1, [health(0x8001)]);
}

#[test]
fn sum_covers_all_checks_and_is_fatal_if_a_failing_one_is() {
    let (board, inbox) = board(true, &[DEGRADED, FATAL, DEGRADED]);
    for (ticket, verdict, sum) in [
        (0, bad(), 0x0001),
        (1, bad(), 0x8003),
        (2, bad(), 0x8007),
        (1, good(), 0x0005),
        (0, good(), 0x0004),
    ] {
        board.sample(ticket, verdict);
        assert_eq!(notices(&inbox).1.last(), Some(&health(sum)), "{ticket}");
    }
    assert_eq!(board.sum(), health(4));
}

#[test]
fn process_end_is_reported_at_once_together_with_the_lost_watch() {
    let (board, inbox) = board(true, &[DEGRADED, FATAL]);
    board.sample(1, good());
    board.watched(1, true);
    let watched = Sum {
        watched: Health::of(1, true),
        ..Sum::default()
    };
    assert_eq!(notices(&inbox).1, [Sum::default(), watched]);
    board.fail(1, "gone".to_owned());
    // The report is one: between two, heartbeats could report the node as healthy.
    assert_eq!(
        notices(&inbox),
        (vec![(1, false, "gone".to_owned())], vec![health(0x8002)])
    );
    // The kernel may still have reported the end meanwhile.
    board.unwatched(1);
    assert_eq!(notices(&inbox), (vec![], vec![health(0x8002)]));
}

#[test]
fn results_of_replaced_checks_do_not_count() {
    let (board, inbox) = board(true, &[FATAL]);
    notices(&inbox);
    board.sample(7, bad());
    board.fail(7, String::new());
    board.watched(7, true);
    assert_eq!(notices(&inbox), (vec![], vec![]));
    let [status] = &board.statuses()[..] else {
        panic!("one check");
    };
    assert_eq!(
        (status.state, status.message.as_str()),
        (State::Unknown, "")
    );
}
