//! `[[link]]`: how many there are, and that no two use one interface.

use heartbeat_common::wire::{LinkId, MAX_LINKS};

use super::{
    read::{At, Section, or_reported},
    report::quoted,
    settings::link::{INTERFACE, MODE, TABLE},
    types::Link,
    uses::Uses,
};

pub(super) fn read(top: &Section<'_>) -> Vec<Link> {
    let label = |index, _: Option<&str>| format!("link {index}");
    let sections = TABLE.open_all(top, label);
    if top.lacks(&TABLE) {
        top.missing(&TABLE);
    }
    if let Some(extra) = sections.get(MAX_LINKS) {
        let count = sections.len();
        extra.problem(
            extra.at(),
            format!("there are {count} links, but no more than {MAX_LINKS} work"),
            "remove this and those that follow",
        );
    }
    let mut uses = Uses::new();
    let link = |(index, section): (usize, &Section<'_>)| {
        let interface = INTERFACE.read(section);
        if let Some(At { value, at }) = &interface {
            uses.once(
                value.clone(),
                &format!("interface {}", quoted(value)),
                section,
                *at,
                "give each link an interface of its own: two links on one fail together",
            );
        }
        Link {
            id: LinkId(u8::try_from(index).unwrap_or(u8::MAX)),
            interface: or_reported(interface),
            mode: MODE.or_default(section),
        }
    };
    sections.iter().enumerate().map(link).collect()
}
