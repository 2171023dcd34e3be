//! The configuration of keepalived. `syntax` and `read` read the files of the nodes into the types
//! of `site`; the other modules translate them. A VRRP instance becomes a group.
//!
//! As with Pacemaker, a setting without a counterpart gets a remark with its line.

mod command;
mod groups;
mod names;
mod nodes;
mod notify;
mod read;
mod site;
mod syntax;
mod track;
mod units;
mod why;

pub use read::NodeFile;

use super::{
    emit::{Block, Comment, Document, Value, intro},
    model::Statement,
    place::ImportError,
};
use site::{Bundle, Instance, Site};
use syntax::Item;
use units::Unit;
use why::{Left, Why};

/// The name of the cluster: keepalived has none.
const NAMELESS: &str = "cluster";

/// The content of the files as our tables.
pub(super) struct Translated {
    pub(super) document: Document,
    pub(super) statements: Vec<Statement>,
    /// The statements that the document must account for: all items except blocks, whose items
    /// count each.
    pub(super) settings: Vec<Statement>,
}

pub(super) fn translate(files: &[NodeFile]) -> Result<Translated, ImportError> {
    let mut sites = Vec::new();
    let (mut statements, mut settings) = (Vec::new(), Vec::new());
    for file in files {
        let items = syntax::parse(&file.input)?;
        collect(&items, &mut statements, &mut settings);
        sites.push(read::site(file.node.as_deref(), &items));
    }
    Ok(Translated {
        document: document(files, &sites),
        statements,
        settings,
    })
}

/// Collects every item, and the items without a block.
fn collect(items: &[Item], statements: &mut Vec<Statement>, settings: &mut Vec<Statement>) {
    for item in items {
        let keyword = item.keyword();
        // The values of other keywords may be secret.
        let what = match item.value().filter(|_| keyword.starts_with("vrrp_")) {
            Some(name) => format!("{keyword} {name}"),
            None => keyword.to_owned(),
        };
        let statement = Statement {
            place: item.place.clone(),
            what,
        };
        if item.items().is_empty() {
            settings.push(statement.clone());
        }
        statements.push(statement);
        collect(item.items(), statements, settings);
    }
}

fn document(files: &[NodeFile], sites: &[Site]) -> Document {
    let units = units::units(sites);
    let nodes = nodes::nodes(sites, NAMELESS);
    let checks = track::checks(sites, &units);
    // One setting covers all groups.
    let held = !units.is_empty() && units.iter().all(|unit| groups::stays(sites, unit));
    let mut lefts = strays(sites, &units);
    lefts.extend(sites.iter().flat_map(|site| site.lefts.iter().cloned()));
    lefts.extend(checks.lefts);
    let groups = groups::groups(sites, units, &nodes, held);
    lefts.extend(groups.lefts);
    let hooks = notify::hooks(sites, &groups.served, &mut lefts);
    let names: Vec<&str> = files.iter().map(|file| file.input.name.as_str()).collect();
    let mut blocks = vec![intro(&names), cluster(held)];
    blocks.extend(checks.points.map(placement));
    blocks.extend(nodes.blocks);
    blocks.extend(groups.blocks);
    blocks.extend(groups.locations);
    blocks.extend(checks.blocks);
    blocks.extend(hooks);
    blocks.push(Block {
        comments: why::remarks(&lefts),
        ..Block::default()
    });
    blocks.retain(|block| !block.comments.is_empty() || !block.header.is_empty());
    Document { blocks }
}

/// Unknown members of sync groups, members of two groups, sync groups without members, and repeated
/// instances.
fn strays(sites: &[Site], units: &[Unit]) -> Vec<Left> {
    let mut lefts = Vec::new();
    for site in sites {
        for bundle in &site.bundles {
            stray_members(site, bundle, units, &mut lefts);
        }
        for (index, Instance { name, place, .. }) in site.instances.iter().enumerate() {
            if site.instances[..index].iter().any(|one| one.name == *name) {
                let subject = format!("vrrp_instance {name}");
                lefts.push(Left::word("", subject, place, Why::Twice));
            }
        }
    }
    lefts
}

fn stray_members(site: &Site, bundle: &Bundle, units: &[Unit], lefts: &mut Vec<Left>) {
    let owner = format!("vrrp_sync_group {}", bundle.name);
    let own = |unit: &&Unit| unit.bundled && unit.name == bundle.name;
    let unit = units.iter().find(own);
    for member in &bundle.members {
        let known = site.instances.iter().any(|one| one.name == member.text);
        let ours = unit.is_some_and(|unit| unit.members.contains(&member.text));
        let why = match (known, ours) {
            (_, true) => continue,
            (true, false) => Why::Twice,
            (false, false) => Why::Undefined,
        };
        lefts.push(Left::word(&owner, member.text.clone(), &member.place, why));
    }
    if unit.is_none() {
        lefts.push(Left::word("", owner.clone(), &bundle.place, Why::Empty));
        let notify = bundle.common.notify.iter();
        lefts.extend(notify.map(|one| one.left(&owner, Why::Empty)));
    }
}

fn cluster(held: bool) -> Block {
    let mut block = Block::new("[cluster]");
    block.comments.push(Comment::general(
        "keepalived's clusters have no name: choose one that no other cluster on these networks \
         has",
    ));
    if held {
        block.comments.push(Comment::general(
            "all instances have nopreempt: a group stays on its node when a better node comes back",
        ));
    }
    block.field("name", NAMELESS);
    if held {
        block.field("auto_failback", Value::Flag(false));
    }
    block
}

fn placement(points: i64) -> Block {
    let mut block = Block::new("[placement]");
    block.comments.push(Comment::general(
        "a failed check that is not fatal lowers the scores of its node by this number: the \
         largest weight in keepalived's files",
    ));
    block.field("degraded_points", Value::Number(points));
    block
}
