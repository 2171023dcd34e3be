//! The network of an interface to which a served address belongs.
//!
//! These functions judge lists of addresses. The caller reads the lists.

use std::{fmt::Write as _, net::IpAddr};

use heartbeat_common::prefix::{Prefix, ServedAddress};

/// Returns the address with its prefix length.
///
/// A configured length comes first. Otherwise the length is that of the smallest network in which
/// the interface has an own address, among the addresses `present` on it. `ours` are the addresses
/// that move and therefore make no network: each comes and goes with its node's lease. Without such
/// a network, an earlier run may have left the address with its length.
pub fn prefix(address: ServedAddress, present: &[Prefix], ours: &[IpAddr]) -> Option<Prefix> {
    let left = || present.iter().find(|own| own.address == address.address);
    address
        .within(own(present, ours))
        .or_else(|| left().copied())
}

/// Returns whether an own network of the interface holds the address.
pub fn hold(address: IpAddr, present: &[Prefix], ours: &[IpAddr]) -> bool {
    own(present, ours).any(|own| own.holds(address))
}

/// Lists the interface's own networks of the family of `like`, for messages. `None` means that
/// there are none.
pub fn listed(like: IpAddr, present: &[Prefix], ours: &[IpAddr]) -> Option<String> {
    let same = |own: &&Prefix| own.address.is_ipv4() == like.is_ipv4();
    let own = own(present, ours).filter(same).map(Prefix::network);
    // Every interface has the link-local network.
    let own = own.filter(|network| !is_link_local(network.address) || is_link_local(like));
    let mut text = String::new();
    for network in own {
        let lead = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{lead}{network}");
    }
    (!text.is_empty()).then_some(text)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Returns the address with the most common length of its family, for remedies.
pub fn usual(address: IpAddr) -> ServedAddress {
    let len = Some(if address.is_ipv4() { 24 } else { 64 });
    ServedAddress { address, len }
}

fn own<'a>(present: &'a [Prefix], ours: &'a [IpAddr]) -> impl Iterator<Item = &'a Prefix> {
    present.iter().filter(|own| !ours.contains(&own.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn found(address: &str, present: &[&str], ours: &[&str]) -> Option<String> {
        let ours: Vec<IpAddr> = ours.iter().map(|text| text.parse().unwrap()).collect();
        let found = prefix(address.parse().unwrap(), &prefixes(present), &ours);
        found.map(|prefix| prefix.to_string())
    }

    #[test]
    fn moving_address_makes_no_network_for_another() {
        let present = ["10.0.0.1/24", "10.0.0.101/28"];
        let of = |ours: &[&str]| found("10.0.0.100", &present, ours);
        assert_eq!(of(&[]).as_deref(), Some("10.0.0.100/28"));
        assert_eq!(
            of(&["10.0.0.100", "10.0.0.101"]).as_deref(),
            Some("10.0.0.100/24")
        );
        assert_eq!(
            found("10.0.0.100", &["10.0.0.101/24"], &["10.0.0.101"]),
            None
        );
    }

    #[test]
    fn address_that_was_left_keeps_its_length_where_its_network_is_gone() {
        let ours = ["10.0.0.100", "fd00::100"];
        let present = ["10.0.0.100/23", "fd00::100/60", "10.1.0.1/24"];
        assert_eq!(
            found("10.0.0.100", &present, &ours).as_deref(),
            Some("10.0.0.100/23")
        );
        assert_eq!(
            found("fd00::100", &present, &ours).as_deref(),
            Some("fd00::100/60")
        );
        // A configured length comes first, then the network.
        let present = ["10.0.0.100/32", "10.0.0.1/24"];
        assert_eq!(
            found("10.0.0.100", &present, &ours).as_deref(),
            Some("10.0.0.100/24")
        );
        assert_eq!(
            found("10.0.0.100/8", &present, &ours).as_deref(),
            Some("10.0.0.100/8")
        );
    }

    #[test]
    fn networks_are_listed_by_the_family_of_the_address() {
        let present = prefixes(&["10.1.2.3/16", "10.0.0.100/24", "fd00::7/64", "fe80::1/64"]);
        let ours = ["10.0.0.100".parse().unwrap()];
        let listed = |like: &str| listed(like.parse().unwrap(), &present, &ours);
        assert_eq!(listed("192.0.2.1").as_deref(), Some("10.1.0.0/16"));
        assert_eq!(listed("fd01::1").as_deref(), Some("fd00::/64"));
        assert_eq!(super::listed(ours[0], &present[1..], &ours), None);
    }
}
