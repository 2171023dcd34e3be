//! The addresses that move: what must hold between them and the rest, and the interface of each.

use std::{collections::HashMap, net::IpAddr};

use heartbeat_common::{maps::MAX_VIPS, prefix::ServedAddress, wire::GroupId};

use crate::{
    ids::fnv1a,
    read::{At, Section},
    report::quoted,
    types::{Link, Node, Vip},
    uses::Uses,
};
use heartbeat_core::{index::VipIndex, index_vec::IndexVec};

/// The addresses of all groups.
pub(super) struct Addresses<'a> {
    links: &'a [Link],
    local: Option<&'a Node>,
    /// The nodes' own addresses, and the names of their nodes.
    owners: HashMap<IpAddr, &'a str>,
    uses: Uses<IpAddr>,
    vips: IndexVec<VipIndex, Vip>,
}

impl<'a> Addresses<'a> {
    pub(super) fn new(links: &'a [Link], nodes: &'a [Node], local: usize) -> Self {
        let own = |node: &'a Node| {
            node.addresses
                .iter()
                .map(|address| (*address, node.name.as_str()))
        };
        Self {
            links,
            local: nodes.get(local),
            owners: nodes.iter().flat_map(own).collect(),
            uses: Uses::new(),
            vips: IndexVec::new(),
        }
    }

    /// Adds the address of the resource in `section`, and returns its index.
    pub(super) fn add(
        &mut self,
        section: &Section<'_>,
        name: &str,
        (group, ids): (GroupId, &mut Uses<GroupId>),
        At { value: address, at }: At<ServedAddress>,
        interface: Option<String>,
    ) -> VipIndex {
        let ip = address.address;
        let fresh = self.uses.once(
            ip,
            &format!("address \"{ip}\""),
            section,
            at,
            "remove one of the two, or give it another address",
        );
        let lease = lease_id(ip);
        if fresh {
            let what = format!("lease id {}, which is made of address \"{ip}\",", lease.0);
            let remedy = "rename the other if it is a group, or give this one another address";
            ids.once(lease, &what, section, at, remedy);
        }
        if let Some(owner) = self.owners.get(&ip) {
            section.problem(
                at,
                format!("address \"{ip}\" is node {}'s own", quoted(owner)),
                "a VIP moves between nodes: choose an address that no node has",
            );
        }
        let index = self.vips.next_index();
        if self.vips.len() == MAX_VIPS {
            section.problem(
                at,
                format!("this is one more than the {MAX_VIPS} addresses that can be guarded"),
                "remove this and those that follow, or serve them from another cluster",
            );
        }
        self.vips.push(Vip {
            name: name.to_owned(),
            group,
            lease,
            address,
            // A file without a link or a local node was reported.
            interface: self.interface(interface).unwrap_or_default(),
        });
        index
    }

    pub(super) fn into_vips(self) -> IndexVec<VipIndex, Vip> {
        self.vips
    }

    /// The interface of a VIP on the local node. The name of a link's interface stands for that
    /// link, so that one file fits nodes that name their interfaces differently.
    fn interface(&self, given: Option<String>) -> Option<String> {
        let local = self.local?;
        let Some(given) = given else {
            return local.interfaces.first().cloned();
        };
        match self.links.iter().position(|link| link.interface == given) {
            Some(link) => local.interfaces.get(link).cloned(),
            None => Some(given),
        }
    }
}

/// The id of an address's lease: its last 16 bits, so that no two addresses of a usual network
/// share one, mixed with a hash of those before. 0 is no lease, so it gives way to 1.
pub(crate) fn lease_id(address: IpAddr) -> GroupId {
    let (before, last) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits() >> 16), v4.to_bits() as u16),
        IpAddr::V6(v6) => (v6.to_bits() >> 16, v6.to_bits() as u16),
    };
    // No name has a space.
    let hash = fnv1a(&format!("address {before:x}"));
    let [high, low] = [hash >> 16, hash & 0xffff].map(|half| half as u16);
    GroupId((high ^ low ^ last).max(1))
}
