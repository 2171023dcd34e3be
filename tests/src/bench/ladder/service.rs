//! The service of the virtual address as an observer saw it: gaps, changes of the owner, and
//! questions with two answers.

use std::time::Duration;

use heartbeat_common::time::Boottime;
use serde::Serialize;

use super::{
    super::quantiles::Quantiles,
    observer::{Mac, Question, Seen},
};

/// A gap of at least this length counts as long.
const LONG: Duration = Duration::from_millis(10);

/// The service over a rung.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// Questions that were sent during the rung.
    pub asked: usize,
    pub unanswered: usize,
    /// The longest time from a question until any answer arrived.
    pub longest_gap_ms: f64,
    /// Gaps above 10 ms.
    pub gaps_over_10ms: usize,
    /// Changes of the node that answers.
    pub owner_changes: usize,
    /// Questions that two nodes answered.
    pub double_answers: usize,
    /// How late the observer itself was, in microseconds.
    pub observer_late_us: Quantiles,
    pub observer_scheduling: String,
}

impl Service {
    /// Of the questions from `from` to `until`.
    pub(super) fn new(seen: &Seen, from: Boottime, until: Boottime) -> Self {
        let first = seen.questions.partition_point(|q| q.sent < from);
        let end = seen.questions.partition_point(|q| q.sent < until);
        let asked = &seen.questions[first..end];
        let nodes = nodes(seen, first, end);
        let gaps = gaps(seen, asked, until);
        let late = asked.iter().map(|question| question.late.as_nanos() as u64);
        Self {
            asked: asked.len(),
            unanswered: nodes.iter().filter(|nodes| nodes.is_empty()).count(),
            longest_gap_ms: gaps
                .iter()
                .max()
                .map_or(0.0, |gap| gap.as_nanos() as f64 / 1e6),
            gaps_over_10ms: gaps.iter().filter(|gap| **gap > LONG).count(),
            owner_changes: changes(&nodes),
            double_answers: nodes.iter().filter(|nodes| nodes.len() > 1).count(),
            observer_late_us: Quantiles::new(late.collect(), asked.len()),
            observer_scheduling: seen.scheduling.clone(),
        }
    }

    /// The share of questions without an answer, in percent.
    pub(super) fn unanswered_percent(&self) -> f64 {
        100.0 * self.unanswered as f64 / self.asked.max(1) as f64
    }
}

/// The nodes that answered each of the questions from number `first` to before `end`, in the order
/// of their answers.
fn nodes(seen: &Seen, first: usize, end: usize) -> Vec<Vec<Mac>> {
    let mut nodes = vec![Vec::new(); end - first];
    for answer in &seen.answers {
        let slot = answer.number.checked_sub(first);
        if let Some(known) = slot.and_then(|slot| nodes.get_mut(slot))
            && !known.contains(&answer.node)
        {
            known.push(answer.node);
        }
    }
    nodes
}

/// The times that the observer waited for any answer. A gap begins with the first question since
/// the last answer, so a late observer makes no gap. The last one may last until `until`.
fn gaps(seen: &Seen, asked: &[Question], until: Boottime) -> Vec<Duration> {
    let mut arrivals: Vec<Boottime> = seen.answers.iter().map(|answer| answer.at).collect();
    arrivals.sort_unstable();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut gaps = Vec::new();
    let mut waits_until = None;
    for question in asked {
        if waits_until.is_some_and(|end| question.sent <= end) {
            continue;
        }
        while arrivals.next_if(|at| *at < question.sent).is_some() {}
        let end = arrivals.peek().copied().map_or(until, |at| at.min(until));
        gaps.push(end.since(question.sent));
        waits_until = Some(end);
    }
    gaps
}

/// How often a question was answered by other nodes than the answered question before it.
fn changes(nodes: &[Vec<Mac>]) -> usize {
    let mut owner: Option<Mac> = None;
    let mut changes = 0;
    for nodes in nodes {
        let Some(first) = nodes.first() else {
            continue;
        };
        if owner.is_some_and(|owner| nodes.contains(&owner)) {
            continue;
        }
        changes += usize::from(owner.is_some());
        owner = Some(*first);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::{super::observer::Answer, *};

    const A: Mac = [1; 6];
    const B: Mac = [2; 6];

    fn at(micros: u64) -> Boottime {
        Boottime::from_nanos(micros * 1_000)
    }

    /// One question each millisecond; answers by number of the question, instant and node.
    fn seen(questions: usize, answers: &[(usize, u64, Mac)]) -> Seen {
        let question = |number: usize| Question {
            sent: at(number as u64 * 1_000),
            late: Duration::from_micros(number as u64),
        };
        let answer = |&(number, micros, node): &(usize, u64, Mac)| Answer {
            number,
            at: at(micros),
            node,
        };
        Seen {
            questions: (0..questions).map(question).collect(),
            answers: answers.iter().map(answer).collect(),
            scheduling: "SCHED_DEADLINE".to_owned(),
        }
    }

    /// Each question in `numbers` is answered by `node` after 30 us.
    fn prompt(numbers: std::ops::Range<usize>, node: Mac) -> Vec<(usize, u64, Mac)> {
        numbers
            .map(|number| (number, number as u64 * 1_000 + 30, node))
            .collect()
    }

    #[test]
    fn service_that_answers_promptly_has_gaps_of_a_round_trip() {
        let service = Service::new(&seen(50, &prompt(0..50, A)), at(0), at(50_000));
        assert_eq!((service.asked, service.unanswered), (50, 0));
        assert_eq!((service.longest_gap_ms, service.gaps_over_10ms), (0.03, 0));
        assert_eq!((service.owner_changes, service.double_answers), (0, 0));
        assert_eq!(service.observer_late_us.max, Some(49.0));
    }

    #[test]
    fn gap_lasts_from_the_first_unanswered_question_to_the_next_answer() {
        let mut answers = prompt(0..10, A);
        answers.extend(prompt(30..50, B));
        let service = Service::new(&seen(50, &answers), at(0), at(50_000));
        assert_eq!((service.unanswered, service.owner_changes), (20, 1));
        assert_eq!((service.longest_gap_ms, service.gaps_over_10ms), (20.03, 1));
        assert_eq!(service.unanswered_percent(), 40.0);
    }

    #[test]
    fn late_answer_ends_a_gap_when_it_arrives() {
        let mut answers = prompt(0..10, A);
        answers.extend((10..26).map(|number| (number, 25_500, A)));
        answers.extend(prompt(26..50, A));
        let service = Service::new(&seen(50, &answers), at(0), at(50_000));
        assert_eq!((service.unanswered, service.gaps_over_10ms), (0, 1));
        assert_eq!(service.longest_gap_ms, 15.5);
    }

    #[test]
    fn gap_without_an_end_lasts_until_the_end_of_the_rung() {
        let service = Service::new(&seen(50, &prompt(0..10, A)), at(0), at(50_000));
        assert_eq!((service.longest_gap_ms, service.gaps_over_10ms), (40.0, 1));
        let silent = Service::new(&seen(50, &[]), at(0), at(50_000));
        assert_eq!((silent.longest_gap_ms, silent.unanswered), (50.0, 50));
    }

    #[test]
    fn late_observer_makes_no_gap() {
        let mut late = seen(3, &prompt(0..3, A));
        late.questions[2].sent = at(100_000);
        late.answers[2].at = at(100_030);
        let service = Service::new(&late, at(0), at(101_000));
        assert_eq!((service.longest_gap_ms, service.gaps_over_10ms), (0.03, 0));
    }

    #[test]
    fn questions_before_and_after_the_rung_do_not_count() {
        let mut answers = prompt(20..30, A);
        answers.push((30, 30_030, B));
        let service = Service::new(&seen(50, &answers), at(20_000), at(30_000));
        assert_eq!((service.asked, service.unanswered), (10, 0));
        assert_eq!((service.owner_changes, service.gaps_over_10ms), (0, 0));
    }

    #[test]
    fn question_with_two_answers_is_no_change_of_the_owner() {
        let mut answers = prompt(0..10, A);
        answers.extend(prompt(3..6, B));
        answers.extend(prompt(3..4, B));
        let service = Service::new(&seen(10, &answers), at(0), at(10_000));
        assert_eq!((service.double_answers, service.owner_changes), (3, 0));
    }

    #[test]
    fn owner_that_returns_makes_two_changes() {
        let mut answers = prompt(0..3, A);
        answers.extend(prompt(5..7, B));
        answers.extend(prompt(7..10, A));
        let service = Service::new(&seen(10, &answers), at(0), at(10_000));
        assert_eq!((service.owner_changes, service.unanswered), (2, 2));
    }
}
