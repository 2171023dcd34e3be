//! The availability of the service, from a client's records.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use heartbeat_common::time::Boottime;

use crate::{
    client::{Answer, Client},
    wait_until,
};

/// The time for which a node must have served alone to count as the serving one.
const STEADY: Duration = Duration::from_millis(100);

/// Waits until `node` serves steadily.
pub fn wait_served(client: &Client, node: &str, patience: Duration) -> Result<()> {
    wait_until(patience, &format!("{node} serves"), || {
        Ok(client.steady(STEADY).as_deref() == Some(node))
    })
}

/// Waits until none of the last datagrams was answered.
pub fn wait_silent(client: &Client, patience: Duration) -> Result<()> {
    wait_until(patience, "nobody serves", || {
        Ok(client.with_records(|records| {
            let last = &records[records.len().saturating_sub(100)..];
            last.len() == 100 && last.iter().all(|record| record.answer.is_none())
        }))
    })
}

/// The longest time between two answers after `from`, including the last answer before it.
pub fn longest_silence(client: &Client, from: Boottime) -> Duration {
    let answers = in_order(client);
    let first = answers.partition_point(|answer| answer.at < from);
    let since = &answers[first.saturating_sub(1)..];
    let silences = since.windows(2).map(|pair| pair[1].at.since(pair[0].at));
    silences.max().unwrap_or(Duration::MAX)
}

/// The nodes that answered after `from`, each once for an uninterrupted period.
pub fn servers(client: &Client, from: Boottime) -> Vec<Arc<str>> {
    let answers = in_order(client);
    let since = answers.into_iter().filter(|answer| answer.at >= from);
    let mut nodes: Vec<Arc<str>> = since.map(|answer| answer.node).collect();
    nodes.dedup();
    nodes
}

fn in_order(client: &Client) -> Vec<Answer> {
    let mut answers: Vec<Answer> = client.with_records(|records| {
        let answers = records.iter().filter_map(|record| record.answer.clone());
        answers.collect()
    });
    answers.sort_by_key(|answer| answer.at);
    answers
}
