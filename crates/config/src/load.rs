//! `[load]`: where the number comes from that says how much a node has to do.

use std::{net::SocketAddr, time::Duration};

use super::{
    command, fields,
    read::{Field, Invalid, Section},
    types::{Load, LoadSource},
    values,
};

const SHORTEST: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);

/// The fields that belong to one source.
const OWNED: [(Field, &[&str]); 2] = [
    (fields::COMMAND, &["command"]),
    (fields::CGROUP, &["cgroup"]),
];

pub(super) fn read(top: &Section<'_>) -> Load {
    use fields::{AGENT_CHECK, CGROUP, COMMAND, HALF_LIFE, LOAD, LOAD_INTERVAL, SOURCE};
    let known = [
        SOURCE,
        COMMAND,
        CGROUP,
        LOAD_INTERVAL,
        HALF_LIFE,
        AGENT_CHECK,
    ];
    let default = Load::default();
    let Some(section) = top.table(&LOAD, &known) else {
        return default;
    };
    let interval = section.text(&LOAD_INTERVAL, values::duration(SHORTEST, MINUTE));
    let half_life = section.text(&HALF_LIFE, values::duration(Duration::ZERO, 10 * MINUTE));
    Load {
        // Where it is bad there was a complaint, and what stands in for it is never used.
        source: source(&section).unwrap_or_default(),
        interval: interval.map_or(default.interval, |interval| interval.value),
        half_life: half_life.map_or(default.half_life, |half_life| half_life.value),
        agent_check: section
            .text(&AGENT_CHECK, listener)
            .map(|address| address.value),
    }
}

/// The address and port on which the agent listens.
fn listener(text: &str) -> Result<SocketAddr, Invalid> {
    let address: Result<SocketAddr, _> = text.parse();
    address
        .ok()
        .filter(|address| address.port() != 0)
        .ok_or_else(|| {
            Invalid::new(
                " is not an IP address with a port",
                "write it as in 127.0.0.1:6949 or [::1]:6949",
            )
        })
}

fn source(section: &Section<'_>) -> Option<LoadSource> {
    use fields::{CGROUP, COMMAND, SOURCE};
    let named = if section.has(&SOURCE) {
        section.text(&SOURCE, source_name)?.value
    } else {
        LoadSource::Host.name()
    };
    section.refuse_strangers(&OWNED, &named, |field, owners| {
        let owner = owners.join("\" or \"");
        (
            format!("{field} belongs to source = \"{owner}\", but the source is {named}"),
            format!("write source = \"{owner}\", or remove it"),
        )
    });
    match named {
        "command" => command::required(section, &COMMAND).map(LoadSource::Command),
        "cgroup" => {
            let directory = section.required(&CGROUP, values::absolute_path)?;
            Some(LoadSource::Cgroup(directory.value))
        }
        "run-queue" => Some(LoadSource::RunQueue),
        _ => Some(LoadSource::Host),
    }
}

fn source_name(text: &str) -> Result<&'static str, Invalid> {
    let known = LoadSource::NAMES;
    known
        .into_iter()
        .find(|name| *name == text)
        .ok_or_else(|| values::one_of("no source of load", text, &known))
}
