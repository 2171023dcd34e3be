//! The state of a node's kernel, read from the pinned maps, whatever the agent says.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use heartbeat_common::{
    lease::Slot,
    maps::{Address, GuardRow, LeaseRow, Local, PeerRow},
    verdict::Verdict,
};

use crate::node::Node;

/// `BPF_F_LOCK`, include/uapi/linux/bpf.h: read under the value's own lock.
const LOCKED: u64 = 4;

/// The guard of the one address that `node` may serve.
pub fn guard(node: &Node) -> Result<GuardRow> {
    let rows = guards(node)?;
    let mut used = rows.iter().filter_map(Result::ok);
    used.find(|row| row.address != Address::default())
        .with_context(|| format!("{} guards nothing", node.name))
}

/// The rows of all addresses and groups.
pub fn guards(node: &Node) -> Result<Array<MapData, GuardRow>> {
    Ok(Map::Array(open(node, "guard")?).try_into()?)
}

/// The slots of the acceptor of `node`, by group.
pub fn slots(node: &Node) -> Result<BTreeMap<u32, Slot>> {
    let rows: HashMap<MapData, u32, LeaseRow> = Map::HashMap(open(node, "leases")?).try_into()?;
    let slot = |group: Result<u32, _>| {
        let group = group?;
        Ok((group, rows.get(&group, LOCKED)?.slot))
    };
    rows.keys().map(slot).collect()
}

fn open(node: &Node, map: &str) -> Result<MapData> {
    let path = node.pins.path().join(map);
    MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))
}

/// The number of packets with this verdict.
pub fn counter(node: &Node, verdict: Verdict) -> Result<u64> {
    let counters: PerCpuArray<MapData, u64> =
        Map::PerCpuArray(open(node, "counters")?).try_into()?;
    Ok(counters.get(&(verdict as u32), 0)?.iter().sum())
}

/// The row in which the agent of `node` describes itself.
pub fn local(node: &Node) -> Result<Local> {
    let local: Array<MapData, Local> = Map::Array(open(node, "local")?).try_into()?;
    Ok(local.get(&0, 0)?)
}

/// The row of one peer on one link.
pub fn peer_row(node: &Node, row: u32) -> Result<PeerRow> {
    let rows: Array<MapData, PeerRow> = Map::Array(open(node, "peers")?).try_into()?;
    Ok(rows.get(&row, 0)?)
}

/// The sockets whose probes the kernel signs: their cookies, each with its link.
pub fn senders(node: &Node) -> Result<BTreeMap<u64, u32>> {
    let senders: HashMap<MapData, u64, u32> = Map::HashMap(open(node, "senders")?).try_into()?;
    Ok(senders.iter().collect::<Result<_, _>>()?)
}
