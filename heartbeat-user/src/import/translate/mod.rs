//! Decides what becomes of what was read. Each part makes its tables with the comments that say
//! where they came from, and a remark for all that they leave out.

mod constraints;
mod corosync;
mod defaults;
mod exclusive;
mod group;
mod links;
mod locations;
mod nodes;
mod operations;
mod others;
mod pairs;
mod properties;
mod resource;
mod templates;
mod units;
mod vip;

use super::{
    Options,
    corosync::Section,
    emit::{Block, Comment, Document, Remark, Value},
    model::{Attrs, Model},
    place::Place,
    values,
};

pub(super) fn translate(
    files: &[&str],
    corosync: Option<Section>,
    mut model: Model,
    options: &Options,
) -> Document {
    let mut rest = templates::resolve(&mut model);
    let properties = properties::translate(&mut model);
    let defaults = defaults::translate(&mut model);
    let nodes = nodes::resolve(corosync.as_ref(), &mut model);
    let links = links::translate(corosync.as_ref(), &nodes, &model, options);
    let colocations = pairs::colocations(&model);
    let orders = pairs::orders(&model);
    let mut plan = units::plan(&model);
    plan.tie(&model, &colocations, &orders);
    let (name, cluster) = cluster(corosync.as_ref(), &properties, &defaults);
    let mut blocks = vec![intro(files), cluster, defaults.block(&properties.comments)];
    blocks.extend(links);
    blocks.extend(nodes.blocks());
    blocks.extend(nodes::witness(corosync.as_ref(), &nodes, &name));
    let constraints = constraints::translate(&model, &plan, &colocations, &orders);
    rest.append(&mut plan.comments);
    let mut notes = constraints.within;
    blocks.extend(units::blocks(&model, &plan, &defaults, options, &mut notes));
    blocks.extend(locations::translate(
        &model,
        &plan,
        &nodes,
        properties.opt_in.as_ref(),
    ));
    blocks.extend(constraints.blocks);
    rest.extend(constraints.rest);
    rest.extend(others::translate(&model));
    blocks.push(Block {
        comments: rest,
        ..Block::default()
    });
    blocks.retain(|block| !block.comments.is_empty() || !block.header.is_empty());
    Document { blocks }
}

fn intro(files: &[&str]) -> Block {
    let text = [
        format!(
            "Made by `heartbeat import` from {}. The comments say where each part comes from.",
            files.join(" and ")
        ),
        "What has no counterpart here stands in a comment that begins with \"not translated\": why, and what to \
         do about it."
            .to_owned(),
        "Read those, then run `heartbeat check` on this file, and `heartbeat keygen` for the key that all nodes share."
            .to_owned(),
    ];
    Block {
        comments: text.into_iter().map(Comment::general).collect(),
        ..Block::default()
    }
}

/// Why fencing devices are left out, and what to think of before.
const NO_FENCING: (&str, &str) = (
    "no fencing device is needed for a built-in vip: its lease is granted by a majority of kernels, and its owner's \
     own kernel stops serving it before another may begin",
    "leave it out where groups hold addresses and services that may run twice; what must not (file systems, volumes, \
     databases) is not kept from it here, and stands in a comment \"to be decided\"",
);

/// What a cluster is called that has no name.
const NAMELESS: &str = "cluster";

/// `[cluster]`, and its name.
fn cluster(
    corosync: Option<&Section>,
    properties: &properties::Properties,
    defaults: &defaults::Defaults,
) -> (String, Block) {
    let mut block = Block::new("[cluster]");
    let entry = corosync.and_then(|top| {
        let entries = top.named("totem").flat_map(|totem| &totem.entries);
        entries.filter(|entry| entry.key == "cluster_name").last()
    });
    let named = match (entry, &properties.cluster_name) {
        (Some(entry), _) => Some(("totem cluster_name", &entry.value, &entry.place)),
        (None, Some(attr)) => Some(("property cluster-name", &attr.value, &attr.place)),
        (None, None) => None,
    };
    let name = match named {
        Some((what, name, place)) if !name.is_empty() => {
            let (name, changed) = renamed(name);
            block
                .comments
                .push(Comment::note(format!("{what} ({place}){changed}"), place));
            name
        }
        _ => {
            block.comments.push(Comment::general(
                "the input does not name the cluster: give it a name that no other cluster on its networks has",
            ));
            NAMELESS.to_owned()
        }
    };
    block.field("name", Value::Text(name.clone()));
    for place in properties.maintenance.iter().chain(&defaults.unmanaged) {
        block.comments.push(Comment::note(
            format!("the whole cluster was in maintenance, or unmanaged ({place})"),
            place,
        ));
    }
    if properties.maintenance.is_some() || defaults.unmanaged.is_some() {
        block.field("maintenance", Value::Flag(true));
    }
    if let Some(top) = corosync {
        block.after.extend(corosync::remarks(top));
    }
    (name, block)
}

/// `text` as a name of ours, and a word on what was changed.
fn renamed(text: &str) -> (String, String) {
    let name = values::usable_name(text);
    let changed = if name == text {
        String::new()
    } else {
        format!("; \"{text}\" is not a usable name here")
    };
    (name, changed)
}

/// Remarks on attributes that nobody took.
fn left_over(kind: &str, owner: &str, attrs: Attrs) -> impl Iterator<Item = Comment> {
    attrs.0.into_iter().map(move |attr| {
        let subject = format!("{kind} {}={} of {owner}", attr.name, attr.value);
        Remark::new(
            &attr.place,
            subject,
            "heartbeat has no such setting",
            "check that nothing depends on it",
        )
        .into()
    })
}

/// One remark on several places, `None` without any.
fn joint(subject: String, places: Vec<Place>, reason: &str, remedy: &str) -> Option<Comment> {
    let mut places = places.into_iter();
    let first = places.next()?;
    Some(
        Remark::new(&first, subject, reason, remedy)
            .also(places)
            .into(),
    )
}
