//! One group with its resources, and their common settings: stickiness, failures, whether they run.

use std::collections::HashMap;

use heartbeat_core::placement::Score;

use super::{
    amounts::Amounts,
    defaults::{Defaults, or_never},
    exclusive,
    meta::{Meta, asides},
    remarks::{left_over, renamed},
    resource,
    units::{Plan, Unit},
};
use crate::{
    emit::{Block, Comment, Remark, Value},
    input::Options,
    model::Model,
};

/// The groups with their resources. `within` has the comments on each unit's constraints.
pub(super) fn blocks(
    model: &Model,
    plan: &Plan,
    defaults: &Defaults,
    settings: (&Options, &Amounts),
    within: &mut HashMap<usize, Vec<Comment>>,
    held: &HashMap<usize, Vec<Remark>>,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (index, unit) in plan.groups() {
        let comments = within.remove(&index).unwrap_or_default();
        let lacks = [&plan.held, held].into_iter();
        let lacks = lacks.filter_map(|held| held.get(&index)).flatten().cloned();
        let lacks: Vec<Remark> = lacks.collect();
        let mut made = unit_blocks(model, unit, comments, defaults, settings);
        if let Some(block) = made.first_mut().filter(|_| !lacks.is_empty()) {
            block.comments.extend(lacks.into_iter().map(Comment::Held));
            block.fields.retain(|(key, _)| *key != "maintenance");
            block.field("maintenance", Value::Flag(true));
        }
        blocks.extend(made);
    }
    blocks
}

/// The group for `unit`, and its resources.
fn unit_blocks(
    model: &Model,
    unit: &Unit,
    within: Vec<Comment>,
    defaults: &Defaults,
    (options, amounts): (&Options, &Amounts),
) -> Vec<Block> {
    let mut block = Block::new("[[group]]");
    let alone = unit.members.len() == 1;
    let mut own = Meta::default();
    if let Some(group) = unit.group.map(|index| &model.groups[index]) {
        let owner = format!("group {}", group.id);
        block.comments.push(Comment::note(
            format!("{owner} ({})", group.place),
            &group.place,
        ));
        own = Meta::read(&owner, &group.settings.meta, true);
        let mut params = group.settings.params.clone();
        if let Some(text) = params.take("description") {
            block.comments.push(Comment::note(text.value, &text.place));
        }
        block.comments.extend(asides(&owner, &group.settings));
        block
            .comments
            .extend(left_over("parameter", &owner, params));
    } else if !alone {
        block.comments.push(Comment::general(
            "resources that must be together and start in order form one group; choose another \
             name for it if you like, before the first start",
        ));
    }
    block.comments.extend(within);
    let mut resources = Vec::new();
    let mut doubles = Vec::new();
    let mut stickiness = Score::ZERO;
    let mut runs = own.runs.unwrap_or(defaults.stopped.is_none());
    for member in &unit.members {
        let primitive = &model.primitives[*member];
        let owner = format!("resource {}", primitive.id);
        let mut meta = Meta::read(&owner, &primitive.settings.meta, alone);
        let group = unit.group.map(|index| &model.groups[index]);
        // A resource that was tied to a group inherits nothing from it.
        let heir = group.is_none_or(|group| group.members.contains(&primitive.id));
        if !heir {
            let threshold = own.threshold.map(|_| defaults.threshold);
            meta.threshold = meta.threshold.or(threshold);
            let timeout = own.failure_timeout.map(|_| defaults.failure_timeout);
            meta.failure_timeout = meta.failure_timeout.or(timeout);
        }
        let inherited = own.stickiness.filter(|_| heir);
        let sticks = meta.stickiness.or(inherited).unwrap_or(defaults.stickiness);
        stickiness = stickiness + sticks;
        runs = match meta.runs {
            Some(false) => false,
            // A single resource decides for its group, which has no setting of its own.
            Some(true) if alone && own.runs.is_none() => true,
            _ => runs,
        };
        let resource = resource::block(primitive, meta, defaults, options);
        if let Some(harm) = exclusive::harm(&resource) {
            doubles.push((primitive, harm));
        }
        resources.push(resource);
    }
    block.comments.append(&mut own.comments);
    let (name, changed) = renamed(&unit.name);
    if !changed.is_empty() {
        block.comments.push(Comment::general(changed));
    }
    if stickiness != defaults.stickiness && !alone {
        block.comments.push(Comment::general(
            "its stickiness is the sum over its resources, as in Pacemaker",
        ));
    }
    block.field("name", Value::Text(name));
    if stickiness != defaults.stickiness {
        block.field("stickiness", stickiness);
    }
    let members = unit.members.iter();
    let members = members.map(|member| &model.primitives[*member].settings.utilization);
    let (demand, comments) = amounts.demand(&unit.name, members);
    block.comments.extend(comments);
    block.fields.extend(demand.map(|demand| ("demand", demand)));
    if let Some(threshold) = own.threshold {
        block.field("migration_threshold", Value::Number(threshold.into()));
    }
    if let Some(timeout) = own.failure_timeout {
        block.field("failure_timeout", or_never(timeout));
    }
    if !runs {
        block.field("maintenance", Value::Flag(true));
    }
    block
        .after
        .extend(exclusive::decision(&unit.name, &doubles));
    let mut blocks = vec![block];
    blocks.extend(resources);
    blocks
}
