//! The translation of colocations and orders: between two groups a `[[colocation]]` or an
//! `[[order]]`, within one group nothing, since a group is together and in order already.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heartbeat_core::placement::Score;

use super::{
    everywhere::Everywhere,
    pairs::{Kind, Ready, Refused},
    remarks::renamed,
    units::{Plan, Unit},
};
use crate::{
    emit::{Block, Comment, Remark, Value},
    model::Model,
    place::Place,
};

type Pair = (usize, usize);

#[derive(Debug, Default)]
pub(super) struct Translated {
    pub(super) blocks: Vec<Block>,
    /// By unit: the comments on constraints that the unit itself keeps.
    pub(super) within: HashMap<usize, Vec<Comment>>,
    pub(super) rest: Vec<Comment>,
    /// By unit: the reasons why it must not be served.
    pub(super) held: HashMap<usize, Vec<Remark>>,
}

pub(super) fn translate(
    model: &Model,
    plan: &Plan,
    everywhere: &Everywhere,
    colocations: &[Result<Ready<Score>, Box<Refused>>],
    orders: &[Result<Ready<Kind>, Box<Refused>>],
) -> Translated {
    let mut translated = Translated::default();
    let mut state = State {
        plan,
        everywhere,
        model,
        out: &mut translated,
    };
    state.ties(colocations);
    state.colocations(colocations);
    state.orders(orders);
    translated
}

/// A constraint between two groups, combined from one or more constraints of the input.
struct Between<T> {
    what: T,
    comments: Vec<Comment>,
}

struct State<'a> {
    plan: &'a Plan,
    everywhere: &'a Everywhere,
    model: &'a Model,
    out: &'a mut Translated,
}

impl State<'_> {
    /// Adds the comments on the constraints that joined several resources into a unit.
    fn ties(&mut self, colocations: &[Result<Ready<Score>, Box<Refused>>]) {
        for (index, unit) in self.plan.groups() {
            for (colocation, order) in &unit.ties {
                let (together, ordered) = (
                    &self.model.colocations[*colocation],
                    &self.model.orders[*order],
                );
                let mut text = format!(
                    "one group, by colocation {} ({}) and order {} ({})",
                    together.id, together.place, ordered.id, ordered.place
                );
                let against = colocations[*colocation]
                    .iter()
                    .flat_map(|ready| &ready.pairs);
                let against = against.clone().find(|(follower, leader)| {
                    self.position(unit, follower) < self.position(unit, leader)
                });
                if let Some((follower, leader)) = against {
                    text = format!(
                        "{text}; in the colocation {follower} follows {leader}, but in a group \
                         only the order decides"
                    );
                }
                let places = vec![together.place.clone(), ordered.place.clone()];
                self.say_within(index, Comment::Note(text, places));
            }
        }
    }

    fn say_within(&mut self, unit: usize, comment: Comment) {
        self.out.within.entry(unit).or_default().push(comment);
    }

    /// The position of a resource in its unit's order of starting; for a group, that of its first
    /// member.
    fn position(&self, unit: &Unit, id: &str) -> usize {
        let group = self.model.groups.iter().find(|group| group.id == id);
        let first = |member: &usize| {
            let name = &self.model.primitives[*member].id;
            name == id || group.is_some_and(|group| group.members.contains(name))
        };
        unit.members.iter().position(first).unwrap_or(0)
    }

    fn made(&self, unit: usize, of: impl Fn(&(usize, usize)) -> bool) -> bool {
        self.plan.units[unit].ties.iter().any(of)
    }

    /// The units of all pairs with both ends. Other pairs get a remark with the reason; their
    /// dependents are held back if the constraint is `firm`. In an order the second depends on the
    /// first, in a colocation the first on the second.
    fn lifted(
        &mut self,
        (subject, place): (&str, &Place),
        pairs: &[(String, String)],
        (firm, backwards): (bool, bool),
    ) -> Vec<(Pair, (String, String))> {
        let mut lifted = Vec::new();
        let mut told: Vec<String> = Vec::new();
        for (one, other) in pairs {
            let units = (self.plan.unit_of(one), self.plan.unit_of(other));
            if let (Ok(one_unit), Ok(other_unit)) = units {
                lifted.push(((one_unit, other_unit), (one.clone(), other.clone())));
                continue;
            }
            let (dependent, on) = if backwards {
                (other, one)
            } else {
                (one, other)
            };
            let why = match units {
                (Err(why), _) | (_, Err(why)) => why,
                (Ok(_), Ok(_)) => continue,
            };
            let depends = self.plan.unit_of(dependent).is_ok();
            if let Some(checks) = self.everywhere.checks(on).filter(|_| depends) {
                let text = format!(
                    "{subject} ({place}): replaced by health check {}: {dependent} runs only where \
                     that check succeeds",
                    checks.join(" and ")
                );
                self.out.rest.push(Comment::note(text, place));
                continue;
            }
            if firm {
                self.hold((subject, place), dependent, on);
            }
            if !told.contains(&why) {
                let remedy = "read the remark on that resource, and write the part that must still \
                              hold by hand";
                self.out
                    .rest
                    .push(Remark::new(place, subject, why.clone(), remedy).into());
                told.push(why);
            }
        }
        lifted
    }

    /// Keeps the group of `dependent` from being served, since the resource `on` which it depends
    /// has no counterpart. A fencing device is no such dependency.
    fn hold(&mut self, (subject, place): (&str, &Place), dependent: &str, on: &str) {
        let Ok(unit) = self.plan.unit_of(dependent) else {
            return;
        };
        let fences = self.model.primitives.iter().any(|primitive| {
            let agent = primitive.agent.as_ref();
            primitive.id == on && agent.is_some_and(|agent| agent.class == "stonith")
        });
        let held = self.out.held.entry(unit).or_default();
        let remark = Remark::new(
            place,
            format!("group {}", self.plan.units[unit].name),
            format!(
                "{subject} makes {dependent} depend on {on}, which is not translated, so no node \
                 serves the group"
            ),
            "replace the dependency, then remove `maintenance = true`",
        );
        if !fences && !held.contains(&remark) {
            held.push(remark);
        }
    }

    fn refused(&mut self, subject: &str, place: &Place, refused: &Refused) {
        self.out.rest.push(refused.remark.clone().into());
        self.out.rest.extend(refused.strange.iter().cloned());
        for (dependent, on) in &refused.depends {
            self.hold((subject, place), dependent, on);
        }
    }

    fn colocations(&mut self, colocations: &[Result<Ready<Score>, Box<Refused>>]) {
        let mut between: BTreeMap<Pair, Between<Score>> = BTreeMap::new();
        let mut sequence: Vec<Pair> = Vec::new();
        // Attracting constraints come first: repelling ones can be reversed.
        let apart = |index: &usize| {
            let ready = colocations[*index].as_ref();
            ready.is_ok_and(|ready| ready.what < Score::ZERO)
        };
        let (last, first): (Vec<usize>, Vec<usize>) = (0..colocations.len()).partition(apart);
        for index in first.into_iter().chain(last) {
            let ready = &colocations[index];
            let input = &self.model.colocations[index];
            let (subject, place) = (format!("colocation {}", input.id), input.place.clone());
            let ready = match ready {
                Ok(ready) => ready,
                Err(refused) => {
                    self.refused(&subject, &place, refused);
                    continue;
                }
            };
            let firm = (ready.what == Score::MUST, false);
            let pairs = self.lifted((&subject, &place), &ready.pairs, firm);
            let mut extra = ready.comments.clone();
            for ((group, with), names) in pairs {
                if group == with {
                    let apart = ready.what < Score::ZERO;
                    let tie = self.made(group, |(colocation, _)| *colocation == index);
                    let within = within_one(&subject, &place, apart, tie, &names);
                    within
                        .into_iter()
                        .for_each(|comment| self.say_within(group, comment));
                    extra
                        .drain(..)
                        .for_each(|comment| self.say_within(group, comment));
                    continue;
                }
                let mut comments = vec![Comment::note(format!("{subject} ({place})"), &place)];
                comments.extend(self.lifting(&names, (group, with)));
                comments.append(&mut extra);
                // A negative score has the same effect in both directions.
                let turned = (with, group);
                let known = between.contains_key(&turned) || circular(&sequence, (group, with));
                let pair = if known && ready.what < Score::ZERO {
                    turned
                } else {
                    (group, with)
                };
                if circular(&sequence, pair) {
                    let reason = "each group would follow the other, so neither could be placed \
                    first";
                    let remedy = "remove one of the two constraints";
                    self.out
                        .rest
                        .push(Remark::new(&place, subject.clone(), reason, remedy).into());
                    continue;
                }
                if pair == turned {
                    comments.push(Comment::general(
                        "reversed, so that the groups do not follow each other in a circle; a \
                         negative score means the same in both directions",
                    ));
                }
                gather(
                    &mut between,
                    &mut sequence,
                    pair,
                    ready.what,
                    comments,
                    |old, new| old + new,
                );
            }
            // Without any pair, the comments belong to no table.
            self.out.rest.extend(extra);
        }
        for pair in sequence {
            let Some(Between { what, comments }) = between.remove(&pair) else {
                continue;
            };
            let mut block = Block::new("[[colocation]]");
            block.comments = comments;
            block.field("group", self.name(pair.0));
            block.field("with", self.name(pair.1));
            block.field("score", what);
            self.out.blocks.push(block);
        }
    }

    fn orders(&mut self, orders: &[Result<Ready<Kind>, Box<Refused>>]) {
        let mut between: BTreeMap<Pair, Between<bool>> = BTreeMap::new();
        let mut sequence: Vec<Pair> = Vec::new();
        for (index, ready) in orders.iter().enumerate() {
            let input = &self.model.orders[index];
            let (subject, place) = (format!("order {}", input.id), input.place.clone());
            let ready = match ready {
                Ok(ready) => ready,
                Err(refused) => {
                    self.refused(&subject, &place, refused);
                    continue;
                }
            };
            let firm = (ready.what.mandatory, true);
            let pairs = self.lifted((&subject, &place), &ready.pairs, firm);
            let mut extra = ready.comments.clone();
            for ((first, then), names) in pairs {
                if first == then {
                    let unit = &self.plan.units[first];
                    let against = self.position(unit, &names.0) > self.position(unit, &names.1);
                    let tie = self.made(first, |(_, order)| *order == index);
                    let within = within_one(&subject, &place, against, tie, &names);
                    within
                        .into_iter()
                        .for_each(|comment| self.say_within(first, comment));
                    extra
                        .drain(..)
                        .for_each(|comment| self.say_within(first, comment));
                    continue;
                }
                let mut comments = vec![Comment::note(format!("{subject} ({place})"), &place)];
                comments.extend(self.lifting(&names, (first, then)));
                comments.append(&mut extra);
                if circular(&sequence, (first, then)) {
                    let reason = "each group would wait for the other, so neither could start \
                    first";
                    let remedy = "remove one of the two constraints";
                    self.out
                        .rest
                        .push(Remark::new(&place, subject.clone(), reason, remedy).into());
                    continue;
                }
                gather(
                    &mut between,
                    &mut sequence,
                    (first, then),
                    ready.what.mandatory,
                    comments,
                    |old, new| old || new,
                );
            }
            // Without any pair, the comments belong to no table.
            self.out.rest.extend(extra);
        }
        for pair in sequence {
            let Some(Between { what, comments }) = between.remove(&pair) else {
                continue;
            };
            let mut block = Block::new("[[order]]");
            block.comments = comments;
            block.field("first", self.name(pair.0));
            block.field("then", self.name(pair.1));
            block.field("kind", if what { "mandatory" } else { "advisory" });
            self.out.blocks.push(block);
        }
    }

    fn name(&self, unit: usize) -> Value {
        Value::Text(renamed(&self.plan.units[unit].name).0)
    }

    /// The remark that a constraint on a part of a group is now one on the whole group.
    fn lifting(&self, names: &(String, String), units: Pair) -> Vec<Comment> {
        let lifted = |id: &str, unit: usize| {
            let unit = &self.plan.units[unit];
            let whole = unit.members.len() == 1
                || unit
                    .group
                    .is_some_and(|group| self.model.groups[group].id == id);
            (!whole).then(|| {
                Comment::general(format!(
                    "the source constrains {id} alone; here the constraint applies to the whole \
                     group {}",
                    unit.name
                ))
            })
        };
        let both = [lifted(&names.0, units.0), lifted(&names.1, units.1)];
        both.into_iter().flatten().collect()
    }
}

/// The comments on a constraint whose resources are in one group.
fn within_one(
    subject: &str,
    place: &Place,
    contradicts: bool,
    tie: bool,
    (one, other): &(String, String),
) -> Option<Comment> {
    if contradicts {
        let reason = format!("it contradicts the group that {one} and {other} are in");
        let remedy = "split the group if the constraint is the one to keep";
        return Some(Remark::new(place, subject, reason, remedy).into());
    }
    // A constraint that made the group has a comment already.
    (!tie).then(|| {
        Comment::note(
            format!("{subject} ({place}): holds because {one} and {other} are in this group"),
            place,
        )
    })
}

/// Adds to the constraint between two groups, or begins one.
fn gather<T: Copy>(
    between: &mut BTreeMap<Pair, Between<T>>,
    sequence: &mut Vec<Pair>,
    pair: Pair,
    what: T,
    comments: Vec<Comment>,
    join: impl Fn(T, T) -> T,
) {
    match between.get_mut(&pair) {
        Some(known) => {
            known.what = join(known.what, what);
            known.comments.extend(comments);
        }
        None => {
            sequence.push(pair);
            between.insert(pair, Between { what, comments });
        }
    }
}

/// Whether `pair` would close a circle with the present pairs.
fn circular(pairs: &[Pair], (from, to): Pair) -> bool {
    let mut reached = BTreeSet::from([to]);
    let mut open = vec![to];
    while let Some(at) = open.pop() {
        if at == from {
            return true;
        }
        let next = pairs.iter().filter(|(start, _)| *start == at);
        open.extend(next.map(|(_, end)| *end).filter(|end| reached.insert(*end)));
    }
    false
}
