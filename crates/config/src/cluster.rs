//! The `[cluster]` table: who the cluster is, and what it wants of its nodes.

use std::path::PathBuf;

use heartbeat_common::wire::{ClusterId, DEFAULT_PORT};

use super::{
    fields, key,
    read::{At, Section},
    timing::{self, Timing},
    values,
};

/// The instance of those that name none.
pub const DEFAULT_INSTANCE: &str = "default";

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
    pub(super) version: u16,
    pub(super) timing: Timing,
    /// As the file says it, if it does.
    pub(super) auto_failback: Option<bool>,
    pub(super) maintenance: bool,
    pub(super) accept_configuration: bool,
}

pub(super) fn read(top: &Section<'_>) -> Option<Cluster> {
    use fields::{
        ACCEPT_CONFIGURATION, AGENT_STALL, AUTO_FAILBACK, CLUSTER, CLUSTER_ID, CLUSTER_NAME,
        CLUSTER_NODE, CONFIG_VERSION, DRIFT, INSTANCE, INTERVAL, KEY, LEASE, MAINTENANCE,
        MAX_LEASE, PORT, TIMEOUT,
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
        CONFIG_VERSION,
        INTERVAL,
        TIMEOUT,
        AGENT_STALL,
        LEASE,
        MAX_LEASE,
        DRIFT,
        AUTO_FAILBACK,
        MAINTENANCE,
        ACCEPT_CONFIGURATION,
    ];
    let section = top.table(&CLUSTER, &known)?;
    let name = section
        .required(&CLUSTER_NAME, values::name)
        .map(|name| name.value);
    let id = section.number(&CLUSTER_ID, 1..=u32::MAX).map(|id| id.value);
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
        version: section
            .number(&CONFIG_VERSION, 1..=u32::from(u16::MAX))
            .map_or(1, |version| u16::try_from(version.value).unwrap_or(1)),
        timing: timing::read(&section),
        auto_failback: section
            .boolean(&AUTO_FAILBACK)
            .map(|failback| failback.value),
        maintenance: section
            .boolean(&MAINTENANCE)
            .is_some_and(|maintenance| maintenance.value),
        accept_configuration: section
            .boolean(&ACCEPT_CONFIGURATION)
            .is_some_and(|accept| accept.value),
    })
}

/// FNV-1a of the cluster's name, for the wire; 0 is not a cluster, so it gives way to 1.
pub(super) fn cluster_id(name: &str) -> u32 {
    fnv1a(name).max(1)
}

/// 32-bit FNV-1a: enough for short names that nobody chose to collide.
pub(super) fn fnv1a(text: &str) -> u32 {
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, hash)
}
