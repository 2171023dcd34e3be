//! `[[vip]]` and `[[group]]`: what one node serves as a whole, of what it consists, and which node
//! is the best for it. `constraints` judges what holds between groups.

mod address;
mod execution;
mod kind;
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
    ids::fnv1a,
    read::{At, Section, label, or_reported},
    report::quoted,
    settings::{group as rows, vip},
    types::{Group, Link, MAX_GROUPS, Node, Resource, ResourceKind, Vip},
    uses::Uses,
    utilization::Stated,
};

/// All groups and addresses.
pub(super) struct Read<'a> {
    /// First those of the `[[vip]]`s.
    pub(super) groups: ByGroup<Group>,
    /// The demand of each of them.
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
                "there are {} groups, each [[vip]] being one, but no more than {MAX_GROUPS} can be \
                 served",
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
            // A [[vip]] and its resource have one name: one report of it is enough.
            if fresh || !draft.is_vip {
                names.resource(&resource);
            }
            finish(resource, id, (&mut addresses, &mut names), &draft.doubles)
        });
        let resources: IndexVec<ResourceIndex, Resource> = resources.collect();
        draft.doubles.warn_if_idle(&draft.section, &resources);
        let group = Group {
            rank: match draft.is_vip {
                true => rank::read(&draft.section, &vip::PREFER, nodes),
                false => rank::read(&draft.section, &rows::PREFER, nodes),
            },
            name: or_reported(draft.name),
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

/// The stickiness of a group where the file does not say. Addresses alone go back within
/// milliseconds; anything else is stopped and started for it.
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
    let Policy {
        stickiness,
        recovery,
    } = defaults;
    let draft = |section: Section<'a>| {
        let name = vip::NAME.read(&section);
        GroupDraft {
            resources: vec![Draft::of_vip(&section, name.clone(), recovery)],
            is_vip: true,
            name,
            stickiness,
            demand: Stated::read(&section, &vip::DEMAND),
            rebalance: vip::REBALANCE.or_default(&section),
            maintenance: false,
            doubles: Doubles::default(),
            section,
        }
    };
    let sections = vip::TABLE.open_all(top, label("vip"));
    sections.into_iter().map(draft).collect()
}

fn groups<'a>(top: &Section<'a>, defaults: Policy) -> Vec<GroupDraft<'a>> {
    let draft = |section: Section<'a>| {
        let Policy {
            stickiness,
            recovery,
        } = defaults.of_group(&section);
        let name = rows::NAME.read(&section);
        GroupDraft {
            is_vip: false,
            doubles: Doubles::read(&section, name.as_ref().map(|name| &*name.value)),
            name,
            stickiness,
            demand: Stated::read(&section, &rows::DEMAND),
            rebalance: rows::REBALANCE.or_default(&section),
            maintenance: rows::MAINTENANCE.or_default(&section),
            resources: resource::read(&section, recovery),
            section,
        }
    };
    let sections = rows::TABLE.open_all(top, label("group"));
    sections.into_iter().map(draft).collect()
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

/// The names that a file must not have twice.
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

    /// Whether the group's name is its own. Reports a name that is not, or that makes the id of
    /// another group.
    fn group(&mut self, GroupDraft { section, name, .. }: &GroupDraft<'_>) -> bool {
        let Some(At { value, at }) = name else {
            return true;
        };
        let what = format!("name {}", quoted(value));
        let remedy = "give each group, also each VIP, a name of its own";
        let fresh = self.groups.once(value.clone(), &what, section, *at, remedy);
        // Equal names have equal ids: that was reported.
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
