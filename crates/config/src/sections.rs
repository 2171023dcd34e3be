//! The tables of the file, each read by itself: names, types, ranges and what holds within one
//! table. What was bad is missing here, and has been complained of.

use std::{net::IpAddr, path::PathBuf};

use heartbeat_common::wire::NodeId;

use super::{
    fields,
    read::{At, Field, Invalid, Section, label},
    types::{Role, XdpMode},
    utilization::Stated,
    values,
};

/// Directory of control sockets and locks.
pub const DEFAULT_RUN: &str = "/run/heartbeat";
const DEFAULT_STATE: &str = "/var/lib/heartbeat";
/// Above the interrupt threads of the kernel, which have 50.
const DEFAULT_PRIORITY: u32 = 60;

/// `[paths]`: the run and state directories.
pub(super) fn paths(top: &Section<'_>) -> (At<PathBuf>, PathBuf) {
    use fields::{PATHS, RUN, STATE};
    let section = top.table(&PATHS, &[RUN, STATE]);
    let path = |field| {
        section
            .as_ref()
            .and_then(|s| s.text(field, values::absolute_path))
    };
    let run = path(&RUN).unwrap_or_else(|| At {
        value: PathBuf::from(DEFAULT_RUN),
        at: top.at(),
    });
    (
        run,
        path(&STATE).map_or_else(|| PathBuf::from(DEFAULT_STATE), |state| state.value),
    )
}

/// `[realtime]`: the priority to ask for.
pub(super) fn realtime(top: &Section<'_>) -> Option<u8> {
    use fields::{PRIORITY, REALTIME};
    let priority = top
        .table(&REALTIME, &[PRIORITY])
        .and_then(|section| section.number(&PRIORITY, 0..=99))
        .map_or(DEFAULT_PRIORITY, |priority| priority.value);
    u8::try_from(priority).ok().filter(|priority| *priority > 0)
}

/// `[[link]]`.
pub(super) struct Link<'a> {
    pub(super) section: Section<'a>,
    pub(super) interface: Option<At<String>>,
    pub(super) mode: XdpMode,
}

pub(super) fn links<'a>(top: &Section<'a>) -> Vec<Link<'a>> {
    use fields::{INTERFACE, LINK, MODE};
    let read = |section: Section<'a>| Link {
        interface: section.required(&INTERFACE, values::interface),
        mode: section
            .text(&MODE, values::mode)
            .map_or_else(XdpMode::default, |mode| mode.value),
        section,
    };
    let label = |index, _: Option<&str>| format!("link {index}");
    top.tables(&LINK, &[INTERFACE, MODE], label)
        .into_iter()
        .map(read)
        .collect()
}

/// `[[node]]`.
pub(super) struct Node<'a> {
    pub(super) section: Section<'a>,
    pub(super) name: Option<At<String>>,
    pub(super) id: Option<At<NodeId>>,
    pub(super) role: Role,
    pub(super) addresses: PerLink<IpAddr>,
    pub(super) interfaces: PerLink<String>,
    pub(super) capacity: Stated<'a>,
}

/// A list with one item for each link.
pub(super) struct PerLink<T> {
    field: Field,
    /// `None` if the list is absent or no list; so is an item that is bad.
    items: Option<Vec<Option<At<T>>>>,
    at: usize,
}

impl<T> PerLink<T> {
    fn read(
        section: &Section<'_>,
        field: Field,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Self {
        Self {
            field,
            items: section.list(&field, parse),
            at: section.at_field(&field),
        }
    }

    pub(super) fn given(&self) -> bool {
        self.items.is_some()
    }

    pub(super) fn items(&self) -> impl Iterator<Item = Option<&At<T>>> {
        self.items.iter().flatten().map(Option::as_ref)
    }

    /// Complains of a list that is shorter or longer than that of the links.
    pub(super) fn one_per_link(&self, section: &Section<'_>, links: usize) {
        let Field { name, noun, .. } = self.field;
        match &self.items {
            // Without any link there was a complaint already.
            Some(items) if links > 0 && items.len() != links => section.problem(
                self.at,
                format!(
                    "{name} has length {}, but the number of links is {links}",
                    items.len()
                ),
                format!("list one {noun} for each [[link]], in their order"),
            ),
            _ => {}
        }
    }
}

pub(super) fn nodes<'a>(top: &Section<'a>) -> Vec<Node<'a>> {
    use fields::{ADDRESSES, CAPACITY, INTERFACES, NODE, NODE_ID, NODE_NAME, ROLE};
    let read = |section: Section<'a>| {
        for field in [&NODE_ID, &ADDRESSES]
            .into_iter()
            .filter(|field| !section.has(field))
        {
            section.missing(field);
        }
        let id = section.number(&NODE_ID, 1..=u32::from(u16::MAX));
        Node {
            name: section.required(&NODE_NAME, values::name),
            id: id.map(|At { value, at }| At {
                value: NodeId(narrow(value)),
                at,
            }),
            role: section
                .text(&ROLE, values::role)
                .map_or_else(Role::default, |role| role.value),
            addresses: PerLink::read(&section, ADDRESSES, values::address),
            interfaces: PerLink::read(&section, INTERFACES, values::interface),
            capacity: Stated::read(&section, &CAPACITY),
            section,
        }
    };
    let known = [NODE_NAME, NODE_ID, ROLE, ADDRESSES, INTERFACES, CAPACITY];
    top.tables(&NODE, &known, label("node"))
        .into_iter()
        .map(read)
        .collect()
}

/// A number whose range was checked; out of it, the configuration is refused anyway.
fn narrow(number: u32) -> u16 {
    u16::try_from(number).unwrap_or_default()
}
