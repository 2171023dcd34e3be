//! `prefer`: which members are the best for a group.

use std::collections::HashSet;

use heartbeat_common::wire::NodeId;

use crate::{
    read::{At, Section},
    readers::List,
    report::{likely, quoted},
    settings::Setting,
    types::{Node, Role},
};

/// All members, best first: those preferred, then the others in the order of the file.
pub(super) fn read<T>(
    section: &Section<'_>,
    prefer: &Setting<List<String>, T>,
    nodes: &[Node],
) -> Vec<NodeId> {
    let prefer = prefer.value(section);
    let mut rank = Vec::with_capacity(nodes.len());
    let mut listed = HashSet::new();
    for At { value, at } in prefer.into_iter().flatten().flatten() {
        let report = |what: &str, remedy: String| {
            section.problem(at, format!("prefer {}{what}", quoted(&value)), remedy);
        };
        match nodes.iter().find(|node| node.name == value) {
            Some(node) if node.role == Role::Witness => report(
                ": this node is a witness, which serves nothing",
                "leave it out, or remove role = \"witness\" from the node".to_owned(),
            ),
            Some(node) if listed.insert(node.id) => rank.push(node.id),
            Some(_) => report(" is listed twice", "keep one".to_owned()),
            None => {
                let members = nodes.iter().filter(|node| node.role == Role::Member);
                let names: Vec<_> = members.map(|node| node.name.as_str()).collect();
                report(": no node has this name", likely(&value, &names));
            }
        }
    }
    let others = nodes
        .iter()
        .filter(|node| node.role == Role::Member && !listed.contains(&node.id));
    rank.extend(others.map(|node| node.id));
    rank
}
