//! What must hold between the addresses that move and the rest, and where each goes.

use std::{collections::HashMap, net::IpAddr};

use heartbeat_common::{maps::MAX_VIPS, wire::GroupId};

use crate::{
    config::{
        read::{At, Section},
        report::quoted,
        types::{Link, Node, Vip},
        uses::Uses,
    },
    net::IpPrefix,
};

/// The addresses of all groups.
pub(super) struct Addresses<'a> {
    links: &'a [Link],
    local: Option<&'a Node>,
    /// The nodes' own addresses, and the names of their nodes.
    owners: HashMap<IpAddr, &'a str>,
    uses: Uses<IpAddr>,
    vips: Vec<Vip>,
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
            vips: Vec::new(),
        }
    }

    /// Adds the address of the resource in `section`, and returns its index.
    pub(super) fn add(
        &mut self,
        section: &Section<'_>,
        name: &str,
        group: GroupId,
        At { value: address, at }: At<IpPrefix>,
        interface: Option<String>,
    ) -> usize {
        let ip = address.address;
        self.uses.once(
            ip,
            &format!("address \"{ip}\""),
            section,
            at,
            "remove one of the two, or give it another address",
        );
        if let Some(owner) = self.owners.get(&ip) {
            section.problem(
                at,
                format!("address \"{ip}\" is node {}'s own", quoted(owner)),
                "a VIP moves between nodes: choose an address that no node has",
            );
        }
        let index = self.vips.len();
        if index == MAX_VIPS {
            section.problem(
                at,
                format!("this is one more than the {MAX_VIPS} addresses that can be guarded"),
                "remove this and those that follow, or serve them from another cluster",
            );
        }
        self.vips.push(Vip {
            name: name.to_owned(),
            group,
            address,
            // Without a link or a local node there was a complaint already.
            interface: self.interface(interface).unwrap_or_default(),
        });
        index
    }

    pub(super) fn into_vips(self) -> Vec<Vip> {
        self.vips
    }

    /// Where a VIP goes on the local node. The name of a link's interface stands for that link, so
    /// that one file fits nodes that name their interfaces differently.
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
