//! The resources that become one group: the members of a Pacemaker group, and resources that a
//! mandatory colocation and a mandatory order tie. Every other primitive is a group of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use heartbeat_core::placement::Score;

use super::{
    everywhere::Everywhere,
    pairs::{Kind, Ready, Refused},
    resource,
};
use crate::{
    emit::{Comment, Remark},
    model::{Clone as Cloned, Model},
    values,
};

/// A future group.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    /// Index of the corresponding group of Pacemaker, if there is one.
    pub(super) group: Option<usize>,
    /// Indices of primitives, in the order in which they start.
    pub(super) members: Vec<usize>,
    /// Indices of the colocations and orders that formed the unit.
    pub(super) ties: Vec<(usize, usize)>,
}

/// The unit of each resource.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The units. A unit that was joined to another is empty.
    pub(super) units: Vec<Unit>,
    /// The unit of each primitive and of each group, by its id.
    of: HashMap<String, usize>,
    /// The reason why a resource is in no unit.
    gone: HashMap<String, String>,
    pub(super) comments: Vec<Comment>,
    /// The reasons why a unit must not be served: its missing parts.
    pub(super) held: HashMap<usize, Vec<Remark>>,
}

impl Plan {
    /// The unit of a resource, or the reason why it has none.
    pub(super) fn unit_of(&self, id: &str) -> Result<usize, String> {
        self.of
            .get(id)
            .copied()
            .ok_or_else(|| match self.gone.get(id) {
                Some(why) => format!("{id} {why}"),
                None => format!("no resource has the name {id}"),
            })
    }

    /// The units that become groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, &Unit)> {
        let units = self.units.iter().enumerate();
        units.filter(|(_, unit)| !unit.members.is_empty())
    }

    fn drop_clone(&mut self, clone: &Cloned, model: &Model) {
        const WHY: &str = "runs on several nodes at the same time";
        let child = clone.child.as_deref().unwrap_or_default();
        let group = model.groups.iter().find(|group| group.id == child);
        let members = group.map_or(&[][..], |group| &group.members);
        let primitives = model
            .primitives
            .iter()
            .filter(|primitive| primitive.id == child || members.contains(&primitive.id));
        let places = primitives.map(|primitive| primitive.place.clone());
        let places = places.chain(group.map(|group| group.place.clone()));
        let promotable = clone
            .settings
            .meta
            .get("promotable")
            .and_then(values::truth);
        let roles = ["ms", "master", "promotable"].contains(&clone.kind.as_str())
            || promotable == Some(true);
        let remedy = if roles {
            "let the service replicate by its own means, outside of the cluster, and make a group \
             of its address"
        } else {
            "let systemd run it on each node, outside of the cluster"
        };
        let subject = match members {
            [] => format!("{} {} of {child}", clone.kind, clone.id),
            members => format!(
                "{} {} of {child} ({})",
                clone.kind,
                clone.id,
                members.join(", ")
            ),
        };
        let remark = Remark::new(
            &clone.place,
            subject,
            "a resource of heartbeat runs on one node at a time, and has no roles",
            remedy,
        );
        self.comments.push(remark.also(places).into());
        let ids = [clone.id.as_str(), child].into_iter();
        for id in ids.chain(members.iter().map(String::as_str)) {
            self.gone.insert(id.to_owned(), WHY.to_owned());
        }
    }

    fn add(&mut self, name: &str, group: Option<usize>, members: Vec<usize>, model: &Model) {
        let unit = self.units.len();
        for member in &members {
            self.of.insert(model.primitives[*member].id.clone(), unit);
        }
        self.of.insert(name.to_owned(), unit);
        self.units.push(Unit {
            name: name.to_owned(),
            group,
            members,
            ties: Vec::new(),
        });
    }
}

/// The units of Pacemaker's groups and of single primitives, before any ties.
pub(super) fn plan(model: &Model, everywhere: &Everywhere) -> Plan {
    let mut plan = Plan::default();
    for (id, _) in model
        .ids()
        .filter(|(id, _)| everywhere.checks(id).is_some())
    {
        let why = "runs on every node, where a health check tests it";
        plan.gone.insert(id.to_owned(), why.to_owned());
    }
    for clone in &model.clones {
        if everywhere.checks(&clone.id).is_none() {
            plan.drop_clone(clone, model);
        }
    }
    for primitive in &model.primitives {
        if plan.gone.contains_key(&primitive.id) {
            continue;
        }
        if let Err(refusal) = resource::kind(primitive) {
            let subject = format!("primitive {}", resource::title(primitive));
            let why = format!("is not translated ({})", primitive.place);
            plan.gone.insert(primitive.id.clone(), why);
            plan.comments
                .push(Remark::new(&primitive.place, subject, refusal.0, refusal.1).into());
        }
    }
    let index: HashMap<&str, usize> = (0..)
        .zip(&model.primitives)
        .map(|(index, primitive)| (primitive.id.as_str(), index))
        .collect();
    for (number, group) in model.groups.iter().enumerate() {
        if plan.gone.contains_key(&group.id) {
            continue;
        }
        let mut members = Vec::new();
        let mut held = Vec::new();
        for id in &group.members {
            let lacks = !index.contains_key(id.as_str())
                || (plan.gone.contains_key(id) && everywhere.checks(id).is_none());
            if lacks {
                held.push(Remark::new(
                    &group.place,
                    format!("group {}", group.id),
                    format!(
                        "its member {id} is not translated, so no node serves the rest of the group"
                    ),
                    "check whether the group works without this member, then remove `maintenance = \
                     true`",
                ));
            }
            let why = match index.get(id.as_str()) {
                None => Some("no primitive has this name".to_owned()),
                Some(_) if plan.of.contains_key(id) => Some(
                    "the resource is in another \
                group"
                        .to_owned(),
                ),
                Some(at) if members.contains(at) => Some("the group names it twice".to_owned()),
                Some(at) => match plan.gone.get(id) {
                    Some(why) => Some(format!("it {why}")),
                    None => {
                        members.push(*at);
                        None
                    }
                },
            };
            plan.comments.extend(why.map(|why| {
                let subject = format!("{id} in group {}", group.id);
                Remark::new(
                    &group.place,
                    subject,
                    why,
                    "check that the group works without it",
                )
                .into()
            }));
        }
        if members.is_empty() {
            let why = "has no translated member".to_owned();
            plan.comments.push(
                Remark::new(
                    &group.place,
                    format!("group {}", group.id),
                    format!("it {why}"),
                    "no action needed",
                )
                .into(),
            );
            plan.gone.insert(group.id.clone(), why);
        } else {
            plan.add(&group.id, Some(number), members, model);
            if !held.is_empty() {
                plan.held.insert(plan.units.len() - 1, held);
            }
        }
    }
    for (number, primitive) in model.primitives.iter().enumerate() {
        let known = plan.of.contains_key(&primitive.id) || plan.gone.contains_key(&primitive.id);
        if !known {
            plan.add(&primitive.id, None, vec![number], model);
        }
    }
    plan
}

type Colocations = [Result<Ready<Score>, Box<Refused>>];
type Orders = [Result<Ready<Kind>, Box<Refused>>];

impl Plan {
    /// Joins the units that a mandatory colocation and a mandatory order tie, until none is left.
    pub(super) fn tie(&mut self, model: &Model, colocations: &Colocations, orders: &Orders) {
        let mut refused: HashSet<(usize, usize)> = HashSet::new();
        while let Some((units, tie)) = self.next_tie(colocations, orders, &refused) {
            let (one, other) = units;
            let Some(members) = self.joined(units, model, orders) else {
                refused.insert((one.min(other), one.max(other)));
                continue;
            };
            let last = members
                .last()
                .map(|last| model.primitives[*last].id.clone());
            // Operators know the name of the group. Without one, the name is that of the last
            // resource to start.
            let keep = if self.units[other].group.is_some() {
                other
            } else {
                one
            };
            let gone = if keep == one { other } else { one };
            let ties = std::mem::take(&mut self.units[gone].ties);
            self.units[gone].members.clear();
            let held = self.held.remove(&gone).unwrap_or_default();
            self.held.entry(keep).or_default().extend(held);
            for unit in self.of.values_mut().filter(|unit| **unit == gone) {
                *unit = keep;
            }
            let unit = &mut self.units[keep];
            unit.ties.extend(ties);
            unit.ties.push(tie);
            unit.members = members;
            if unit.group.is_none() {
                unit.name = last.unwrap_or_default();
            }
        }
    }

    /// Two tied units, with their colocation and their order. Two groups of Pacemaker are not
    /// joined: their operators know both names.
    fn next_tie(
        &self,
        colocations: &Colocations,
        orders: &Orders,
        refused: &HashSet<(usize, usize)>,
    ) -> Option<((usize, usize), (usize, usize))> {
        let mut together: HashMap<(usize, usize), usize> = HashMap::new();
        for (index, ready) in colocations.iter().enumerate() {
            let Ok(ready) = ready else { continue };
            if ready.what != Score::MUST || self.touches_gone(&ready.pairs) {
                continue;
            }
            for pair in &ready.pairs {
                if let Some((one, other)) = self.units_of(pair) {
                    together
                        .entry((one.min(other), one.max(other)))
                        .or_insert(index);
                }
            }
        }
        for (index, ready) in orders.iter().enumerate() {
            let Ok(ready) = ready else { continue };
            let firm = ready.what.mandatory && ready.what.symmetrical;
            if !firm || self.touches_gone(&ready.pairs) {
                continue;
            }
            for (one, other) in ready.pairs.iter().filter_map(|pair| self.units_of(pair)) {
                let units = (one.min(other), one.max(other));
                let groups = self.units[one].group.is_some() && self.units[other].group.is_some();
                if one == other || groups || refused.contains(&units) {
                    continue;
                }
                if let Some(colocation) = together.get(&units) {
                    return Some(((one, other), (*colocation, index)));
                }
            }
        }
        None
    }

    fn touches_gone(&self, pairs: &[(String, String)]) -> bool {
        pairs.iter().any(|pair| self.units_of(pair).is_none())
    }

    fn units_of(&self, (one, other): &(String, String)) -> Option<(usize, usize)> {
        Some((*self.of.get(one)?, *self.of.get(other)?))
    }

    /// The members of both units in an order that satisfies both groups and all mandatory orders;
    /// `None` if there is none.
    fn joined(
        &self,
        (one, other): (usize, usize),
        model: &Model,
        orders: &Orders,
    ) -> Option<Vec<usize>> {
        let members: BTreeSet<usize> = [one, other]
            .iter()
            .flat_map(|unit| self.units[*unit].members.iter().copied())
            .collect();
        let edges = self.edges(&members, model, orders);
        let mut waits: BTreeMap<usize, usize> = members.iter().map(|member| (*member, 0)).collect();
        for (_, then) in &edges {
            *waits.entry(*then).or_default() += 1;
        }
        let mut sorted = Vec::new();
        // Otherwise the order of the file applies.
        while let Some(next) = waits.iter().find(|(_, waits)| **waits == 0) {
            let next = *next.0;
            waits.remove(&next);
            sorted.push(next);
            for (_, then) in edges.iter().filter(|(first, _)| *first == next) {
                if let Some(waits) = waits.get_mut(then) {
                    *waits -= 1;
                }
            }
        }
        waits.is_empty().then_some(sorted)
    }

    /// The pairs of predecessor and successor in the order of starting, among `members`.
    pub(super) fn edges(
        &self,
        members: &BTreeSet<usize>,
        model: &Model,
        orders: &Orders,
    ) -> BTreeSet<(usize, usize)> {
        let index: HashMap<&str, usize> = members
            .iter()
            .map(|member| (model.primitives[*member].id.as_str(), *member))
            .collect();
        // As a predecessor a group stands for its last member, as a successor for its first.
        let sequences: HashMap<&str, Vec<usize>> = model
            .groups
            .iter()
            .map(|group| {
                let members = group.members.iter();
                let members = members.filter_map(|id| index.get(id.as_str()).copied());
                (group.id.as_str(), members.collect())
            })
            .collect();
        let mut edges = BTreeSet::new();
        for sequence in sequences.values() {
            edges.extend(sequence.windows(2).map(|two| (two[0], two[1])));
        }
        let end = |id: &str, last: bool| {
            let alone = index.get(id).copied();
            alone.or_else(|| {
                let sequence = sequences.get(id)?;
                let end = if last {
                    sequence.last()
                } else {
                    sequence.first()
                };
                end.copied()
            })
        };
        let firm = orders.iter().flatten().filter(|ready| ready.what.mandatory);
        for (first, then) in firm.flat_map(|ready| &ready.pairs) {
            if let (Some(first), Some(then)) = (end(first, true), end(then, false)) {
                edges.insert((first, then));
            }
        }
        edges
    }
}
