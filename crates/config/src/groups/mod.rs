//! `[[vip]]` and `[[group]]`: what is served as a whole, of what it consists, and which node is the
//! best for it. What must hold between groups by the constraints is for `constraints` to say.

mod address;
mod execution;
mod kind;
mod params;
mod policy;
mod rank;
mod resource;

use heartbeat_common::wire::GroupId;
use heartbeat_core::{
    index::{ResourceIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    placement::Score,
};

#[cfg(test)]
pub(super) use self::address::lease_id;
use self::{
    address::Addresses,
    kind::Kind,
    policy::Policy,
    resource::{Doubles, Draft},
};
use super::{
    cluster::fnv1a,
    fields,
    read::{At, Section, label, or_complained},
    report::quoted,
    types::{Group, Link, MAX_GROUPS, Node, Resource, ResourceKind, Vip},
    uses::Uses,
    utilization::Stated,
    values,
};

/// All that is served.
pub(super) struct Read<'a> {
    /// First those of the `[[vip]]`s.
    pub(super) groups: ByGroup<Group>,
    /// What each of them says of its demand.
    pub(super) demands: Vec<Stated<'a>>,
    /// The addresses of all of them.
    pub(super) vips: IndexVec<VipIndex, Vip>,
}

pub(super) fn read<'a>(
    top: &Section<'a>,
    auto_failback: Option<bool>,
    links: &[Link],
    nodes: &[Node],
    local: usize,
) -> Read<'a> {
    let defaults = Policy::defaults(top, auto_failback);
    let mut drafts = vips(top, defaults);
    drafts.extend(groups(top, defaults));
    if let Some(extra) = drafts.get(MAX_GROUPS) {
        extra.section.problem(
            extra.section.at(),
            format!(
                "there are {} groups, each [[vip]] being one, but no more than {MAX_GROUPS} can be served",
                drafts.len()
            ),
            "remove this and those that follow, join some, or serve them from another cluster",
        );
    }
    let mut names = Names::new();
    let mut addresses = Addresses::new(links, nodes, local);
    let group = |draft: GroupDraft<'a>| {
        let fresh = names.group(&draft);
        let id = group_id(draft.name.as_ref().map_or("", |name| &name.value));
        let resources = draft.resources.into_iter().filter_map(|resource| {
            // A [[vip]] and its resource have one name: one complaint of it is enough.
            if fresh || !draft.is_vip {
                names.resource(&resource);
            }
            finish(resource, id, (&mut addresses, &mut names), &draft.doubles)
        });
        let resources: IndexVec<ResourceIndex, Resource> = resources.collect();
        draft.doubles.warn_if_idle(&draft.section, &resources);
        let group = Group {
            rank: rank::read(&draft.section, nodes),
            name: or_complained(draft.name),
            id,
            locations: Vec::new(),
            stickiness: draft
                .stickiness
                .unwrap_or_else(|| builtin_stickiness(&resources)),
            demand: Vec::new(),
            rebalance: draft.rebalance,
            maintenance: draft.maintenance,
            accepts_double_run: draft.doubles.accepted,
            resources,
        };
        (group, draft.demand)
    };
    let (groups, demands): (Vec<_>, _) = drafts.into_iter().map(group).unzip();
    Read {
        groups: groups.into(),
        demands,
        vips: addresses.into_vips(),
    }
}

/// How a group sticks where the file does not say it. Addresses alone go back within milliseconds,
/// and anything else is stopped and started for it.
fn builtin_stickiness(resources: &[Resource]) -> Score {
    let is_address = |resource: &Resource| matches!(resource.kind, ResourceKind::Vip(_));
    match resources.iter().all(is_address) {
        true => Score::ZERO,
        false => Score::STAYS,
    }
}

/// A group as read.
struct GroupDraft<'a> {
    section: Section<'a>,
    is_vip: bool,
    name: Option<At<String>>,
    stickiness: Option<Score>,
    demand: Stated<'a>,
    rebalance: bool,
    maintenance: bool,
    doubles: Doubles,
    resources: Vec<Draft<'a>>,
}

/// `[[vip]]`: short for a group with one address, both with that name.
fn vips<'a>(top: &Section<'a>, defaults: Policy) -> Vec<GroupDraft<'a>> {
    use fields::{ADDRESS, DEMAND, INTERFACE, PREFER, REBALANCED, VIP, VIP_NAME};
    let Policy {
        stickiness,
        recovery,
    } = defaults;
    let vip = |section: Section<'a>| {
        let name = section.required(&VIP_NAME, values::name);
        GroupDraft {
            resources: vec![Draft::of_vip(&section, name.clone(), recovery)],
            is_vip: true,
            name,
            stickiness,
            demand: Stated::read(&section, &DEMAND),
            rebalance: rebalance(&section),
            maintenance: false,
            doubles: Doubles::default(),
            section,
        }
    };
    let known = [VIP_NAME, ADDRESS, INTERFACE, PREFER, DEMAND, REBALANCED];
    top.tables(&VIP, &known, label("vip"))
        .into_iter()
        .map(vip)
        .collect()
}

fn groups<'a>(top: &Section<'a>, defaults: Policy) -> Vec<GroupDraft<'a>> {
    use fields::{
        ACCEPT_DOUBLE_RUN, DEMAND, EXCLUSIVE, FAILURE_TIMEOUT, GROUP, GROUP_NAME, MAINTENANCE,
        MIGRATION_THRESHOLD, PREFER, REBALANCED, RESOURCE, STICKINESS,
    };
    let known = [
        GROUP_NAME,
        PREFER,
        STICKINESS,
        MIGRATION_THRESHOLD,
        FAILURE_TIMEOUT,
        DEMAND,
        REBALANCED,
        MAINTENANCE,
        ACCEPT_DOUBLE_RUN,
        EXCLUSIVE,
        RESOURCE,
    ];
    let group = |section: Section<'a>| {
        let Policy {
            stickiness,
            recovery,
        } = defaults.refined(&section);
        let name = section.required(&GROUP_NAME, values::name);
        GroupDraft {
            is_vip: false,
            doubles: Doubles::read(&section, name.as_ref().map(|name| &*name.value)),
            name,
            stickiness,
            demand: Stated::read(&section, &DEMAND),
            rebalance: rebalance(&section),
            maintenance: section
                .boolean(&MAINTENANCE)
                .is_some_and(|maintenance| maintenance.value),
            resources: resource::read(&section, recovery),
            section,
        }
    };
    top.tables(&GROUP, &known, label("group"))
        .into_iter()
        .map(group)
        .collect()
}

/// Whether the group moves for load, if groups do.
fn rebalance(section: &Section<'_>) -> bool {
    let rebalance = section.boolean(&fields::REBALANCED);
    rebalance.is_none_or(|rebalance| rebalance.value)
}

/// The resource, whose address becomes one of the cluster's.
fn finish(
    mut draft: Draft<'_>,
    group: GroupId,
    (addresses, names): (&mut Addresses<'_>, &mut Names),
    doubles: &Doubles,
) -> Option<Resource> {
    let kind = match draft.kind.take()? {
        Kind::Vip { address, interface } => {
            let name = draft.name.as_ref().map_or("", |name| &name.value);
            let ids = &mut names.ids;
            let index = addresses.add(&draft.section, name, (group, ids), address?, interface);
            ResourceKind::Vip(index)
        }
        Kind::Whole(kind) => kind,
    };
    Some(draft.finish(kind, doubles))
}

/// The names that must not stand twice.
struct Names {
    groups: Uses<String>,
    ids: Uses<GroupId>,
    resources: Uses<String>,
}

impl Names {
    fn new() -> Self {
        Self {
            groups: Uses::new(),
            ids: Uses::new(),
            resources: Uses::new(),
        }
    }

    /// Whether the group's name is its own. Complains if it is not, or makes the id of another.
    fn group(&mut self, GroupDraft { section, name, .. }: &GroupDraft<'_>) -> bool {
        let Some(At { value, at }) = name else {
            return true;
        };
        let what = format!("name {}", quoted(value));
        let remedy = "give each group, also each VIP, a name of its own";
        let fresh = self.groups.once(value.clone(), &what, section, *at, remedy);
        // Equal names have equal ids: that was said.
        if fresh {
            let id = group_id(value);
            let what = format!("group id {}, which is made of the name,", id.0);
            self.ids
                .once(id, &what, section, *at, "rename one of the two");
        }
        fresh
    }

    fn resource(&mut self, draft: &Draft<'_>) {
        if let Some(At { value, at }) = &draft.name {
            let what = format!("name {}", quoted(value));
            let remedy = "give each resource, also each VIP, a name of its own in the cluster";
            self.resources
                .once(value.clone(), &what, &draft.section, *at, remedy);
        }
    }
}

/// A hash of the group's name, so that the order of groups in a node's file does not matter. 32-bit
/// FNV-1a, its halves folded by exclusive or; 0 is no group, so it gives way to 1.
pub(super) fn group_id(name: &str) -> GroupId {
    let hash = fnv1a(name);
    let [high, low] = [hash >> 16, hash & 0xffff].map(|half| half as u16);
    GroupId((high ^ low).max(1))
}
