//! The kind of a resource: its `type`, and the settings that belong to that type and to no other.

use std::path::PathBuf;

use heartbeat_common::prefix::ServedAddress;

use super::execution;
use crate::{
    read::{At, Named, Section},
    resource_type::Type,
    settings::resource::{
        ADDRESS, CHECK, CHECK_LEVEL, INTERFACE, PARAMS, PIDFILE, RUN, START, STOP, TABLE, TYPE,
    },
    settings::vip,
    types::{Exec, Execution, Ocf, ResourceKind},
};

/// The kind of a resource as its own table tells it.
pub(super) enum Kind {
    /// An address, if it is a good one, and its interface: to be compared with the rest.
    Vip {
        address: Option<At<ServedAddress>>,
        interface: Option<String>,
    },
    /// Needs nothing but itself.
    Whole(ResourceKind),
}

/// The settings that depend on a resource's type.
#[derive(Default)]
pub(super) struct Typed {
    /// `None` if it is bad, which was reported.
    pub(super) kind: Option<Kind>,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) execution: Execution,
}

/// The kind of the resource in `section`.
pub(super) fn read(section: &Section<'_>) -> Typed {
    let Some(named) = TYPE.value(section) else {
        return Typed::default();
    };
    let class = named.class();
    TABLE.refuse_others(section, class, |field, owners| {
        let owners = owners.join(" and ");
        (
            format!("{field} belongs to {owners} resources, not to one of type {class}"),
            "remove it, or correct type".to_owned(),
        )
    });
    let pidfile = match named {
        Type::Ocf { .. } | Type::Systemd(_) => PIDFILE.value(section),
        Type::Vip | Type::Exec => None,
    };
    let execution = match named {
        Type::Exec => execution::read(section),
        Type::Ocf { .. } => execution::of_agent(section),
        Type::Vip | Type::Systemd(_) => Execution::default(),
    };
    let kind = match named {
        Type::Vip => Some(Kind::Vip {
            address: ADDRESS.read(section),
            interface: INTERFACE.value(section),
        }),
        Type::Ocf { provider, agent } => Some(Kind::Whole(ResourceKind::Ocf(Ocf {
            provider,
            agent,
            params: PARAMS.value(section).unwrap_or_default(),
            check_level: CHECK_LEVEL.or_default(section),
        }))),
        Type::Systemd(unit) => Some(Kind::Whole(ResourceKind::Systemd(unit))),
        Type::Exec => exec(section).map(|exec| Kind::Whole(ResourceKind::Exec(exec))),
    };
    Typed {
        kind,
        pidfile,
        execution,
    }
}

/// The one resource of the `[[vip]]` in `section`.
pub(super) fn of_vip(section: &Section<'_>) -> Kind {
    Kind::Vip {
        address: vip::ADDRESS.read(section),
        interface: vip::INTERFACE.value(section),
    }
}

fn exec(section: &Section<'_>) -> Option<Exec> {
    let three = [&START, &STOP]
        .into_iter()
        .find(|field| section.has(*field));
    match (section.has(&RUN), three) {
        (true, None) => {
            // Both are read before either is judged, to report all that is wrong.
            let run = RUN.value(section);
            let check = section.has(&CHECK).then(|| CHECK.value(section));
            Some(Exec::Service {
                run: run?,
                check: match check {
                    Some(check) => Some(check?),
                    None => None,
                },
            })
        }
        (false, Some(_)) => {
            if !section.has(&CHECK) {
                section.missing(&CHECK);
            }
            let [start, stop, check] = [&START, &STOP, &CHECK].map(|field| field.value(section));
            Some(Exec::Commands {
                start: start?,
                stop: stop?,
                check: check?,
            })
        }
        (true, Some(other)) => {
            section.problem(
                section.at_field(other),
                format!("run and {} exclude each other", other.name()),
                "keep run for a program that runs as long as the resource does, or start, stop and \
                 check for three that come to an end",
            );
            None
        }
        (false, None) => {
            section.problem(
                section.at(),
                "an exec resource has neither `run` nor `start`, `stop` and `check`",
                format!("say what to run, as in {}", RUN.example()),
            );
            None
        }
    }
}
