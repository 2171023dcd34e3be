//! A number by which nodes can tell that their configurations differ.
//!
//! The number is made of the settings on which all nodes must agree; the rows of
//! [`super::settings`] say which these are. It does not depend on the order of nodes, groups and
//! constraints in a file.

use std::hash::Hasher as _;

use heartbeat_common::siphash::SipKey;
use siphasher::sip::SipHasher24;

use super::{
    key::Keys,
    settings::{
        cluster, colocation, group, health, location, node, order, placement, rebalance, resource,
    },
    types::{Config, Group},
};

impl Config {
    /// Equal on nodes whose configurations agree, and as good as never on others. Not 0.
    ///
    /// The digest travels in heartbeats, which any host can read, and covers parameters that may be
    /// passwords: only a holder of the cluster's `key` can test a guess of its input.
    pub fn digest(&self, key: SipKey) -> u32 {
        let mut hash = SipHasher24::new_with_keys(key.k0, key.k1);
        hash.write(self.agreed().as_bytes());
        let hash = hash.finish();
        let [high, low] = [hash >> 32, hash].map(|half| half as u32);
        (high ^ low).max(1)
    }

    /// The same under each of `keys`, the active one first: the digests of all nodes with this
    /// configuration, whichever of the keys they seal with.
    pub fn digests(&self, keys: &Keys) -> Vec<u32> {
        keys.all.iter().map(|(_, key)| self.digest(*key)).collect()
    }

    /// The settings on which all nodes must agree, as a text. Not for eyes: it has the values of
    /// parameters.
    fn agreed(&self) -> String {
        let mut lines = vec![
            cluster::TABLE.agreed(self, &()),
            format!("links {}", self.links.len()),
            placement::TABLE.agreed(self, &()),
        ];
        if self.placement.rebalance.is_some() {
            lines.push(rebalance::TABLE.agreed(self, &()));
        }
        let nodes = self.nodes.iter();
        lines.extend(nodes.map(|node| node::TABLE.agreed(self, node)));
        let groups = self.groups.iter().filter(|group| !group.is_removed());
        lines.extend(groups.map(|group| self.agreed_of(group)));
        let locations = self.locations().into_iter();
        lines.extend(locations.map(|one| location::TABLE.agreed(self, &one)));
        let colocations = self.colocations.iter();
        lines.extend(colocations.map(|one| colocation::TABLE.agreed(self, one)));
        let orders = self.orders.iter();
        lines.extend(orders.map(|one| order::TABLE.agreed(self, one)));
        // A check's place is its bit in the heartbeats.
        let checks = self.health.iter().enumerate();
        lines.extend(checks.map(|(bit, check)| {
            let settings = health::TABLE.agreed(self, check);
            format!("{bit} {settings}")
        }));
        lines.sort_unstable();
        lines.join("\n")
    }

    /// A group with its resources, whose order matters.
    fn agreed_of(&self, group: &Group) -> String {
        let resources = group.resources.iter();
        let resources = resources.map(|resource| resource::TABLE.agreed(self, resource));
        let resources: Vec<_> = resources.collect();
        let settings = group::TABLE.agreed(self, group);
        format!("{settings} {resources:?}")
    }
}
