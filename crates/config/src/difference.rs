//! What a changed configuration changes, for an agent that reads its file anew: what it can take
//! over as it runs, and what only a restart applies. Names what differs, never a value.

use std::fmt;

use super::types::{Config, Group, Node, Resource, ResourceKind, Strategy, Vip};
use heartbeat_core::index::GroupIndex;

/// One thing in which two configurations differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A setting that takes effect only with a restart, by its name in the file.
    Restart(String),
    /// Nodes came or went, or the number of their list did.
    Nodes(NodesChange),
    AutoFailback,
    /// Of the cluster; a group's own is among its settings.
    Maintenance,
    /// Whether other nodes may replace the file.
    AcceptConfiguration,
    Hooks,
    /// The checks of the node's health. Their bits in the heartbeats may mean others from then on.
    Health,
    /// Where the load comes from, or how it is smoothed.
    Load,
    /// The strategy, or the points that a degraded node loses.
    Placement,
    /// Whether, or when, groups move for load. A group's own say is among its settings.
    Rebalance,
    /// What nodes have of what groups demand.
    Capacity,
    /// Locations, colocations or orders, also those that came or went with a group.
    Constraints,
    GroupRemoved(String),
    GroupAdded(String),
    GroupChanged(GroupChange),
}

/// How the list of nodes differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesChange {
    /// By their names, as those that were added.
    pub removed: Vec<String>,
    pub added: Vec<String>,
    /// The number of the new list.
    pub version: u16,
}

/// What is different in a group that is in both configurations. Something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange {
    pub name: String,
    /// Its rank, stickiness, demand or maintenance, whether it moves for load, or whether two nodes
    /// may run it at a time.
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
    /// Another thing by the same name: the old one must stop, and the new one start.
    Replaced(String),
    /// The same thing, timed, watched or given up otherwise: nothing must stop for it.
    Adjusted(String),
}

impl Config {
    /// What `new` changes: first what needs a restart, then the rest. Empty if an agent does the
    /// same by both.
    pub fn difference(&self, new: &Self) -> Vec<Change> {
        let settings = self.settings().into_iter().zip(new.settings());
        let restart = settings
            .filter(|(old, new)| old != new)
            .map(|((name, _), _)| name.to_owned())
            .chain(links(self, new))
            .chain(nodes(self, new))
            .map(Change::Restart)
            .chain(list(self, new).map(Change::Nodes));
        let others = [
            (
                self.auto_failback != new.auto_failback,
                Change::AutoFailback,
            ),
            (self.maintenance != new.maintenance, Change::Maintenance),
            (
                self.accept_configuration != new.accept_configuration,
                Change::AcceptConfiguration,
            ),
            (self.hooks != new.hooks, Change::Hooks),
            (self.health != new.health, Change::Health),
            (self.load != new.load, Change::Load),
            (by_points(self) != by_points(new), Change::Placement),
            (
                self.placement.rebalance != new.placement.rebalance,
                Change::Rebalance,
            ),
            (capacities_differ(self, new), Change::Capacity),
            (constraints(self) != constraints(new), Change::Constraints),
        ];
        let others = others
            .into_iter()
            .filter_map(|(differs, change)| differs.then_some(change));
        restart.chain(others).chain(groups(self, new)).collect()
    }

    /// The single settings that only a restart applies, with their values.
    fn settings(&self) -> [(&'static str, String); 15] {
        [
            ("[cluster] name", self.cluster.clone()),
            ("[cluster] id", self.cluster_id.0.to_string()),
            ("[cluster] node", self.local().name.clone()),
            ("[cluster] instance", self.instance.clone()),
            ("[cluster] key", format!("{:?}", self.key)),
            ("[cluster] port", self.port.to_string()),
            ("[cluster] interval", format!("{:?}", self.interval)),
            ("[cluster] timeout", format!("{:?}", self.timeout)),
            ("[cluster] agent_stall", format!("{:?}", self.agent_stall)),
            ("[cluster] lease", format!("{:?}", self.lease)),
            ("[cluster] max_lease", format!("{:?}", self.max_lease)),
            ("[cluster] drift", self.drift_ppm.to_string()),
            ("[paths] run", format!("{:?}", self.run)),
            ("[paths] state", format!("{:?}", self.state)),
            (
                "[realtime] priority",
                format!("{:?}", self.realtime_priority),
            ),
        ]
    }
}

fn links(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (&old.links, &new.links);
    (0..old.len().max(new.len()))
        .filter(|link| old.get(*link) != new.get(*link))
        .map(|link| format!("[[link]] {link}"))
        .collect()
}

fn nodes(old: &Config, new: &Config) -> Vec<String> {
    let matched = Matched::new(&old.nodes, &new.nodes, |node: &Node| &node.name);
    // What it has room for is taken over, and was looked at elsewhere.
    let rest = |node: &Node| Node {
        capacity: Vec::new(),
        ..node.clone()
    };
    let both = matched.both.iter();
    let changed = both.filter(|(old, new)| rest(old) != rest(new));
    let mut names: Vec<_> = changed
        .map(|(_, new)| format!("[[node]] \"{}\"", new.name))
        .collect();
    if matched.reordered {
        names.push("the order of [[node]]s".to_owned());
    }
    names
}

/// Which nodes came or went.
fn list(old: &Config, new: &Config) -> Option<NodesChange> {
    let matched = Matched::new(&old.nodes, &new.nodes, |node: &Node| &node.name);
    let names = |nodes: &[&Node]| nodes.iter().map(|node| node.name.clone()).collect();
    let change = NodesChange {
        removed: names(&matched.removed),
        added: names(&matched.added),
        version: new.version,
    };
    let same = change.removed.is_empty() && change.added.is_empty() && old.version == new.version;
    (!same).then_some(change)
}

/// Of nodes that are in both configurations.
fn capacities_differ(old: &Config, new: &Config) -> bool {
    let matched = Matched::new(&old.nodes, &new.nodes, |node: &Node| &node.name);
    let mut both = matched.both.iter();
    both.any(|(was, is)| !old.capacities(was).eq(new.capacities(is)))
}

fn by_points(config: &Config) -> (Strategy, u32) {
    (config.placement.strategy, config.placement.degraded_points)
}

fn groups(old: &Config, new: &Config) -> Vec<Change> {
    let matched = Matched::new(&old.groups, &new.groups, |group: &Group| &group.name);
    let name = |group: &&Group| group.name.clone();
    let removed = matched.removed.iter().map(name).map(Change::GroupRemoved);
    let added = matched.added.iter().map(name).map(Change::GroupAdded);
    let changed = matched
        .both
        .iter()
        .filter_map(|(was, is)| group((old, was), (new, is)))
        .map(Change::GroupChanged);
    removed.chain(added).chain(changed).collect()
}

fn group(old: (&Config, &Group), new: (&Config, &Group)) -> Option<GroupChange> {
    let settings = |group: &Group| {
        (
            group.rank.clone(),
            group.stickiness,
            group.maintenance,
            group.rebalance,
            group.accepts_double_run,
        )
    };
    let same_demand = || old.0.demands(old.1).eq(new.0.demands(new.1));
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
        .filter_map(|(was, is)| resource((old.0, was), (new.0, is)));
    let change = GroupChange {
        name: new.1.name.clone(),
        settings: settings(old.1) != settings(new.1) || !same_demand(),
        resources: removed.chain(added).chain(changed).collect(),
        reordered: matched.reordered,
    };
    (change.settings || change.reordered || !change.resources.is_empty()).then_some(change)
}

fn resource(old: (&Config, &Resource), new: (&Config, &Resource)) -> Option<ResourceChange> {
    // An address's index moves when another comes or goes.
    let same_kind = match (&old.1.kind, &new.1.kind) {
        (ResourceKind::Vip(was), ResourceKind::Vip(is)) => {
            let essence = |vip: &Vip| (vip.address, vip.interface.clone());
            old.0.vips.get(*was).map(essence) == new.0.vips.get(*is).map(essence)
        }
        (was, is) => was == is && old.1.execution == new.1.execution,
    };
    let name = new.1.name.clone();
    let same_rest = || {
        let old = Resource {
            kind: new.1.kind.clone(),
            ..old.1.clone()
        };
        old == *new.1
    };
    if !same_kind {
        Some(ResourceChange::Replaced(name))
    } else if !same_rest() {
        Some(ResourceChange::Adjusted(name))
    } else {
        None
    }
}

/// All constraints, by the names of what they are between.
fn constraints(config: &Config) -> Vec<String> {
    let name = |group: GroupIndex| config.groups.get(group).map(|group| group.name.as_str());
    let locations = config.groups.iter().flat_map(|group| {
        let location = |(node, score): &(_, _)| format!("{} {node:?} {score:?}", group.name);
        group.locations.iter().map(location)
    });
    let colocations = config.colocations.iter().map(|one| {
        let (group, with) = (name(one.group), name(one.with));
        format!("{group:?} with {with:?} {:?}", one.score)
    });
    let orders = config.orders.iter().map(|order| {
        let (first, then) = (name(order.first), name(order.then));
        format!("{first:?} then {then:?} {}", order.mandatory)
    });
    let mut all: Vec<_> = locations.chain(colocations).chain(orders).collect();
    all.sort_unstable();
    all
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
