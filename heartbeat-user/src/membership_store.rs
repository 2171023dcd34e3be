//! The node list of this node: the changes that may follow each other, and the part of the
//! membership that outlives the agent.
//!
//! `docs/design/leases.md` has the reasons. The version of a node's list never decreases, so a list
//! is on disk before any other node is informed of it.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use heartbeat_common::wire::NodeId;
use heartbeat_core::membership::{Membership, Voters};
use serde::{Deserialize, Serialize};

use heartbeat_sys::files::atomic_file;

use crate::config::Config;

/// The version of a new cluster's list.
const FIRST: u16 = 1;

/// A list in the form of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    config_version: u16,
    /// In ascending order.
    nodes: BTreeSet<u16>,
}

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The accepting version: the list that the acceptor uses.
    accepts: List,
    /// The claiming version: the list that claims use.
    counts: Option<List>,
}

impl From<&Voters> for List {
    fn from(voters: &Voters) -> Self {
        Self {
            config_version: voters.version,
            nodes: voters.nodes.iter().map(|node| node.0).collect(),
        }
    }
}

impl From<&List> for Voters {
    fn from(list: &List) -> Self {
        Self {
            version: list.config_version,
            nodes: list.nodes.iter().copied().map(NodeId).collect(),
        }
    }
}

/// Returns the membership of an agent that starts with this configuration. The membership is on
/// disk before this returns.
pub(crate) fn begin(config: &Config) -> Result<Membership> {
    let path = path(config);
    let list = config.voters();
    let kept = read(&path)?;
    let claiming = match &kept {
        None => (list.version == FIRST).then(|| list.clone()),
        Some(kept) => follow(kept, &list)?,
    };
    let membership = membership(config, list, claiming);
    if Some(Kept::of(&membership)) != kept
        && let Err(error) = keep(config, &membership)
    {
        // A node without the file uses the first list.
        ensure!(kept.is_none() && list_is_first(&membership), error);
        log::warn!("{error:#}: going on without; a change of the nodes will need it");
    }
    Ok(membership)
}

fn list_is_first(membership: &Membership) -> bool {
    membership.list().version == FIRST
}

/// Returns the membership of a running agent whose claims use `claiming`.
pub(crate) fn change(config: &Config, claiming: Option<Voters>) -> Membership {
    membership(config, config.voters(), claiming)
}

fn membership(config: &Config, list: Voters, claiming: Option<Voters>) -> Membership {
    let (lease, drift) = (config.max_lease, config.drift_ppm);
    Membership::new(config.local().id, list, claiming, lease, drift)
}

/// Returns the list that claims may use when an agent starts with `list`, and the previous agent
/// left `kept`.
fn follow(kept: &Kept, list: &Voters) -> Result<Option<Voters>> {
    let old = Voters::from(&kept.accepts);
    let claiming = kept.counts.as_ref().map(Voters::from);
    ensure!(
        list.version >= old.version,
        "config_version is {}, but this node has already accepted version {}, and a node never \
         returns to an older list\n  install the newer configuration, or give this list of nodes \
         the number after the cluster's present one",
        list.version,
        old.version
    );
    let settled = claiming.as_ref() == Some(&old);
    let skips = u32::from(list.version) > u32::from(old.version) + 1;
    if list.version > old.version && (skips || !settled) {
        // This node was absent when its list came in force, or during more than one change. Nodes
        // that were present have to confirm the list.
        may_skip(claiming.as_ref().unwrap_or(&old), list)?;
        return Ok(None);
    }
    may_follow(&old, list)?;
    Ok(claiming)
}

/// Checks that a node with the list `old` may switch to `new` without the lists between them, once
/// other nodes confirm that `new` is in force.
///
/// The condition: no claim under `old` can still be valid without a node of `new`.
pub(crate) fn may_skip(old: &Voters, new: &Voters) -> Result<()> {
    ensure!(
        old.is_met_by(new),
        "config_version goes from {} to {}, and the removed nodes could still form a majority of \
         version {0} and serve\n  make the changes one by one. If the removed nodes are off for \
         good: stop this agent, remove nodes.json from its state directory, and start it",
        old.version,
        new.version
    );
    Ok(())
}

/// Checks that a node with the list `old` may switch to `new` next.
pub(crate) fn may_follow(old: &Voters, new: &Voters) -> Result<()> {
    let mut ids: Vec<u16> = old.difference(new).map(|node| node.0).collect();
    ids.sort_unstable();
    let which = |ids: &[u16]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.join(", ")
    };
    let next = u32::from(old.version) + 1;
    match u32::from(new.version) {
        version if version == u32::from(old.version) => ensure!(
            ids.is_empty(),
            "the nodes are not those of config_version {version} (different: id {})\n  a changed \
             list of nodes needs a new number: write config_version = {next} into the files of all \
             nodes",
            which(&ids)
        ),
        version if version == next => ensure!(
            ids.len() <= 1,
            "config_version {version} changes {} nodes at once (id {})\n  add or remove one node \
             at a time, each with its own config_version and a reload on all nodes: without a \
             common node in both majorities, two nodes could serve",
            ids.len(),
            which(&ids)
        ),
        version => bail!(
            "config_version goes from {} to {version}\n  make the changes one by one: the next is \
             config_version = {next}",
            old.version
        ),
    }
    Ok(())
}

/// Writes the membership of this node to disk. A failure changes nothing.
pub(crate) fn keep(config: &Config, membership: &Membership) -> Result<()> {
    fs::create_dir_all(config.state_dir())
        .with_context(|| format!("could not make {}", config.state_dir().display()))?;
    Kept::of(membership).write(&path(config))
}

/// Records that claims use the list of `config`, unless a later change has already recorded a later
/// list.
pub(crate) fn keep_settled(config: &Config) -> Result<()> {
    let settled = change(config, Some(config.voters()));
    Kept::of(&settled).write_unless_behind(&path(config))
}

impl Kept {
    fn of(membership: &Membership) -> Self {
        Self {
            accepts: membership.list().into(),
            counts: membership.claiming().map(List::from),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic_file::replace(path, &text)
            .with_context(|| format!("could not write {}", path.display()))
    }

    /// The accepting version must not decrease.
    fn write_unless_behind(&self, path: &Path) -> Result<()> {
        let own = self.accepts.config_version;
        match read(path)? {
            Some(kept) if kept.accepts.config_version > own => Ok(()),
            _ => self.write(path),
        }
    }
}

fn path(config: &Config) -> PathBuf {
    config.state_dir().join("nodes.json")
}

fn read(path: &Path) -> Result<Option<Kept>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    };
    let kept = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{}, which has the node list of this node, is damaged. Remove the file if the \
             configuration is as new as that of the other nodes",
            path.display()
        )
    })?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(version: u16, nodes: &[u16]) -> Voters {
        Voters {
            version,
            nodes: nodes.iter().copied().map(NodeId).collect(),
        }
    }

    fn kept(accepts: &Voters, counts: Option<&Voters>) -> Kept {
        Kept {
            accepts: accepts.into(),
            counts: counts.map(List::from),
        }
    }

    #[test]
    fn one_node_comes_or_goes_with_each_number() {
        let three = list(4, &[1, 2, 3]);
        for good in [
            list(4, &[3, 1, 2]),
            list(5, &[1, 2, 3, 9]),
            list(5, &[1, 3]),
            list(5, &[1, 2, 3]),
        ] {
            may_follow(&three, &good).unwrap();
        }
        for (bad, said) in [
            (
                list(4, &[1, 2, 3, 9]),
                "different: id 9)\n  a changed list of nodes needs a new number: write \
                 config_version = 5",
            ),
            (
                list(5, &[1, 2, 3, 8, 9]),
                "config_version 5 changes 2 nodes at once (id 8, 9)",
            ),
            (
                list(5, &[1, 2, 9]),
                "config_version 5 changes 2 nodes at once (id 3, 9)",
            ),
            (
                list(6, &[1, 2, 3, 9]),
                "goes from 4 to 6\n  make the changes one by one: the next is config_version = 5",
            ),
            (list(3, &[1, 2, 3]), "goes from 4 to 3"),
        ] {
            let error = may_follow(&three, &bad).unwrap_err().to_string();
            assert!(error.contains(said), "{bad:?}: {error}");
        }
    }

    #[test]
    fn list_that_settles_after_the_next_one_is_written_leaves_the_file_alone() {
        let dir = std::env::temp_dir().join(format!("heartbeat-nodes-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("nodes.json");
        let (old, new) = (list(4, &[1, 2, 3]), list(5, &[1, 2, 3, 9]));
        let settled = kept(&old, Some(&old));
        settled.write_unless_behind(&path).unwrap();
        assert_eq!(
            read(&path).unwrap(),
            Some(settled.clone()),
            "there was none"
        );
        let next = kept(&new, Some(&old));
        next.write(&path).unwrap();
        settled.write_unless_behind(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Some(next));
        let next = kept(&new, Some(&new));
        next.write_unless_behind(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Some(next));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn agent_begins_where_the_last_one_was() {
        let (old, new) = (list(4, &[1, 2, 3]), list(5, &[1, 2, 3, 9]));
        let begin =
            |kept: &Kept, list: &Voters| follow(kept, list).map_err(|error| error.to_string());
        // In order: all settled; a change during the absence; the middle of a change; before the
        // node could join.
        assert_eq!(begin(&kept(&old, Some(&old)), &old), Ok(Some(old.clone())));
        assert_eq!(begin(&kept(&old, Some(&old)), &new), Ok(Some(old.clone())));
        assert_eq!(begin(&kept(&new, Some(&old)), &new), Ok(Some(old.clone())));
        assert_eq!(begin(&kept(&new, None), &new), Ok(None));
        // An absence of more than one change, or of one before the last had settled: other nodes
        // have to confirm.
        assert_eq!(begin(&kept(&old, Some(&old)), &list(7, &[1, 2])), Ok(None));
        let gone = begin(&kept(&old, Some(&old)), &list(7, &[1, 8, 9])).unwrap_err();
        assert!(
            gone.contains("from 4 to 7, and the removed nodes could still form a majority"),
            "{gone}"
        );
        // A list that no other node has: the next one may be any that meets the last list in force.
        let other = list(6, &[1, 2, 3, 8]);
        assert_eq!(begin(&kept(&new, Some(&old)), &other), Ok(None));
        let next = list(6, &[1, 2, 3]);
        assert_eq!(begin(&kept(&new, Some(&old)), &next), Ok(None));
        let back = begin(&kept(&new, Some(&new)), &old).unwrap_err();
        assert!(
            back.contains("config_version is 4, but this node has already accepted version 5"),
            "{back}"
        );
        let many = begin(&kept(&old, Some(&old)), &list(5, &[1, 2, 3, 8, 9])).unwrap_err();
        assert!(many.contains("changes 2 nodes at once"), "{many}");
    }
}
