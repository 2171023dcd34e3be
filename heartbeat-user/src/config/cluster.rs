//! The `[cluster]` table: who the cluster is and how fast its heart beats.

use std::{path::PathBuf, time::Duration};

use heartbeat_common::wire::{ClusterId, DEFAULT_PORT};

use super::{
    duration::Show,
    fields, key,
    read::{At, Section},
    values,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

const DEFAULT_INTERVAL: Duration = Duration::from_millis(10);
const DEFAULT_AGENT_STALL: Duration = Duration::from_millis(500);
const DEFAULT_INSTANCE: &str = "default";

/// `[cluster]`.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) id: ClusterId,
    pub(super) node: Option<At<String>>,
    pub(super) instance: String,
    pub(super) key: PathBuf,
    pub(super) port: u16,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) agent_stall: Duration,
}

pub(super) fn read(top: &Section<'_>) -> Option<Cluster> {
    use fields::{
        AGENT_STALL, CLUSTER, CLUSTER_ID, CLUSTER_NAME, CLUSTER_NODE, INSTANCE, INTERVAL, KEY,
        PORT, TIMEOUT,
    };
    if !top.has(&CLUSTER) {
        top.missing(&CLUSTER);
    }
    let known = [
        CLUSTER_NAME,
        CLUSTER_ID,
        CLUSTER_NODE,
        INSTANCE,
        KEY,
        PORT,
        INTERVAL,
        TIMEOUT,
        AGENT_STALL,
    ];
    let section = top.table(&CLUSTER, &known)?;
    let name = section
        .required(&CLUSTER_NAME, values::name)
        .map(|name| name.value);
    let id = section.number(&CLUSTER_ID, 1..=u32::MAX).map(|id| id.value);
    let (interval, timeout, agent_stall) = timing(&section);
    Some(Cluster {
        at: section.at(),
        id: ClusterId(id.unwrap_or_else(|| cluster_id(name.as_deref().unwrap_or_default()))),
        name: name.unwrap_or_default(),
        node: section.text(&CLUSTER_NODE, values::name),
        instance: section
            .text(&INSTANCE, values::instance)
            .map_or_else(|| DEFAULT_INSTANCE.to_owned(), |instance| instance.value),
        key: section
            .text(&KEY, values::key_path)
            .map_or_else(|| PathBuf::from(key::DEFAULT_PATH), |key| key.value),
        port: section
            .number(&PORT, 1..=u32::from(u16::MAX))
            .map_or(DEFAULT_PORT, |port| {
                u16::try_from(port.value).unwrap_or(DEFAULT_PORT)
            }),
        interval,
        timeout,
        agent_stall,
    })
}

/// FNV-1a of the cluster's name, for the wire; 0 is not a cluster, so it gives way to 1.
pub(super) fn cluster_id(name: &str) -> u32 {
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    name.bytes().fold(0x811c_9dc5, hash).max(1)
}

/// Interval, timeout and agent stall, which bound each other from below.
fn timing(section: &Section<'_>) -> (Duration, Duration, Duration) {
    use fields::{AGENT_STALL, INTERVAL, TIMEOUT};
    let interval = section.text(
        &INTERVAL,
        values::duration(MILLISECOND, 10_000 * MILLISECOND),
    );
    let timeout = section.text(&TIMEOUT, values::duration(2 * MILLISECOND, MINUTE));
    let stall = section.text(
        &AGENT_STALL,
        values::duration(10 * MILLISECOND, 10 * MINUTE),
    );

    let interval = interval.map_or(DEFAULT_INTERVAL, |interval| interval.value);
    let timeout = match timeout {
        None => 3 * interval,
        Some(At { value, at }) => {
            let (enough, three) = (Show(2 * interval), Show(3 * interval));
            if value < enough.0 {
                section.problem(
                    at,
                    format!("timeout {} is below two intervals, {enough}", Show(value)),
                    format!(
                        "write timeout = \"{three}\" (three intervals) or more, or shorten the interval"
                    ),
                );
            } else if value < three.0 {
                section.warning(
                    at,
                    format!("timeout {} is below three intervals, {three}", Show(value)),
                    "two probes lost in a row, or one and a short delay, will count as a dead link",
                );
            }
            value
        }
    };
    let agent_stall = match stall {
        None => DEFAULT_AGENT_STALL.max(timeout),
        Some(At { value, at }) => {
            if value < timeout {
                section.problem(
                    at,
                    format!(
                        "agent_stall {} is below the timeout, {}",
                        Show(value),
                        Show(timeout)
                    ),
                    format!("write agent_stall = \"{}\" or more", Show(timeout)),
                );
            }
            value
        }
    };
    (interval, timeout, agent_stall)
}
