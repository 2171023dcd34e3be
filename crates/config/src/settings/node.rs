//! `[[node]]`: the nodes of the cluster.

use std::net::IpAddr;

use super::{
    Check::{Hidden, Prose},
    Fallback::{Follows, Is, Required, Without},
    Reload::{Capacity, Nodes, Restart},
    settings,
};
use crate::{
    readers::{Amounts, COUNT, List, Number, Text, Word, number, text, unplaced, unplaced_amounts},
    types::{Node, Role},
    values,
};

settings! {
    /// The nodes. Each has a vote, and VIPs are served while more than half of them live: three
    /// nodes outlive the loss of one, five that of two. Exactly two are refused, since neither
    /// could go on alone. Their order in the file ranks them where a group does not.
    "[[node]]" of Node, "with two brackets";

    /// Name of the node.
    NAME: Text<String> = text(values::name, values::NAME) => {
        name: "name", default: Required, example: r#""a""#,
        reload: Nodes, digest: true, check: Prose;
        |_, node| node.name.clone()
    }

    /// Number of the node in heartbeats, unlike that of any other node.
    ID: Number<u16> = number(1, u16::MAX, COUNT) => {
        name: "id", default: Required, example: "1",
        reload: Restart, digest: true, check: Prose;
        |_, node| node.id.0
    }

    /// A member votes and serves. A witness only votes: with two members, make the third node a
    /// witness. It may be a small host without this file and without an agent, where `heartbeat
    /// witness` loaded the responder.
    ROLE: Word<Role> = Word { all: &Role::ALL, word: Role::as_str, other: "no role" } => {
        name: "role", default: Is(|| Role::Member), example: r#""witness""#,
        reload: Restart, digest: true, check: Prose;
        |_, node| node.role
    }

    /// The node's addresses: one for each link, in the links' order.
    ADDRESSES: List<IpAddr> = List { parse: values::address, takes: "a list of IP addresses" } => {
        name: "addresses", noun: "address", default: Required, example: r#"["10.0.0.1"]"#,
        reload: Restart, digest: true, check: Prose;
        |_, node| unplaced(node.addresses.iter().copied())
    }

    /// The node's own names of the links' interfaces: one for each link, in the links' order.
    INTERFACES: List<String> = List { parse: values::interface, takes: "a list of interfaces" } => {
        name: "interfaces", noun: "interface", default: Follows("the links' own interfaces"),
        example: r#"["ens3"]"#, reload: Restart, digest: false, check: Prose;
        |_, node| unplaced(node.interfaces.iter().cloned())
    }

    /// The room that the node has, by kinds and in units of your choice. It counts with
    /// strategy = "utilization", for groups with a demand. A witness has none.
    CAPACITY: Amounts = Amounts => {
        name: "capacity", default: Without("a kind that is not named is without limit"),
        example: "{ cpu = 4, memory = 16 }", reload: Capacity, digest: true, check: Hidden;
        |config, node| unplaced_amounts(config.capacities(node))
    }
}
