//! Resources that run on every node to serve or to monitor it: a cloned service, `ping`,
//! `ethmonitor`. Here systemd runs the service, and a `[[health]]` check reports the node's health.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use heartbeat_core::placement::Score;

use super::{
    pairs::{Kind, Ready, Refused},
    reach::{self, Rule},
    remarks::left_over,
    resource,
};
use crate::{
    emit::{Block, Comment, Remark, Value},
    model::{Attrs, Model, Primitive},
    place::Place,
    values,
};

/// The number of bits for checks in a heartbeat.
const MAX_CHECKS: usize = 15;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3_600);

/// The checks of every node.
#[derive(Debug, Default)]
pub(super) struct Everywhere {
    pub(super) blocks: Vec<Block>,
    /// The checks that replace each resource, clone or group that runs everywhere.
    of: HashMap<String, Vec<String>>,
    /// The node attribute that a check replaces, and the check's name.
    attributes: Vec<(String, String)>,
}

impl Everywhere {
    /// The checks that replace the resource `id`.
    pub(super) fn checks(&self, id: &str) -> Option<&[String]> {
        self.of.get(id).map(Vec::as_slice)
    }

    /// The check with the effect of the rule `text` with `score`, if the rule is about nothing
    /// else.
    pub(super) fn keeps(&self, score: Option<&str>, text: &str) -> Option<&str> {
        let (_, check) = self.attributes.iter().find(|(attribute, _)| {
            Rule::read(text, attribute).is_some_and(|rule| rule.is_kept(score, attribute))
        })?;
        Some(check)
    }
}

/// The subject of one check.
struct Watched<'a> {
    primitive: &'a Primitive,
    /// The clone that runs the resource everywhere, and its group.
    clone: Option<&'a crate::model::Clone>,
    group: Option<&'a crate::model::Group>,
}

type Colocations = [Result<Ready<Score>, Box<Refused>>];
type Orders = [Result<Ready<Kind>, Box<Refused>>];

pub(super) fn find(model: &Model, colocations: &Colocations, orders: &Orders) -> Everywhere {
    let mut everywhere = Everywhere::default();
    let mut cloned: BTreeSet<&str> = BTreeSet::new();
    for clone in &model.clones {
        let child = clone.child.as_deref().unwrap_or_default();
        let group = model.groups.iter().find(|group| group.id == child);
        let ids: Vec<&str> = match group {
            Some(group) => group.members.iter().map(String::as_str).collect(),
            None => vec![child],
        };
        cloned.extend(&ids);
        let primitives = ids.iter().map(|id| {
            let mut all = model.primitives.iter();
            all.find(|primitive| primitive.id == *id)
        });
        let Some(primitives) = primitives.collect::<Option<Vec<_>>>() else {
            continue;
        };
        let simple = clone.kind == "clone" && !is_promotable(&clone.settings.meta);
        if !simple || primitives.is_empty() || !primitives.iter().all(|one| is_watchable(one)) {
            continue;
        }
        if everywhere.blocks.len() + primitives.len() > MAX_CHECKS {
            continue;
        }
        let mut names: Vec<&str> = vec![&clone.id, child];
        names.extend(ids);
        let fatal = is_needed(&names, colocations, orders);
        for primitive in primitives {
            let watched = Watched {
                primitive,
                clone: Some(clone),
                group,
            };
            everywhere.add(model, &watched, fatal);
        }
        let checks: Vec<String> = names[2..]
            .iter()
            .map(|id| values::usable_name(id))
            .collect();
        for id in names {
            everywhere.of.insert(id.to_owned(), checks.clone());
        }
    }
    for primitive in &model.primitives {
        let alone = !cloned.contains(primitive.id.as_str()) && reach::is_probe(primitive);
        if alone && is_watchable(primitive) && everywhere.blocks.len() < MAX_CHECKS {
            let fatal = is_needed(&[&primitive.id], colocations, orders);
            let watched = Watched {
                primitive,
                clone: None,
                group: None,
            };
            everywhere.add(model, &watched, fatal);
            let name = values::usable_name(&primitive.id);
            everywhere.of.insert(primitive.id.clone(), vec![name]);
        }
    }
    everywhere
}

/// Whether the resource may have roles.
fn is_promotable(meta: &Attrs) -> bool {
    meta.get("promotable").and_then(values::truth) == Some(true)
}

/// Whether there is a check for the resource.
fn is_watchable(primitive: &Primitive) -> bool {
    match resource::kind(primitive) {
        Ok(resource::Kind::Systemd(unit, _)) => unit.ends_with(".service"),
        _ => reach::is_probe(primitive) && reach::fields(primitive, 1).is_some(),
    }
}

/// Whether another resource must run on the same node as one of `ids`, or after it.
fn is_needed(ids: &[&str], colocations: &Colocations, orders: &Orders) -> bool {
    let has = |id: &String| ids.contains(&id.as_str());
    let mut together = colocations.iter().flatten();
    let mut ordered = orders.iter().flatten();
    together
        .any(|ready| ready.what == Score::MUST && ready.pairs.iter().any(|(_, leader)| has(leader)))
        || ordered
            .any(|ready| ready.what.mandatory && ready.pairs.iter().any(|(first, _)| has(first)))
}

impl Everywhere {
    fn add(&mut self, model: &Model, watched: &Watched<'_>, mut fatal: bool) {
        let primitive = watched.primitive;
        let name = values::usable_name(&primitive.id);
        let mut block = Block::new("[[health]]");
        let mut text = format!(
            "primitive {} ({})",
            resource::title(primitive),
            primitive.place
        );
        let mut places = vec![primitive.place.clone()];
        if let Some(clone) = watched.clone {
            text = format!("{} {} ({}) of {text}", clone.kind, clone.id, clone.place);
            places.push(clone.place.clone());
        }
        places.extend(watched.group.map(|group| group.place.clone()));
        block.comments.push(Comment::Note(text, places));
        block.field("name", Value::Text(name.clone()));
        let mut slow = Duration::ZERO;
        if let Ok(resource::Kind::Systemd(unit, _)) = resource::kind(primitive) {
            block.comments.push(Comment::general(format!(
                "a resource of heartbeat runs on one node at a time: let systemd run this one on \
                 each node (`systemctl enable --now {unit}`); the health check below tests whether \
                 it is alive"
            )));
            block.comments.extend(left_over(
                "parameter",
                &format!("resource {}", primitive.id),
                primitive.settings.params.clone(),
            ));
            block.field("type", "process");
            block.field("unit", Value::Text(unit));
        } else {
            let attribute = reach::attribute(primitive);
            let rules = reach::rules(model, &attribute);
            fatal |= rules.iter().any(|(score, _)| *score == Some(Score::NEVER));
            let needed = rules.iter().map(|(_, rule)| rule.needed(primitive)).max();
            let (mut comments, fields, time) =
                reach::fields(primitive, needed.unwrap_or(1)).unwrap_or_default();
            block.comments.append(&mut comments);
            block.fields.extend(fields);
            slow = time;
            self.attributes.push((attribute, name));
        }
        timing(primitive, slow, &mut block);
        block.comments.push(Comment::general(if fatal {
            "something depends on it, so a failure is fatal: a node where the check fails serves \
             no group, even if the group does not depend on it"
        } else {
            "no mandatory constraint depends on it, so a node where the check fails only loses \
             points"
        }));
        block.field("failure", if fatal { "fatal" } else { "degraded" });
        left(watched, &mut block);
        self.blocks.push(block);
    }
}

/// The interval and the timeout of the check, if the input has them.
fn timing(primitive: &Primitive, slow: Duration, block: &mut Block) {
    let mut monitors = primitive.ops.iter().filter(|op| op.name == "monitor");
    let time = |attr: Option<&str>| attr.and_then(values::time).filter(|time| !time.is_zero());
    let Some(op) = monitors.find(|op| time(op.attrs.get("interval")).is_some()) else {
        if !slow.is_zero() {
            block.field("timeout", slow);
        }
        return;
    };
    if let Some(interval) = time(op.attrs.get("interval")) {
        block.field("interval", interval.clamp(SHORTEST, LONGEST));
    }
    let timeout = time(op.attrs.get("timeout")).unwrap_or(slow).max(slow);
    if !timeout.is_zero() {
        block.field("timeout", timeout.clamp(SHORTEST, LONGEST));
    }
}

/// Remarks on the settings without a counterpart: meta attributes, and operations that systemd runs
/// now.
fn left(watched: &Watched<'_>, block: &mut Block) {
    let primitive = watched.primitive;
    let mut owners = vec![(format!("resource {}", primitive.id), &primitive.settings)];
    owners.extend(
        watched
            .clone
            .map(|clone| (format!("{} {}", clone.kind, clone.id), &clone.settings)),
    );
    owners.extend(
        watched
            .group
            .map(|group| (format!("group {}", group.id), &group.settings)),
    );
    for (index, (owner, settings)) in owners.into_iter().enumerate() {
        if index > 0 {
            let params = settings.params.clone();
            block
                .comments
                .extend(left_over("parameter", &owner, params));
        }
        let rest = [
            ("meta", &settings.meta),
            ("utilization", &settings.utilization),
        ];
        for (kind, attrs) in rest {
            block
                .comments
                .extend(left_over(kind, &owner, attrs.clone()));
        }
        let texts = settings
            .opaque
            .iter()
            .map(|(text, place)| (text.clone(), place));
        let doubles = settings.doubles.iter();
        let doubles = doubles.map(|attr| (format!("{}={}", attr.name, attr.value), &attr.place));
        for (text, place) in texts.chain(doubles) {
            block
                .comments
                .push(aside(format!("{text} of {owner}"), place));
        }
    }
    let mut looked = false;
    for op in &primitive.ops {
        let mut attrs = op.attrs.clone();
        if op.name == "monitor" && !looked && attrs.get("interval").is_some() {
            looked = true;
            attrs.take("interval");
            attrs.take("timeout");
        } else {
            let subject = format!("op {} of {}", op.name, primitive.id);
            block.comments.push(aside(subject, &op.place));
        }
        let owner = format!("op {} of {}", op.name, primitive.id);
        block.comments.extend(left_over("attribute", &owner, attrs));
    }
}

fn aside(subject: String, place: &Place) -> Comment {
    Remark::new(
        place,
        subject,
        "a health check of heartbeat has no such setting",
        "no action needed, unless the service depends on it",
    )
    .into()
}
