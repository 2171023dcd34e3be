//! Translates the model. Each module makes its tables, with comments on their origin, and a remark
//! on every part that it leaves out.

mod amounts;
mod constraints;
mod corosync;
mod dates;
mod defaults;
mod everywhere;
mod exclusive;
mod group;
mod links;
mod locations;
mod meta;
mod named;
mod nodes;
mod operations;
mod others;
mod pairs;
mod properties;
mod reach;
mod remarks;
mod resource;
mod sets;
mod templates;
mod units;
mod vip;

use super::{
    corosync::Section,
    emit::{Block, Comment, Document, Remark, Value, intro},
    input::Options,
    model::Model,
};
use remarks::renamed;

pub(super) fn translate(
    files: &[&str],
    corosync: Option<Section>,
    mut model: Model,
    options: &Options,
) -> Document {
    let mut rest = templates::resolve(&mut model);
    named::resolve(&mut model);
    dates::settle(&mut model, options.now);
    sets::split(&mut model);
    let setup = model.cluster.take();
    if let (Some(_), Some(said)) = (&corosync, &setup) {
        rest.push(
            Remark::new(
                &said.place,
                "nodes and networks of `pcs cluster setup`",
                "corosync.conf is given, too, and takes precedence",
                "check whether the two agree",
            )
            .into(),
        );
    }
    let corosync = corosync.or(setup);
    let properties = properties::translate(&mut model);
    let defaults = defaults::translate(&mut model);
    let amounts = amounts::Amounts::read(properties.strategy.as_ref(), &model);
    let nodes = nodes::resolve(corosync.as_ref(), &mut model, &amounts);
    let links = links::translate(corosync.as_ref(), &nodes, &model, options);
    let colocations = pairs::colocations(&model);
    let orders = pairs::orders(&model);
    let everywhere = everywhere::find(&model, &colocations, &orders);
    let mut plan = units::plan(&model, &everywhere);
    plan.tie(&model, &colocations, &orders);
    let (name, cluster) = cluster(corosync.as_ref(), &properties, &defaults);
    let mut blocks = vec![intro(files), cluster, defaults.block(&properties.comments)];
    blocks.extend(amounts.block());
    blocks.extend(links);
    blocks.extend(nodes.blocks());
    blocks.extend(nodes::witness(corosync.as_ref(), &nodes, &name));
    let constraints = constraints::translate(&model, &plan, &everywhere, &colocations, &orders);
    rest.append(&mut plan.comments);
    let mut notes = constraints.within;
    blocks.extend(group::blocks(
        &model,
        &plan,
        &defaults,
        (options, &amounts),
        &mut notes,
        &constraints.held,
    ));
    blocks.extend(everywhere.blocks.iter().cloned());
    blocks.extend(locations::translate(
        &model,
        &plan,
        &nodes,
        &everywhere,
        properties.opt_in.as_ref(),
    ));
    blocks.extend(constraints.blocks);
    rest.extend(constraints.rest);
    rest.extend(others::translate(&model));
    rest.extend(others::strays(&model));
    blocks.push(Block {
        comments: rest,
        ..Block::default()
    });
    blocks.retain(|block| !block.comments.is_empty() || !block.header.is_empty());
    Document { blocks }
}

/// The name of a cluster without a name.
const NAMELESS: &str = "cluster";

/// `[cluster]`, and the cluster's name.
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
                "the input does not name the cluster: choose a name that no other cluster on these \
                 networks has",
            ));
            NAMELESS.to_owned()
        }
    };
    block.field("name", Value::Text(name.clone()));
    for place in properties.maintenance.iter().chain(&defaults.unmanaged) {
        block.comments.push(Comment::note(
            format!("the whole cluster is in maintenance, or unmanaged ({place})"),
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
