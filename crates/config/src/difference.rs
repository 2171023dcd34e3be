//! The changes between two configurations, for an agent that reads its file anew: those that it can
//! take over as it runs, and those that only a restart applies. The rows of [`super::settings`] say
//! which is which. A change names what differs, never a value.

use std::{collections::BTreeSet, fmt};

use super::{
    settings::{
        Reload, SINGLE, Table, colocation, group, health, hook, link, location, node, order,
        resource,
    },
    types::{Config, Group, Node, Resource},
};

/// A difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A setting that takes effect only with a restart, by its name in the file.
    Restart(String),
    /// Nodes were added or removed, or the number of their list changed.
    Nodes(NodesChange),
    AutoFailback,
    /// Maintenance of the cluster; that of a group is among the group's settings.
    Maintenance,
    /// Whether other nodes may replace the file.
    AcceptConfiguration,
    Hooks,
    /// The checks of the node's health. Their bits in the heartbeats may mean others from then on.
    Health,
    /// The source of the load, or how it is smoothed.
    Load,
    /// The listener for metrics.
    Metrics,
    /// The strategy, or the points that a degraded node loses.
    Placement,
    /// Whether, or when, groups move for load. A group's consent is among its settings.
    Rebalance,
    /// The room of nodes for the demand of groups.
    Capacity,
    /// Locations, colocations or orders, also those that came or went with a group.
    Constraints,
    GroupRemoved(String),
    GroupAdded(String),
    GroupChanged(GroupChange),
}

/// A change of the list of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesChange {
    /// Names of nodes.
    pub removed: Vec<String>,
    pub added: Vec<String>,
    /// The number of the new list.
    pub version: u16,
}

/// The changes in a group that is in both configurations: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange {
    pub name: String,
    /// Whether a setting of the group itself changed.
    pub settings: bool,
    /// First those removed, then those added, then those that are in both.
    pub resources: Vec<ResourceChange>,
    /// Whether those in both configurations follow each other otherwise.
    pub reordered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceChange {
    Removed(String),
    Added(String),
    /// Another resource by the same name: the old one must stop, and the new one start.
    Replaced(String),
    /// The same resource, timed, watched or given up otherwise: nothing must stop for it.
    Adjusted(String),
}

impl Config {
    /// The changes that `new` brings: first those that need a restart, then the rest. Empty if an
    /// agent does the same by both.
    pub fn difference(&self, new: &Self) -> Vec<Change> {
        let mut single = Vec::new();
        for table in SINGLE {
            let differing = table.differing((self, &()), (new, &()));
            single.extend(differing.map(|(reload, name)| (reload, setting(table, name))));
        }
        let restart = single
            .iter()
            .filter(|(reload, _)| *reload == Reload::Restart)
            .map(|(_, name)| name.clone())
            .chain(links(self, new))
            .chain(nodes(self, new))
            .map(Change::Restart)
            .chain(list(self, new).map(Change::Nodes));
        let of_settings = single.iter().map(|(reload, _)| *reload);
        let of_lists = lists(self, new).chain(capacities(self, new));
        let live: BTreeSet<Reload> = of_settings.chain(of_lists).collect();
        let live = live.into_iter().filter_map(taken_over);
        restart.chain(live).chain(groups(self, new)).collect()
    }

    /// All locations, each with the name of its group.
    pub(crate) fn locations(&self) -> Vec<location::Location> {
        let of_group = |group: &Group| {
            let name = group.name.clone();
            let locations = group.locations.clone().into_iter();
            locations.map(move |(node, score)| location::Location {
                group: name.clone(),
                node,
                score,
            })
        };
        self.groups.iter().flat_map(of_group).collect()
    }
}

/// The change that stands for all settings which a reload takes over in this way. `None` if such a
/// change names more than that.
fn taken_over(reload: Reload) -> Option<Change> {
    match reload {
        Reload::AutoFailback => Some(Change::AutoFailback),
        Reload::Maintenance => Some(Change::Maintenance),
        Reload::AcceptConfiguration => Some(Change::AcceptConfiguration),
        Reload::Hooks => Some(Change::Hooks),
        Reload::Health => Some(Change::Health),
        Reload::Load => Some(Change::Load),
        Reload::Metrics => Some(Change::Metrics),
        Reload::Placement => Some(Change::Placement),
        Reload::Rebalance => Some(Change::Rebalance),
        Reload::Capacity => Some(Change::Capacity),
        Reload::Constraints => Some(Change::Constraints),
        Reload::Restart
        | Reload::Nodes
        | Reload::Group
        | Reload::Replace
        | Reload::Adjust
        | Reload::Identity
        | Reload::Inherited => None,
    }
}

/// A setting's name in messages: `[cluster] port`.
fn setting<T>(table: &Table<T>, name: &str) -> String {
    format!("{} {name}", table.header)
}

fn links(old: &Config, new: &Config) -> Vec<String> {
    let same = |link: &usize| {
        let (was, is) = (old.links.get(*link), new.links.get(*link));
        match was.zip(is) {
            Some((was, is)) => link::TABLE.differing((old, was), (new, is)).count() == 0,
            None => false,
        }
    };
    (0..old.links.len().max(new.links.len()))
        .filter(|link| !same(link))
        .map(|link| format!("{} {link}", link::TABLE.header))
        .collect()
}

fn nodes(old: &Config, new: &Config) -> Vec<String> {
    let matched = matched_nodes(old, new);
    let changed = matched.both.iter().filter(|(was, is)| {
        let mut differing = node::TABLE.differing((old, was), (new, is));
        differing.any(|(reload, _)| reload == Reload::Restart)
    });
    let header = node::TABLE.header;
    let mut names: Vec<_> = changed
        .map(|(_, new)| format!("{header} \"{}\"", new.name))
        .collect();
    if matched.reordered {
        names.push(format!("the order of {header}s"));
    }
    names
}

fn matched_nodes<'c>(old: &'c Config, new: &'c Config) -> Matched<'c, Node> {
    Matched::new(&old.nodes, &new.nodes, |node: &Node| &node.name)
}

/// The change of the list of nodes.
fn list(old: &Config, new: &Config) -> Option<NodesChange> {
    let matched = matched_nodes(old, new);
    let names = |nodes: &[&Node]| nodes.iter().map(|node| node.name.clone()).collect();
    let change = NodesChange {
        removed: names(&matched.removed),
        added: names(&matched.added),
        version: new.version,
    };
    let same = change.removed.is_empty() && change.added.is_empty() && old.version == new.version;
    (!same).then_some(change)
}

/// Whether the nodes in both configurations have other capacities.
fn capacities(old: &Config, new: &Config) -> Option<Reload> {
    let matched = matched_nodes(old, new);
    let mut both = matched.both.iter();
    let changed = both.any(|(was, is)| {
        let mut differing = node::TABLE.differing((old, was), (new, is));
        differing.any(|(reload, _)| reload == Reload::Capacity)
    });
    changed.then_some(Reload::Capacity)
}

/// The lists that a reload takes over as a whole, of those that differ.
fn lists(old: &Config, new: &Config) -> impl Iterator<Item = Reload> {
    let ordered = [
        (
            Reload::Hooks,
            [old, new].map(|config| all(&hook::TABLE, config, &config.hooks)),
        ),
        (
            Reload::Health,
            [old, new].map(|config| all(&health::TABLE, config, &config.health)),
        ),
    ];
    let constraints = (Reload::Constraints, [old, new].map(constraints));
    let lists = ordered.into_iter().chain([constraints]);
    lists.filter_map(|(reload, [old, new])| (old != new).then_some(reload))
}

/// The values of all settings of `items`.
fn all<'c, T: 'static>(
    table: &Table<T>,
    config: &Config,
    items: impl IntoIterator<Item = &'c T>,
) -> Vec<Vec<Option<String>>> {
    let values = |item: &T| {
        let rows = table.rows.iter();
        rows.map(|row| row.written(config, item)).collect()
    };
    items.into_iter().map(values).collect()
}

/// All constraints, in whatever order the file has them.
fn constraints(config: &Config) -> Vec<Vec<Option<String>>> {
    let locations = all(&location::TABLE, config, &config.locations());
    let colocations = all(&colocation::TABLE, config, &config.colocations);
    let orders = all(&order::TABLE, config, &config.orders);
    let mut constraints = [locations, colocations, orders].concat();
    constraints.sort_unstable();
    constraints
}

fn groups(old: &Config, new: &Config) -> Vec<Change> {
    let matched = Matched::new(&old.groups, &new.groups, |group: &Group| &group.name);
    let name = |group: &&Group| group.name.clone();
    let removed = matched.removed.iter().map(name).map(Change::GroupRemoved);
    let added = matched.added.iter().map(name).map(Change::GroupAdded);
    let changed = matched
        .both
        .iter()
        .filter_map(|(was, is)| changed_group((old, was), (new, is)))
        .map(Change::GroupChanged);
    removed.chain(added).chain(changed).collect()
}

fn changed_group(old: (&Config, &Group), new: (&Config, &Group)) -> Option<GroupChange> {
    let matched = Matched::new(&old.1.resources, &new.1.resources, |resource: &Resource| {
        &resource.name
    });
    let name = |resource: &&Resource| resource.name.clone();
    let removed = matched
        .removed
        .iter()
        .map(name)
        .map(ResourceChange::Removed);
    let added = matched.added.iter().map(name).map(ResourceChange::Added);
    let changed = matched
        .both
        .iter()
        .filter_map(|(was, is)| changed_resource((old.0, was), (new.0, is)));
    let mut differing = group::TABLE.differing(old, new);
    let change = GroupChange {
        name: new.1.name.clone(),
        settings: differing.any(|(reload, _)| reload == Reload::Group),
        resources: removed.chain(added).chain(changed).collect(),
        reordered: matched.reordered,
    };
    (change.settings || change.reordered || !change.resources.is_empty()).then_some(change)
}

fn changed_resource(
    old: (&Config, &Resource),
    new: (&Config, &Resource),
) -> Option<ResourceChange> {
    let differing: BTreeSet<Reload> = resource::TABLE
        .differing(old, new)
        .map(|(reload, _)| reload)
        .collect();
    let name = new.1.name.clone();
    if differing.contains(&Reload::Replace) {
        Some(ResourceChange::Replaced(name))
    } else if differing.contains(&Reload::Adjust) {
        Some(ResourceChange::Adjusted(name))
    } else {
        None
    }
}

/// Two lists, compared by the names of their items.
struct Matched<'c, T> {
    /// Only in the old list.
    removed: Vec<&'c T>,
    /// Only in the new list.
    added: Vec<&'c T>,
    /// Each as it was and as it is, in the order of the new list.
    both: Vec<(&'c T, &'c T)>,
    /// Whether those in both have another order among themselves.
    reordered: bool,
}

impl<'c, T> Matched<'c, T> {
    fn new(old: &'c [T], new: &'c [T], name: impl Fn(&T) -> &str) -> Self {
        let place = |list: &[T], item: &T| list.iter().position(|one| name(one) == name(item));
        let mut places = Vec::new();
        let mut matched = Self {
            removed: old
                .iter()
                .filter(|item| place(new, item).is_none())
                .collect(),
            added: Vec::new(),
            both: Vec::new(),
            reordered: false,
        };
        for item in new {
            match place(old, item) {
                Some(was) => {
                    matched.both.push((&old[was], item));
                    places.push(was);
                }
                None => matched.added.push(item),
            }
        }
        matched.reordered = !places.is_sorted();
        matched
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart(setting) => write!(f, "{setting} changed, which needs a restart"),
            Self::Nodes(change) => change.fmt(f),
            Self::AutoFailback => f.write_str("auto_failback changed"),
            Self::Maintenance => f.write_str("maintenance changed"),
            Self::AcceptConfiguration => f.write_str("accept_configuration changed"),
            Self::Hooks => f.write_str("hooks changed"),
            Self::Health => f.write_str("health checks changed"),
            Self::Load => f.write_str("load changed"),
            Self::Metrics => f.write_str("metrics changed"),
            Self::Placement => f.write_str("placement changed"),
            Self::Rebalance => f.write_str("rebalancing changed"),
            Self::Capacity => f.write_str("capacities changed"),
            Self::Constraints => f.write_str("constraints changed"),
            Self::GroupRemoved(name) => write!(f, "group {name} removed"),
            Self::GroupAdded(name) => write!(f, "group {name} added"),
            Self::GroupChanged(change) => change.fmt(f),
        }
    }
}

impl fmt::Display for NodesChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = self
            .removed
            .iter()
            .map(|name| format!("node {name} removed, "));
        let added = self.added.iter().map(|name| format!("node {name} added, "));
        removed
            .chain(added)
            .try_for_each(|part| f.write_str(&part))?;
        write!(f, "config_version {}", self.version)
    }
}

impl fmt::Display for GroupChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} changed: ", self.name)?;
        let settings = self.settings.then(|| "settings".to_owned());
        let reordered = self.reordered.then(|| "order of resources".to_owned());
        let resources = self.resources.iter().map(ToString::to_string);
        let parts: Vec<_> = settings
            .into_iter()
            .chain(resources)
            .chain(reordered)
            .collect();
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for ResourceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed(name) => write!(f, "resource {name} removed"),
            Self::Added(name) => write!(f, "resource {name} added"),
            Self::Replaced(name) => write!(f, "resource {name} replaced"),
            Self::Adjusted(name) => write!(f, "resource {name} adjusted"),
        }
    }
}
