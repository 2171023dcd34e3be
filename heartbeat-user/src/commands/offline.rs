//! A cluster that exists in its configuration only, for `--offline`: all nodes are well.

use super::situation::Seen;
use crate::{
    config::{Config, Role},
    control::protocol::{Group, Node, Quorum, SCHEMA_VERSION, Status},
};

/// Returns the status of a cluster whose nodes are all well and whose groups are where the nodes
/// would place them.
pub(super) fn status(config: &Config) -> Status {
    let nodes = config.nodes.iter().map(|node| Node {
        name: node.name.clone(),
        id: node.id.0,
        local: node.id == config.local().id,
        witness: node.role == Role::Witness,
        state: "up".to_owned(),
        agent: "active".to_owned(),
        ..Node::default()
    });
    let groups = config.groups.iter().map(|group| Group {
        name: group.name.clone(),
        ..Group::default()
    });
    let count = config.nodes.len();
    let mut status = Status {
        schema_version: SCHEMA_VERSION,
        cluster: config.cluster.clone(),
        node: config.local().name.clone(),
        quorum: Quorum {
            quorate: true,
            alive: count,
            needed: count / 2 + 1,
            configured: count,
        },
        nodes: nodes.collect(),
        groups: groups.collect(),
        ..Status::default()
    };
    let owners = Seen::new(config, &status, &[]).settle();
    for (group, owner) in status.groups.iter_mut().zip(&owners) {
        let owner = owner.and_then(|owner| config.node(owner));
        group.owner = owner.map(|owner| owner.name.clone());
        group.running = group.owner.is_some();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
        [cluster]
        name = \"x\"
        [[link]]
        interface = \"eth0\"
        [[node]]
        name = \"a\"
        id = 1
        addresses = [\"10.0.0.1\"]
        [[node]]
        name = \"b\"
        id = 2
        addresses = [\"10.0.0.2\"]
        [[node]]
        name = \"w\"
        id = 3
        role = \"witness\"
        addresses = [\"10.0.0.3\"]
        [[vip]]
        name = \"first\"
        address = \"10.0.0.100/24\"
        [[vip]]
        name = \"second\"
        address = \"10.0.0.101/24\"
        prefer = [\"b\"]
    ";

    #[test]
    fn groups_are_where_their_rank_says() {
        let config = Config::parse(FILE, "x.toml".as_ref(), Some("a"), "a").unwrap();
        let status = status(&config);
        let owners: Vec<_> = status.groups.iter().map(|group| &group.owner).collect();
        assert_eq!(owners, [&Some("a".to_owned()), &Some("b".to_owned())]);
        assert!(status.nodes[2].witness && !status.nodes[0].witness);
        assert_eq!((status.quorum.alive, status.quorum.needed), (3, 2));
    }

    #[test]
    fn groups_of_a_failed_node_go_to_the_next() {
        let config = Config::parse(FILE, "x.toml".as_ref(), Some("a"), "a").unwrap();
        let status = status(&config);
        let settled = |fail: &[String]| {
            let owners = Seen::new(&config, &status, fail).settle();
            let ids = owners.iter().map(|owner| owner.map(|owner| owner.0));
            ids.collect::<Vec<_>>()
        };
        assert_eq!(settled(&["a".to_owned()]), [Some(2), Some(2)]);
        assert_eq!(settled(&["b".to_owned()]), [Some(1), Some(1)]);
        // One voter of three has no majority.
        assert_eq!(settled(&["b".to_owned(), "w".to_owned()]), [None, None]);
    }
}
