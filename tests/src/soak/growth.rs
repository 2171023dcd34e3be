//! Counts that must not grow, however long a cluster runs.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::trouble::NODES;
use crate::{
    Cluster,
    e2e::leftovers::{self, Network},
};

/// The number of faults before the first count.
pub(super) const WARM_UP: usize = 3;
/// The growth of an agent's memory that is accepted: allocators keep memory, and logs and journals
/// reach their bounds late.
const MEMORY_KIB: u64 = 8 * 1_024;
/// The descriptors that may be open for connections at the moment of a count.
const DESCRIPTORS: u64 = 12;
/// The threads of tokio's pool for blocking work that may be added: the agent samples load,
/// lateness and starvation there, each at its own times. Where samples overlap once, the pool has
/// one thread more, which ends only after 10 s without work.
const POOL_THREADS: u64 = 2;

/// Counts by their names.
type Counts = BTreeMap<String, u64>;

#[derive(Debug)]
pub(super) struct Growth {
    before: Counts,
    programs: Vec<String>,
}

/// The counts at the beginning and at the end.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Grown {
    pub(super) before: Counts,
    pub(super) after: Counts,
    pub(super) failures: Vec<String>,
}

impl Growth {
    pub(super) fn begin(cluster: &mut Cluster) -> Result<Self> {
        Ok(Self {
            before: counts(cluster)?,
            programs: programs(cluster)?,
        })
    }

    pub(super) fn end(self, cluster: &mut Cluster) -> Result<Grown> {
        let after = counts(cluster)?;
        let mut failures = Vec::new();
        for (what, count) in &after {
            let before = self.before.get(what).copied().unwrap_or_default();
            let spare = match what.split(' ').next() {
                Some("memory") => MEMORY_KIB,
                Some("descriptors") => DESCRIPTORS,
                Some("threads") => POOL_THREADS,
                _ => 0,
            };
            if *count > before + spare {
                failures.push(format!("{what} grew from {before} to {count}"));
            }
        }
        let attached = programs(cluster)?;
        if attached != self.programs {
            failures.push(format!(
                "attached was {:?}, and is {attached:?}",
                self.programs
            ));
        }
        Ok(Grown {
            before: self.before,
            after,
            failures,
        })
    }
}

/// Of every node: its pins. Of the one whose agent lives all the time: memory, descriptors, which
/// hold its maps, programs and links, and threads. Of this process: namespaces.
fn counts(cluster: &mut Cluster) -> Result<Counts> {
    let mut counts = Counts::new();
    for node in cluster.nodes() {
        let pins = leftovers::files(node.pins.path())?.len();
        counts.insert(format!("pins of {}", node.name), pins as u64);
    }
    let name = NODES[2];
    let pid = cluster.node_mut(name)?.agent()?.pid();
    let process = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(process.join("status"))?;
    let field = |field: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let word = line.and_then(|line| line.split_ascii_whitespace().next());
        word.and_then(|word| word.parse().ok())
            .with_context(|| format!("no {field} in {status}"))
    };
    let descriptors = fs::read_dir(process.join("fd"))?.count() as u64;
    counts.insert(format!("memory of {name} in KiB"), field("VmRSS:")?);
    counts.insert(format!("descriptors of {name}"), descriptors);
    counts.insert(format!("threads of {name}"), field("Threads:")?);
    let namespaces = leftovers::open_namespaces()?;
    counts.insert("namespaces".to_owned(), namespaces as u64);
    Ok(counts)
}

/// The number of programs in each node's namespace, by kind: those without a link would outlive all
/// descriptors.
fn programs(cluster: &Cluster) -> Result<Vec<String>> {
    let of = |node: &crate::node::Node| {
        let shown = Network::of(Some(&node.ns))?.programs;
        Ok(format!("{}: {} lines", node.name, shown.lines().count()))
    };
    cluster.nodes().iter().map(of).collect()
}
