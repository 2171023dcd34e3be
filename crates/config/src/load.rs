//! `[load]`: how a node measures its load.

use super::{
    read::Section,
    settings::load::{AGENT_CHECK, CGROUP, COMMAND, HALF_LIFE, INTERVAL, SOURCE, TABLE},
    types::{Load, LoadSource},
};

pub(super) fn read(top: &Section<'_>) -> Load {
    let section = TABLE.open(top);
    Load {
        // A bad one was reported, and the source that stands in for it is never used.
        source: source(&section).unwrap_or_default(),
        interval: INTERVAL.or_default(&section),
        half_life: HALF_LIFE.or_default(&section),
        agent_check: AGENT_CHECK.value(&section),
    }
}

fn source(section: &Section<'_>) -> Option<LoadSource> {
    let named = match section.has(&SOURCE) {
        true => SOURCE.value(section)?,
        false => LoadSource::Host.name(),
    };
    TABLE.refuse_others(section, named, |field, owners| {
        let owner = owners.join("\" or \"");
        (
            format!("{field} belongs to source = \"{owner}\", but the source is {named}"),
            format!("write source = \"{owner}\", or remove it"),
        )
    });
    match named {
        "command" => COMMAND.value(section).map(LoadSource::Command),
        "cgroup" => CGROUP.value(section).map(LoadSource::Cgroup),
        "run-queue" => Some(LoadSource::RunQueue),
        _ => Some(LoadSource::Host),
    }
}
