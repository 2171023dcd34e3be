//! One group with its resources, and what is said of both: stickiness, failures, whether they run.

use std::time::Duration;

use heartbeat_core::placement::Score;

use super::{
    defaults::{self, Defaults, or_never},
    exclusive, left_over, renamed, resource,
    units::Unit,
};
use crate::import::{
    Options,
    emit::{Block, Comment, Remark, Value},
    model::{Attr, Attrs, Model, Settings},
    values,
};

/// Meta attributes that have a counterpart.
#[derive(Debug, Default)]
pub(super) struct Meta {
    pub(super) stickiness: Option<Score>,
    pub(super) threshold: Option<u32>,
    /// `Some(None)` is for ever.
    pub(super) failure_timeout: Option<Option<Duration>>,
    /// Whether it says that it runs, or that it is to be left alone.
    runs: Option<bool>,
    pub(super) comments: Vec<Comment>,
}

impl Meta {
    /// Reads the meta attributes of `owner`, which is `alone` if its group is all that it is.
    pub(super) fn read(owner: &str, attrs: &Attrs, alone: bool) -> Self {
        let mut meta = Self::default();
        let mut rest = Attrs::default();
        for attr in &attrs.0 {
            let understood = match attr.name.as_str() {
                "resource-stickiness" => values::score(&attr.value)
                    .filter(|score| *score >= Score::ZERO)
                    .map(|score| meta.stickiness = Some(score)),
                "migration-threshold" => {
                    defaults::threshold(&attr.value).map(|number| meta.threshold = Some(number))
                }
                "failure-timeout" => defaults::failure_timeout(&attr.value)
                    .map(|timeout| meta.failure_timeout = Some(timeout)),
                "is-managed" => {
                    values::truth(&attr.value).map(|yes| meta.managed(yes, owner, attr, alone))
                }
                "maintenance" => {
                    values::truth(&attr.value).map(|yes| meta.managed(!yes, owner, attr, alone))
                }
                "target-role" => meta.role(owner, attr),
                _ => None,
            };
            if understood.is_none() {
                rest.0.push(attr.clone());
            }
        }
        meta.comments.extend(left_over("meta", owner, rest));
        meta
    }

    fn managed(&mut self, managed: bool, owner: &str, attr: &Attr, alone: bool) {
        if managed {
            return;
        }
        self.runs = Some(false);
        let subject = format!("meta {}={} of {owner}", attr.name, attr.value);
        self.comments.push(if alone {
            Comment::note(
                format!("{subject} ({}): maintenance", attr.place),
                &attr.place,
            )
        } else {
            Remark::new(
                &attr.place,
                subject,
                "a group is left alone as a whole",
                "its group is in maintenance: remove that once the rest may run",
            )
            .into()
        });
    }

    fn role(&mut self, owner: &str, attr: &Attr) -> Option<()> {
        match attr.value.to_ascii_lowercase().as_str() {
            "started" => {
                self.runs = self.runs.or(Some(true));
                Some(())
            }
            "stopped" => {
                self.runs = Some(false);
                self.comments.push(
                    Remark::new(
                        &attr.place,
                        format!("meta target-role={} of {owner}", attr.value),
                        "a group is served or left alone, and the file does not say that one is stopped",
                        "its group is in maintenance, and so not started: remove that, or the group",
                    )
                    .into(),
                );
                Some(())
            }
            _ => None,
        }
    }
}

/// What is said of a resource beside its type and its operations: rules, references, utilization.
pub(super) fn asides(owner: &str, settings: &Settings) -> Vec<Comment> {
    let mut comments: Vec<Comment> = settings
        .opaque
        .iter()
        .map(|(text, place)| {
            let reason = "settings do not depend on rules, and refer to no others";
            let remedy = "write out what is to hold on every node";
            Remark::new(place, format!("{text} of {owner}"), reason, remedy).into()
        })
        .collect();
    comments.extend(left_over(
        "utilization",
        owner,
        settings.utilization.clone(),
    ));
    comments
}

pub(super) fn blocks(
    model: &Model,
    unit: &Unit,
    within: Vec<Comment>,
    defaults: &Defaults,
    options: &Options,
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
            "resources that must be together and start in order are one group; its name is free to choose, while nothing serves it",
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
        // What was tied to a group inherits nothing from it.
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
            // Alone it speaks for its group, which has said nothing.
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
            "its stickiness is the sum over its resources, as Pacemaker counts it",
        ));
    }
    block.field("name", Value::Text(name));
    if stickiness != defaults.stickiness {
        block.field("stickiness", stickiness);
    }
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
