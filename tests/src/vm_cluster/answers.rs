//! Who answered at the virtual address, and to which questions.
//!
//! One client uses ARP. One client for each node asks that node's card, as a neighbour with an
//! outdated ARP entry would. So a node that serves without the lease is seen, even if ARP does not
//! name it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;

use super::network::{Network, vip};
use crate::client::Client;

/// The time between two questions of a client.
pub(super) const PERIOD: Duration = Duration::from_millis(20);

/// An answer at the virtual address. Both instants are the host's.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) node: Arc<str>,
    /// The departure of the question.
    pub(super) asked: Boottime,
    /// The arrival of the answer.
    pub(super) at: Boottime,
}

/// Answers of one node in a row, without one of another node between them.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) node: String,
    /// The arrivals of its first and its last answer.
    pub(super) first: Boottime,
    pub(super) last: Boottime,
    pub(super) answers: usize,
}

/// The clients.
#[derive(Debug)]
pub(super) struct Clients {
    ordinary: Client,
    direct: Vec<Client>,
}

impl Clients {
    /// Starts all clients of `network`. The first of them uses ARP.
    pub(super) fn start(network: &Network) -> Result<Self> {
        let mut clients = network.outside.iter();
        let mut start = || {
            let next = clients.next();
            next.map(|outside| Client::start(&outside.ns, vip().into(), PERIOD))
                .transpose()
        };
        let ordinary = start()?.context("a network without clients")?;
        let mut direct = Vec::new();
        while let Some(client) = start()? {
            direct.push(client);
        }
        Ok(Self { ordinary, direct })
    }

    /// All answers to direct questions that arrived after `since`, by arrival.
    pub(super) fn direct(&self, since: Boottime) -> Vec<Seen> {
        let mut all: Vec<_> = self
            .direct
            .iter()
            .flat_map(|client| seen(client, since))
            .collect();
        all.sort_by_key(|answer| answer.at);
        all
    }

    /// The answers to ordinary questions that arrived after `since`, by arrival.
    pub(super) fn ordinary(&self, since: Boottime) -> Vec<Seen> {
        let mut all = seen(&self.ordinary, since);
        all.sort_by_key(|answer| answer.at);
        all
    }

    /// The share of the ordinary questions since `since` that were answered, from 0 to 1. Questions
    /// of the last moment do not count.
    pub(super) fn answered(&self, since: Boottime) -> f64 {
        let until = crate::sys::boottime().before(Duration::from_millis(200));
        self.ordinary.with_records(|records| {
            let asked = records
                .iter()
                .filter(|record| record.sent > since && record.sent < until);
            let (all, answered) = asked.fold((0_u32, 0_u32), |(all, answered), record| {
                (all + 1, answered + u32::from(record.answer.is_some()))
            });
            f64::from(answered) / f64::from(all.max(1))
        })
    }

    /// The turns of the nodes since `since`, by the direct questions.
    pub(super) fn turns(&self, since: Boottime) -> Vec<Turn> {
        turns(&self.direct(since))
    }

    /// The node that alone answered direct questions during the last `span`, if it answered some.
    pub(super) fn server(&self, span: Duration) -> Option<String> {
        let turns = self.turns(crate::sys::boottime().before(span));
        match turns.as_slice() {
            [turn] if turn.answers > 1 => Some(turn.node.clone()),
            _ => None,
        }
    }
}

/// The nodes of the turns, in order: `a b`.
pub(super) fn order(turns: &[Turn]) -> String {
    let names: Vec<_> = turns.iter().map(|turn| turn.node.as_str()).collect();
    names.join(" ")
}

fn seen(client: &Client, since: Boottime) -> Vec<Seen> {
    client.with_records(|records| {
        // Questions wait in the queue of a paused machine, so old ones can have new answers.
        let answers = records.iter().flat_map(|record| {
            record.answers().map(|answer| Seen {
                node: Arc::clone(&answer.node),
                asked: record.sent,
                at: answer.at,
            })
        });
        answers.filter(|answer| answer.at > since).collect()
    })
}

fn turns(answers: &[Seen]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for answer in answers {
        match turns.last_mut() {
            Some(turn) if turn.node == *answer.node => {
                turn.last = answer.at;
                turn.answers += 1;
            }
            _ => turns.push(Turn {
                node: answer.node.to_string(),
                first: answer.at,
                last: answer.at,
                answers: 1,
            }),
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node: &str, at: u64) -> Seen {
        let at = Boottime::from_nanos(at);
        Seen {
            node: node.into(),
            asked: at,
            at,
        }
    }

    #[test]
    fn answers_of_one_node_in_a_row_are_a_turn() {
        let turns = turns(&[seen("a", 1), seen("a", 2), seen("b", 3), seen("a", 4)]);
        assert_eq!(order(&turns), "a b a");
        assert_eq!(turns[0].answers, 2);
        assert_eq!(turns[0].last, Boottime::from_nanos(2));
    }
}
