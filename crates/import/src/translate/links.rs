//! The links: one for each ring. Corosync does not name interfaces. They come from the command
//! line, from a virtual address in the ring's network, or from a guess that is marked as one.

use std::net::IpAddr;

use super::{
    nodes::{Nodes, number_of},
    remarks::joint,
    vip,
};
use crate::{
    corosync::Section,
    emit::{Block, Comment, Value},
    input::Options,
    model::Model,
    place::Place,
};

pub(super) fn translate(
    corosync: Option<&Section>,
    nodes: &Nodes,
    model: &Model,
    options: &Options,
) -> Vec<Block> {
    let totems = corosync.into_iter().flat_map(|top| top.named("totem"));
    let interfaces: Vec<&Section> = totems.flat_map(|totem| totem.named("interface")).collect();
    let mut taken: Vec<String> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    for (link, ring) in nodes.rings.iter().enumerate() {
        let sections = interfaces
            .iter()
            .filter(|section| number_of(section) == *ring);
        let mut networks: Vec<IpAddr> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        let mut text = format!("ring {ring} of corosync");
        for section in sections {
            for entry in &section.entries {
                if !["ringnumber", "linknumber", "bindnetaddr"].contains(&entry.key.as_str()) {
                    continue;
                }
                places.push(entry.place.clone());
                if entry.key == "bindnetaddr" {
                    text = format!("{text}, bindnetaddr {} ({})", entry.value, entry.place);
                    networks.extend(entry.value.parse::<IpAddr>().ok());
                }
            }
        }
        let addresses = nodes
            .list
            .iter()
            .filter_map(|node| node.addresses.get(link)?.as_ref());
        networks.extend(addresses.filter_map(|address| address.parse::<IpAddr>().ok()));
        let mut block = Block::new("[[link]]");
        block.comments.push(Comment::Note(text, places));
        let (interface, why) = interface(link, &networks, model, options, &taken);
        block.comments.push(Comment::general(why));
        taken.push(interface.clone());
        block.field("interface", Value::Text(interface));
        blocks.push(block);
    }
    if let (Some(extra), Some(last)) =
        (options.interfaces.get(nodes.rings.len()), blocks.last_mut())
    {
        last.comments.push(Comment::general(format!(
            "--interface {extra} and later ones are unused: the input has {} rings",
            nodes.rings.len()
        )));
    }
    // Rings without a node.
    for section in interfaces {
        if nodes.rings.contains(&number_of(section)) {
            continue;
        }
        let told = |key: &str| ["ringnumber", "linknumber", "bindnetaddr"].contains(&key);
        let entries = section.entries.iter().filter(|entry| told(&entry.key));
        let comment = joint(
            format!("totem interface of ring {}", number_of(section)),
            entries.map(|entry| entry.place.clone()).collect(),
            "no node has an address on this ring",
            "if the ring is in use, add a [[link]], and an address to each node",
        );
        blocks.extend(comment.map(|comment| Block {
            comments: vec![comment],
            ..Block::default()
        }));
    }
    blocks
}

/// The interface of a link, and the source of its name.
fn interface(
    link: usize,
    networks: &[IpAddr],
    model: &Model,
    options: &Options,
    taken: &[String],
) -> (String, String) {
    if let Some(name) = options.interfaces.get(link) {
        return (
            name.clone(),
            "the interface comes from --interface".to_owned(),
        );
    }
    let vips = model.primitives.iter().filter_map(vip::Place::of);
    let mut near = vips.filter(|vip| networks.iter().any(|address| vip.is_beside(*address)));
    if let Some(vip) = near.find(|vip| !taken.contains(&vip.nic)) {
        let why = format!(
            "the interface is the nic of {}, whose address is in the same network",
            vip.id
        );
        return (vip.nic, why);
    }
    let free = (link..).map(|number| format!("eth{number}"));
    let guess = free.filter(|name| !taken.contains(name)).take(1).next();
    (
        guess.unwrap_or_else(|| "eth0".to_owned()),
        "the interface is a guess, because corosync.conf names none: find the right one with `ip \
         address`, and give it by `--interface`"
            .to_owned(),
    )
}
