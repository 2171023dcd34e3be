//! Groups that may still run on nodes that cannot be reached, or that cannot stop them. A dead
//! agent leaves its resources running, and a node that was cut off stops them when it can.
//!
//! These records never state that a group does run there: this is unknown until the node's agent
//! has probed.

use std::collections::{BTreeSet, HashMap};

use heartbeat_common::{time::Boottime, wire::NodeId};

#[derive(Clone, Debug, Default)]
pub(super) struct Remains(HashMap<NodeId, Lost>);

/// A node whose agent was lost.
#[derive(Clone, Debug)]
struct Lost {
    since: Boottime,
    /// The names of the groups that may run there.
    groups: BTreeSet<String>,
}

impl Remains {
    /// Records that the agent of `node` was lost while `groups` ran there, as far as known. Returns
    /// the groups that were not recorded before.
    pub(super) fn lose(
        &mut self,
        node: NodeId,
        since: Boottime,
        groups: impl IntoIterator<Item = String>,
    ) -> Vec<String> {
        let groups: Vec<String> = groups.into_iter().collect();
        if groups.is_empty() {
            return groups;
        }
        let lost = self.0.entry(node).or_insert_with(|| Lost {
            since,
            groups: BTreeSet::new(),
        });
        let fresh = groups.into_iter();
        fresh
            .filter(|group| lost.groups.insert(group.clone()))
            .collect()
    }

    /// Records that the agent of `node` is back and has probed the groups that are `settled`.
    pub(super) fn returned(&mut self, node: NodeId, settled: impl Fn(&str) -> bool) {
        if let Some(lost) = self.0.get_mut(&node) {
            lost.groups.retain(|group| !settled(group));
            if lost.groups.is_empty() {
                self.0.remove(&node);
            }
        }
    }

    /// Removes nodes and groups that are no longer in the configuration.
    pub(super) fn keep(&mut self, node: impl Fn(NodeId) -> bool, group: impl Fn(&str) -> bool) {
        self.0.retain(|lost, Lost { groups, .. }| {
            groups.retain(|name| group(name));
            node(*lost) && !groups.is_empty()
        });
    }

    /// Returns the nodes on which this group may still run, and the time of each loss, in the order
    /// of the nodes.
    pub(super) fn of(&self, group: &str) -> Vec<(NodeId, Boottime)> {
        let nodes = self.0.iter();
        let mut nodes: Vec<_> = nodes
            .filter(|(_, lost)| lost.groups.contains(group))
            .map(|(node, lost)| (*node, lost.since))
            .collect();
        nodes.sort_unstable();
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn at(second: u64) -> Boottime {
        Boottime::from_nanos(second * 1_000_000_000)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn group_of_a_lost_agent_remains_until_its_agent_has_probed() {
        let mut remains = Remains::default();
        assert_eq!(
            remains.lose(A, at(1), names(&["db", "web"])),
            names(&["db", "web"])
        );
        assert_eq!(remains.lose(B, at(2), names(&["db"])), names(&["db"]));
        // Stalled, then down: the same loss.
        assert_eq!(remains.lose(A, at(3), names(&["db"])), names(&[]));
        assert_eq!(remains.of("db"), [(A, at(1)), (B, at(2))]);
        remains.returned(A, |group| group == "web");
        assert_eq!((remains.of("web"), remains.of("db").len()), (vec![], 2));
        remains.returned(A, |_| true);
        assert_eq!(remains.of("db"), [(B, at(2))]);
        // A loss after the return is a new one.
        remains.lose(A, at(9), names(&["db"]));
        assert_eq!(remains.of("db")[0], (A, at(9)));
    }

    #[test]
    fn removed_group_does_not_remain() {
        let mut remains = Remains::default();
        remains.lose(A, at(1), names(&["db", "web"]));
        remains.lose(B, at(1), names(&["web"]));
        remains.keep(|node| node == A, |group| group == "db");
        assert_eq!(remains.of("db"), [(A, at(1))]);
        assert!(remains.of("web").is_empty());
    }

    #[test]
    fn node_where_nothing_ran_leaves_nothing() {
        let mut remains = Remains::default();
        assert!(remains.lose(A, at(1), names(&[])).is_empty());
        remains.lose(A, at(5), names(&["db"]));
        assert_eq!(remains.of("db"), [(A, at(5))]);
    }
}
