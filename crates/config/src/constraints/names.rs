//! Constraints as read, and the groups and nodes that they name.

use heartbeat_core::{index::GroupIndex, index_vec::ByGroup, placement::Score};

use crate::{
    read::{At, Named, Section},
    readers::Text,
    report::{likely, quoted},
    settings::{Setting, location},
    types::{Group, Node, Role},
    uses::Uses,
};

/// A setting of a constraint `T` that names a group.
type NamesGroup<T> = Setting<Text<String>, T>;

/// A constraint and the place of its table.
pub(super) struct Placed<T> {
    pub(super) constraint: T,
    pub(super) at: usize,
}

/// Points for or against a node.
#[derive(Clone, Copy)]
pub(super) struct Location {
    pub(super) group: GroupIndex,
    /// Index of the node.
    pub(super) node: usize,
    pub(super) score: Score,
}

/// The groups and nodes that constraints can name.
pub(super) struct Names<'a> {
    pub(super) groups: &'a ByGroup<Group>,
    pub(super) nodes: &'a [Node],
}

impl Names<'_> {
    /// The group that `field` names.
    pub(super) fn group<T>(
        &self,
        section: &Section<'_>,
        field: &NamesGroup<T>,
    ) -> Option<At<GroupIndex>> {
        let At { value, at } = field.read(section)?;
        let names = self.groups.iter().map(|group| group.name.as_str());
        let index = index(section, field, &value, at, names.collect(), "group")?;
        let value = GroupIndex(index);
        Some(At { value, at })
    }

    /// Index of the node that a location names, which must be able to serve.
    pub(super) fn member(&self, section: &Section<'_>) -> Option<At<usize>> {
        let field = &location::NODE;
        let At { value, at } = field.read(section)?;
        let names = self.nodes.iter().map(|node| node.name.as_str());
        let index = index(section, field, &value, at, names.collect(), "node")?;
        if self.nodes[index].role == Role::Witness {
            section.problem(
                at,
                format!(
                    "node {}: this node is a witness, which serves nothing",
                    quoted(&value)
                ),
                "remove this location, or role = \"witness\" from the node",
            );
            return None;
        }
        Some(At { value: index, at })
    }

    /// The two groups that `fields` name: two different ones, in no earlier constraint together.
    pub(super) fn pair<T>(
        &self,
        section: &Section<'_>,
        fields: [&NamesGroup<T>; 2],
        pairs: &mut Uses<(GroupIndex, GroupIndex)>,
    ) -> Option<(GroupIndex, GroupIndex)> {
        let [one, other] = fields.map(|field| self.group(section, field));
        let (one, other) = (one?, other?);
        let [one_field, other_field] = fields.map(Named::name);
        let name = |index: GroupIndex| quoted(&self.groups[index].name);
        if one.value == other.value {
            section.problem(
                other.at,
                format!(
                    "{other_field} {} is its {one_field}, too",
                    name(other.value)
                ),
                "name two different groups",
            );
            return None;
        }
        let pair = (one.value, other.value);
        let what = format!(
            "the pair of {one_field} {} and {other_field} {}",
            name(pair.0),
            name(pair.1)
        );
        pairs
            .once(pair, &what, section, section.at(), "keep one of the two")
            .then_some(pair)
    }
}

/// The place of `name` among `names`, or `None`, which was reported.
fn index(
    section: &Section<'_>,
    field: &dyn Named,
    name: &str,
    at: usize,
    names: Vec<&str>,
    what: &str,
) -> Option<usize> {
    let found = names.iter().position(|known| *known == name);
    // A group with a bad name, which was reported, may be the one that is meant.
    if found.is_none() && !names.contains(&"") {
        let remedy = if names.is_empty() {
            format!("add a [[{what}]] of this name, or remove this table")
        } else {
            likely(name, &names)
        };
        section.problem(
            at,
            format!("{} {}: no {what} has this name", field.noun(), quoted(name)),
            remedy,
        );
    }
    found
}
