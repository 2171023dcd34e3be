//! Reads one node's file, keyword by keyword. Other settings are kept with the reason for their
//! omission.

use std::net::IpAddr;

use super::{
    site::{Address, Bundle, Common, Instance, Notify, Site, Sourced, Tracked, aside},
    syntax::{Item, Word},
    why::{Left, Why},
};
use crate::input::Input;

/// The content of `items`, from the file `input` of the node `name`.
pub(super) fn site(name: Option<&str>, items: &[Item]) -> Site {
    let mut site = Site {
        name: name.map(str::to_owned),
        ..Site::default()
    };
    for item in items {
        if let Some(why) = aside(item) {
            site.lefts.push(Left::new("", item, why));
            continue;
        }
        match item.keyword() {
            "global_defs" | "global_definitions" => globals(&mut site, item),
            "vrrp_instance" => instance(&mut site, item),
            "vrrp_sync_group" => bundle(&mut site, item),
            "vrrp_script" | "vrrp_track_process" => site.checks.push(item.clone()),
            _ => site.lefts.push(Left::by_keyword("", item)),
        }
    }
    site
}

/// The reason for leaving out an item without braces, such as a line of a list.
fn aside_line(item: &Item) -> Option<Why> {
    let braces = (!item.items().is_empty()).then_some(Why::Unknown);
    aside(item).or(braces)
}

fn globals(site: &mut Site, block: &Item) {
    let mut empty = true;
    for item in block.items() {
        empty = false;
        if let Some(why) = aside(item) {
            site.lefts.push(Left::new("global_defs", item, why));
            continue;
        }
        match (item.keyword(), Sourced::value(item)) {
            ("router_id", Some(said)) if site.router.is_none() => site.router = Some(said),
            _ => site.lefts.push(Left::by_keyword("global_defs", item)),
        }
    }
    if empty {
        site.lefts.push(Left::new("", block, Why::Daemon));
    }
}

fn instance(site: &mut Site, block: &Item) {
    let name = block.value().unwrap_or("instance").to_owned();
    let owner = format!("vrrp_instance {name}");
    let mut instance = Instance {
        name,
        place: block.place.clone(),
        interface: None,
        priority: None,
        state: None,
        source: None,
        peers: Vec::new(),
        addresses: Vec::new(),
        nopreempt: None,
        common: Common::default(),
    };
    for item in block.items() {
        setting(&mut instance, item, &owner, &mut site.lefts);
    }
    site.instances.push(instance);
}

fn setting(instance: &mut Instance, item: &Item, owner: &str, lefts: &mut Vec<Left>) {
    let said = Sourced::value(item);
    if let Some(why) = aside(item) {
        lefts.push(Left::new(owner, item, why));
        return;
    }
    let slot = match item.keyword() {
        "interface" => Some(&mut instance.interface),
        "priority" => Some(&mut instance.priority),
        "unicast_src_ip" | "mcast_src_ip" => Some(&mut instance.source),
        "nopreempt" => Some(&mut instance.nopreempt),
        _ => None,
    };
    if let Some(slot) = slot {
        let said = match item.keyword() {
            "nopreempt" => Some(Sourced::keyword(item)),
            _ => said,
        };
        match (&slot, said) {
            (None, said @ Some(_)) => *slot = said,
            _ => lefts.push(Left::new(owner, item, Why::Twice)),
        }
        return;
    }
    match (item.keyword(), said) {
        ("state", Some(said)) => {
            instance.state = Some(said);
            lefts.push(Left::by_keyword(owner, item));
        }
        ("unicast_peer", _) => peers(instance, item, owner, lefts),
        ("virtual_ipaddress" | "virtual_ipaddress_excluded", _) => {
            for line in item.items() {
                instance.addresses.extend(address(line, item, owner, lefts));
            }
            if item.items().is_empty() {
                lefts.push(Left::new(owner, item, Why::Option));
            }
        }
        _ if common(&mut instance.common, item, owner, lefts) => {}
        _ => lefts.push(Left::by_keyword(owner, item)),
    }
}

fn peers(instance: &mut Instance, item: &Item, owner: &str, lefts: &mut Vec<Left>) {
    for peer in item.items() {
        let known = peer.keyword().parse::<IpAddr>().is_ok();
        if let Some(why) = aside_line(peer).or((!known).then_some(Why::Unknown)) {
            lefts.push(Left::new(owner, peer, why));
            continue;
        }
        instance.peers.push(Sourced::keyword(peer));
        for word in peer.words.iter().skip(1) {
            let subject = format!("{} of peer {}", word.text, peer.keyword());
            lefts.push(Left::word(owner, subject, &peer.place, Why::Vrrp));
        }
    }
    if item.items().is_empty() {
        lefts.push(Left::new(owner, item, Why::Vrrp));
    }
}

/// Reads the common settings of instances and sync groups. `false`: the item is something else.
fn common(common: &mut Common, item: &Item, owner: &str, lefts: &mut Vec<Left>) -> bool {
    if let Some(kind) = Tracked::kind(item.keyword()) {
        for line in item.items() {
            match aside_line(line) {
                Some(why) => lefts.push(Left::new(owner, line, why)),
                None => common.tracked.push(Tracked::read(kind, line)),
            }
        }
        if item.items().is_empty() {
            lefts.push(Left::new(owner, item, Why::Tracker));
        }
        return true;
    }
    match Notify::read(item) {
        Some(notify) => {
            for user in item.words.iter().skip(2) {
                let subject = format!("user {} of {}", user.text, item.keyword());
                lefts.push(Left::word(owner, subject, &item.place, Why::Users));
            }
            common.notify.push(notify);
            true
        }
        None => false,
    }
}

/// `192.168.200.17/24 dev eth1 label eth1:1`
fn address(line: &Item, block: &Item, owner: &str, lefts: &mut Vec<Left>) -> Option<Address> {
    if let Some(why) = aside_line(line) {
        lefts.push(Left::new(owner, line, why));
        return None;
    }
    let (ip, len) = match line.keyword().split_once('/') {
        Some((ip, len)) => (ip, Some(len)),
        None => (line.keyword(), None),
    };
    let ip: Option<IpAddr> = ip.parse().ok();
    let longest = if ip.is_some_and(|ip| ip.is_ipv6()) {
        128
    } else {
        32
    };
    let usable = |len: &str| len.parse().ok().filter(|len| (1..=longest).contains(len));
    let len: Option<Option<u8>> = len.map(usable);
    let (Some(ip), false) = (ip, len == Some(None)) else {
        let subject = format!("{}, which is no address,", line.text());
        lefts.push(Left::word(owner, subject, &line.place, Why::Unknown));
        return None;
    };
    let device = device(&line.words, line, owner, lefts);
    Some(Address {
        ip,
        len: len.flatten(),
        device,
        place: line.place.clone(),
        block: block.place.clone(),
        excluded: block.keyword().ends_with("_excluded"),
    })
}

/// The interface in an address's line. All its other options are left out.
fn device(words: &[Word], line: &Item, owner: &str, lefts: &mut Vec<Left>) -> Option<String> {
    // Options with an argument.
    let two = [
        "brd",
        "broadcast",
        "scope",
        "label",
        "peer",
        "track_group",
        "preferred_lft",
    ];
    let mut device = None;
    let mut rest = words.iter().skip(1).map(|word| word.text.as_str());
    while let Some(option) = rest.next() {
        let left = match option {
            "dev" => {
                device = rest.next().map(str::to_owned);
                continue;
            }
            option if two.contains(&option) => {
                format!("{option} {}", rest.next().unwrap_or_default())
            }
            option => option.to_owned(),
        };
        let subject = format!("{left} of address {}", words[0].text);
        lefts.push(Left::word(owner, subject, &line.place, Why::Option));
    }
    device
}

fn bundle(site: &mut Site, block: &Item) {
    let name = block.value().unwrap_or("group").to_owned();
    let owner = format!("vrrp_sync_group {name}");
    let mut bundle = Bundle {
        name,
        place: block.place.clone(),
        members: Vec::new(),
        common: Common::default(),
    };
    for item in block.items() {
        let left = aside(item).map(|why| Left::new(&owner, item, why));
        if let Some(left) = left {
            site.lefts.push(left);
        } else if item.keyword() == "group" {
            members(&mut bundle, item, &owner, &mut site.lefts);
        } else if !common(&mut bundle.common, item, &owner, &mut site.lefts) {
            site.lefts.push(Left::by_keyword(&owner, item));
        }
    }
    site.bundles.push(bundle);
}

fn members(bundle: &mut Bundle, group: &Item, owner: &str, lefts: &mut Vec<Left>) {
    for line in group.items() {
        match aside_line(line) {
            Some(why) => lefts.push(Left::new(owner, line, why)),
            None => bundle.members.push(Sourced::keyword(line)),
        }
    }
    if group.items().is_empty() {
        lefts.push(Left::new(owner, group, Why::Empty));
    }
}

/// The node's name and the text of its file.
#[derive(Clone, Debug)]
pub struct NodeFile {
    /// The name of the host, where several files are given.
    pub node: Option<String>,
    pub input: Input,
}
