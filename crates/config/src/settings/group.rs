//! `[[group]]`: what one node serves as a whole.

use super::{
    Check::{Hidden, Prose},
    Fallback::{Follows, Is, Required, Without},
    Reload::{self, Identity, Inherited},
    defaults::{FAILURE_TIMEOUTS, STICKINESSES, THRESHOLDS},
    settings,
};
use crate::{
    readers::{
        Amounts, Flag, List, Number, Points, Text, TimeOrNever, text, unplaced, unplaced_amounts,
    },
    types::Group,
    values,
};

settings! {
    /// A group has one or more resources, which move between the nodes together. The node that
    /// holds the group's lease serves them. There are up to 64 groups, [[vip]]s among them, with up
    /// to 256 addresses.
    "[[group]]" of Group, "with two brackets, above its [[group.resource]]s" => "resource";

    /// Name of the group, unlike that of any other group or VIP. The lease's id is made of it.
    NAME: Text<String> = text(values::name, values::NAME) => {
        name: "name", default: Required, example: r#""web""#,
        reload: Identity, digest: true, check: Prose;
        |_, group| group.name.clone()
    }

    /// Members, best first. Those that are not listed follow in the order of the [[node]]s.
    PREFER: List<String> = List { parse: values::name, takes: "a list of nodes' names" } => {
        name: "prefer", default: Without("the order of the [[node]]s"), example: r#"["a", "b"]"#,
        reload: Reload::Group, digest: true, check: Prose;
        |_, group| unplaced(group.rank.iter().map(|node| node.0.to_string()))
    }

    /// Points for the node that has the group, against better-ranked ones. "inf" is that the group
    /// stays.
    STICKINESS: Points = STICKINESSES => {
        name: "stickiness", default: Without("as in [defaults]"), example: "100",
        reload: Reload::Group, digest: true, check: Prose;
        |_, group| group.stickiness
    }

    /// Failures of a resource after which the group leaves the node. 0 is never.
    MIGRATION_THRESHOLD: Number<u32> = THRESHOLDS => {
        name: "migration_threshold", default: Follows("as in [defaults]"), example: "3",
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// How long a failure counts; "never" is until `heartbeat cleanup`.
    FAILURE_TIMEOUT: TimeOrNever = FAILURE_TIMEOUTS => {
        name: "failure_timeout", default: Follows("as in [defaults]"), example: r#""10min""#,
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }

    /// The room that the group needs of the nodes' capacity. In rebalancing, also the part of its
    /// node's load that is taken to be the group's.
    DEMAND: Amounts = Amounts => {
        name: "demand", default: Without("a kind that is not named is not needed"),
        example: "{ cpu = 1, memory = 4 }", reload: Reload::Group, digest: true, check: Prose;
        |config, group| unplaced_amounts(config.demands(group))
    }

    /// Whether the group moves to where there is room, if groups do: see [rebalance].
    REBALANCE: Flag = Flag => {
        name: "rebalance", default: Is(|| true), example: "false",
        reload: Reload::Group, digest: true, check: Prose;
        |_, group| group.rebalance
    }

    /// Whether the agents leave the resources of this group alone.
    MAINTENANCE: Flag = Flag => {
        name: "maintenance", default: Is(|| false), example: "true",
        reload: Reload::Group, digest: true, check: Prose;
        |_, group| group.maintenance
    }

    /// Accepts that two nodes may run the group's exclusive resources at a time: a node that is cut
    /// off, or whose agent is dead, goes on with them while another has started them already, for
    /// up to stop_timeout or for ever. Without it a group with such resources is refused.
    ACCEPT_DOUBLE_RUN: Flag = Flag => {
        name: "accept_double_run", default: Is(|| false), example: "true",
        reload: Reload::Group, digest: true, check: Prose;
        |_, group| group.accepts_double_run
    }

    /// Whether the group's resources are exclusive, addresses excepted: whether two nodes that run
    /// one at a time do harm.
    EXCLUSIVE: Flag = Flag => {
        name: "exclusive", example: "false",
        default: Without(
            "a table knows file systems, volumes, exports, databases and virtual machines by the \
             names of their agents, units and programs"
        ),
        reload: Inherited, digest: false, check: Hidden;
        inherited
    }
}
