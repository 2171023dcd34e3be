//! `[[vip]]`: addresses that move. Each table stands for a group and its one resource, whose rows
//! say what a reload does and what the digest covers.

use heartbeat_common::prefix::ServedAddress;

use super::{
    Check::Hidden,
    Fallback::{Follows, Is, Required, Without},
    Reload::Inherited,
    settings,
};
use crate::{
    readers::{Amounts, Flag, List, Text, text},
    types::Group,
    values,
};

settings! {
    /// Addresses that move. Each is short for a group with one resource, both with this name.
    "[[vip]]" of Group, "with two brackets";

    /// Name of the VIP, unlike that of any group or resource. The lease's 16-bit id is made of it
    /// (`heartbeat check` shows it); two names that make the same id are refused.
    NAME: Text<String> = text(values::name, values::NAME) => {
        name: "name", default: Required, example: r#""web""#,
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// An address that no node has. Without the length of its subnet, as in "10.0.1.100", the
    /// length is that of the network in which the interface of the node that serves it has an
    /// address of its own.
    ADDRESS: Text<ServedAddress> = text(values::served_address, values::SERVED) => {
        name: "address", default: Required, example: r#""10.0.0.100/24""#,
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// The interface for the address. A link's interface stands for that link on every node.
    INTERFACE: Text<String> = text(values::interface, values::INTERFACE) => {
        name: "interface", default: Follows("the first link's"), example: r#""eth1""#,
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// Members, best first. Those that are not listed follow in the order of the [[node]]s.
    PREFER: List<String> = List { parse: values::name, takes: "a list of nodes' names" } => {
        name: "prefer", default: Without("the order of the [[node]]s"), example: r#"["a", "b"]"#,
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// The room that it needs of the nodes' capacity. In rebalancing, also the part of its node's
    /// load that is taken to be the VIP's.
    DEMAND: Amounts = Amounts => {
        name: "demand", default: Without("a kind that is not named is not needed"),
        example: "{ cpu = 1, memory = 4 }", reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// Whether it moves to where there is room, if groups do: see [rebalance].
    REBALANCE: Flag = Flag => {
        name: "rebalance", default: Is(|| true), example: "false",
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }
}
