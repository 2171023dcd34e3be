//! The preferences of groups for nodes: one `[[location]]` for each pair of a group and a node.

use std::collections::{BTreeMap, BTreeSet};

use heartbeat_core::placement::Score;

use super::{
    everywhere::Everywhere,
    nodes::Nodes,
    remarks::{left_over, renamed},
    units::Plan,
};
use crate::{
    emit::{Block, Comment, Remark, Value},
    model::{Condition, Location, Model, Preference},
    place::Place,
    values,
};

/// Points of a group for a node, and the comments on their origin.
type Points = BTreeMap<(usize, usize), (Score, Vec<Comment>)>;

pub(super) fn translate(
    model: &Model,
    plan: &Plan,
    nodes: &Nodes,
    everywhere: &Everywhere,
    opt_in: Option<&Place>,
) -> Vec<Block> {
    let mut points = Points::new();
    let mut rest = Vec::new();
    let mut exclusive = Exclusive::new();
    for location in &model.locations {
        let mut out = Out {
            points: &mut points,
            exclusive: &mut exclusive,
            rest: &mut rest,
        };
        locate(location, model, (plan, nodes, everywhere), &mut out);
    }
    confine(&exclusive, nodes, &mut points);
    if let Some(place) = opt_in {
        keep_out(plan, nodes, place, &mut points);
    }
    let mut blocks: Vec<Block> = points
        .into_iter()
        .map(|((unit, node), (score, comments))| {
            let mut block = Block::new("[[location]]");
            block.comments = comments;
            block.field("group", Value::Text(renamed(&plan.units[unit].name).0));
            block.field("node", Value::Text(renamed(&nodes.list[node].name).0));
            block.field("score", score);
            block
        })
        .collect();
    blocks.push(Block {
        comments: rest,
        ..Block::default()
    });
    blocks
}

/// Excludes, in an opt-in cluster, every node that no location allows.
fn keep_out(plan: &Plan, nodes: &Nodes, place: &Place, points: &mut Points) {
    for (unit, _) in plan.groups() {
        for node in 0..nodes.list.len() {
            let allowed = points
                .get(&(unit, node))
                .is_some_and(|(score, _)| *score >= Score::ZERO);
            if !allowed {
                let entry = points.entry((unit, node)).or_default();
                entry.0 = Score::NEVER;
                entry.1.push(Comment::general(format!(
                    "symmetric-cluster=false ({place}): no location allows this node"
                )));
            }
        }
    }
}

/// The results of the locations.
struct Out<'a> {
    points: &'a mut Points,
    exclusive: &'a mut Exclusive,
    rest: &'a mut Vec<Comment>,
}

/// By unit: the only allowed nodes, and the place of that setting.
type Exclusive = BTreeMap<usize, (BTreeSet<usize>, Place)>;

/// Excludes units from all nodes that their exclusive locations do not name.
fn confine(exclusive: &Exclusive, nodes: &Nodes, points: &mut Points) {
    for (unit, (allowed, place)) in exclusive {
        for node in (0..nodes.list.len()).filter(|node| !allowed.contains(node)) {
            let entry = points.entry((*unit, node)).or_default();
            entry.0 = Score::NEVER;
            entry.1.push(Comment::general(format!(
                "resource-discovery=exclusive ({place}): only the nodes of such locations are \
                 allowed"
            )));
        }
    }
}

fn locate(
    location: &Location,
    model: &Model,
    (plan, nodes, everywhere): (&Plan, &Nodes, &Everywhere),
    Out {
        points,
        exclusive,
        rest,
    }: &mut Out<'_>,
) {
    let place = &location.place;
    let subject = format!("location {}", location.id);
    let refuse = |reason: String, remedy: &str| -> Comment {
        Remark::new(place, subject.clone(), reason, remedy).into()
    };
    let mut attrs = location.attrs.clone();
    if attrs
        .get("role")
        .is_some_and(|role| role.eq_ignore_ascii_case("started"))
    {
        attrs.take("role");
    }
    let discovery = attrs.take("resource-discovery");
    let only = discovery
        .as_ref()
        .is_some_and(|attr| attr.value == "exclusive");
    if let Some(attr) = discovery.filter(|_| !only) {
        rest.push(
            Remark::new(
                &attr.place,
                format!("resource-discovery={} of {subject}", attr.value),
                "heartbeat probes a resource only on nodes that may serve it",
                "no action needed",
            )
            .into(),
        );
    }
    if let Some(role) = attrs.get("role").or_else(|| attrs.get("$role")) {
        let reason = format!(
            "the constraint applies to the role {role}, and heartbeat's resources \
        have no roles"
        );
        rest.push(refuse(
            reason,
            "write a [[location]] if it should hold for the whole group",
        ));
        return;
    }
    rest.extend(left_over("attribute", &subject, attrs));
    for id in &location.resources {
        if id.starts_with('/') {
            let reason = format!("the constraint applies to all resources whose names match {id}");
            rest.push(refuse(
                reason,
                "write a [[location]] for each intended group",
            ));
            continue;
        }
        let unit = match plan.unit_of(id) {
            Ok(unit) => unit,
            Err(why) => {
                rest.push(refuse(
                    why,
                    "no action needed, unless a group should inherit it",
                ));
                continue;
            }
        };
        let mut notes = vec![Comment::note(format!("{subject} ({place})"), place)];
        if location.id.starts_with("cli-") {
            notes.push(Comment::general(
                "`crm resource move`, `ban` or a similar command left this constraint: remove it \
                 if it should not stay",
            ));
        }
        let group = plan.units[unit].group.map(|group| &model.groups[group].id);
        if plan.units[unit].members.len() > 1 && group != Some(id) {
            notes.push(Comment::general(format!(
                "the source constrains {id}; here the constraint applies to the whole group {}",
                plan.units[unit].name
            )));
        }
        for preference in &location.preferences {
            let score = preference.score.as_deref();
            if let Condition::Opaque(text) = &preference.condition
                && let Some(check) = everywhere.keeps(score, text)
            {
                let text = format!(
                    "{subject} ({place}): replaced by health check {check}, which tests the same \
                     as the rule"
                );
                rest.push(Comment::note(text, place));
                continue;
            }
            match judged(preference, nodes) {
                Ok((score, liked)) => {
                    if only {
                        let entry = exclusive.entry(unit);
                        let entry = entry.or_insert_with(|| (BTreeSet::new(), place.clone()));
                        entry.0.extend(&liked);
                    }
                    rest.extend(left_over(
                        "attribute",
                        &format!("rule of {subject}"),
                        preference.attrs.clone(),
                    ));
                    for node in liked {
                        let entry = points.entry((unit, node)).or_default();
                        entry.0 = entry.0 + score;
                        entry.1.extend(notes.iter().cloned());
                    }
                }
                Err((reason, remedy)) => rest.push(refuse(reason, remedy)),
            }
        }
    }
}

/// The score of a preference and its nodes, or the reason why they are unknown.
fn judged(
    preference: &Preference,
    nodes: &Nodes,
) -> Result<(Score, Vec<usize>), (String, &'static str)> {
    let by_hand = "write a [[location]] for each intended node";
    if let Some(role) = ["role", "$role"]
        .iter()
        .find_map(|name| preference.attrs.get(name))
    {
        return Err((
            format!("the rule applies to the role {role}, and heartbeat's resources have no roles"),
            by_hand,
        ));
    }
    let text = preference.score.as_deref().unwrap_or("INFINITY");
    let score = values::score(text).ok_or_else(|| {
        (
            format!("the value of the score \"{text}\" is known only while Pacemaker runs"),
            by_hand,
        )
    })?;
    if let Condition::Settled(false, why) = &preference.condition {
        return Err((format!("the constraint is void: {why}"), "no action needed"));
    }
    let mut strangers = Vec::new();
    named(&preference.condition, &mut strangers);
    strangers.retain(|name| !nodes.knows(name));
    if let Some(name) = strangers.first() {
        return Err((format!("no node has the name {name}"), "correct the name"));
    }
    if let Some(text) = opaque(&preference.condition) {
        return Err((
            format!("the rule depends on more than the node's name: {text}"),
            by_hand,
        ));
    }
    let liked: Vec<usize> = (0..nodes.list.len())
        .filter(|node| holds(&preference.condition, &nodes.list[*node].name))
        .collect();
    if liked.is_empty() {
        return Err(("the rule matches no node".to_owned(), "no action needed"));
    }
    Ok((score, liked))
}

fn holds(condition: &Condition, node: &str) -> bool {
    match condition {
        Condition::Is(name) => name == node,
        Condition::IsNot(name) => name != node,
        Condition::All(terms) => terms.iter().all(|term| holds(term, node)),
        Condition::Any(terms) => terms.iter().any(|term| holds(term, node)),
        Condition::Settled(is, _) => *is,
        Condition::Opaque(_) | Condition::Date(..) => false,
    }
}

/// The names of nodes that must exist for a meaningful condition.
fn named<'a>(condition: &'a Condition, names: &mut Vec<&'a str>) {
    match condition {
        Condition::Is(name) | Condition::IsNot(name) => names.push(name),
        Condition::All(terms) | Condition::Any(terms) => {
            terms.iter().for_each(|term| named(term, names));
        }
        Condition::Opaque(_) | Condition::Date(..) | Condition::Settled(..) => {}
    }
}

fn opaque(condition: &Condition) -> Option<&str> {
    match condition {
        Condition::Is(_) | Condition::IsNot(_) | Condition::Settled(..) => None,
        Condition::All(terms) | Condition::Any(terms) => terms.iter().find_map(opaque),
        Condition::Opaque(text) | Condition::Date(_, _, text) => Some(text),
    }
}
