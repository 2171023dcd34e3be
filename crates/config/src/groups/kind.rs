//! What a resource is: its `type`, and the fields that belong to that type and to no other.

use std::path::PathBuf;

use heartbeat_common::prefix::ServedAddress;

use super::{execution, params};
use crate::{
    command::{self, command},
    fields,
    read::{At, Field, Invalid, Section},
    report::nearest,
    types::{Exec, Execution, Ocf, ResourceKind},
    values,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Vip,
    Ocf,
    Systemd,
    Exec,
}

impl Class {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Vip => "vip",
            Self::Ocf => "ocf",
            Self::Systemd => "systemd",
            Self::Exec => "exec",
        }
    }
}

/// What `type` says.
enum Type {
    Vip,
    Ocf { provider: String, agent: String },
    Systemd(String),
    Exec,
}

impl Type {
    const fn class(&self) -> Class {
        match self {
            Self::Vip => Class::Vip,
            Self::Ocf { .. } => Class::Ocf,
            Self::Systemd(_) => Class::Systemd,
            Self::Exec => Class::Exec,
        }
    }
}

/// The fields that not every resource has.
const OWNED: [(Field, &[Class]); 16] = {
    use fields::{
        ADDRESS, CHECK, CHECK_LEVEL, DIRECTORY, ENVIRONMENT, EXCLUSIVE, INTERFACE, LIMITS, PARAMS,
        PIDFILE, PROGRAM, RUN_GROUP, START, STOP, STOP_SIGNAL, USER,
    };
    [
        (ADDRESS, &[Class::Vip]),
        (INTERFACE, &[Class::Vip]),
        (PARAMS, &[Class::Ocf]),
        (CHECK_LEVEL, &[Class::Ocf]),
        (PIDFILE, &[Class::Ocf, Class::Systemd]),
        (EXCLUSIVE, &[Class::Ocf, Class::Systemd, Class::Exec]),
        (PROGRAM, &[Class::Exec]),
        (START, &[Class::Exec]),
        (STOP, &[Class::Exec]),
        (CHECK, &[Class::Exec]),
        (USER, &[Class::Exec]),
        (RUN_GROUP, &[Class::Exec]),
        (ENVIRONMENT, &[Class::Ocf, Class::Exec]),
        (DIRECTORY, &[Class::Exec]),
        (STOP_SIGNAL, &[Class::Exec]),
        (LIMITS, &[Class::Exec]),
    ]
};

/// What a resource's table says by its type.
#[derive(Default)]
pub(super) struct Typed {
    /// `None` if, after a complaint, bad.
    pub(super) kind: Option<Kind>,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) execution: Execution,
}

/// What the resource in `section` is.
pub(super) fn read(section: &Section<'_>) -> Typed {
    let Some(At { value: kind, .. }) = section.required(&fields::TYPE, parse) else {
        return Typed::default();
    };
    let class = kind.class();
    section.refuse_strangers(&OWNED, &class, |field, owners| {
        let owners: Vec<_> = owners.iter().map(|owner| owner.as_str()).collect();
        let (owners, class) = (owners.join(" and "), class.as_str());
        (
            format!("{field} belongs to {owners} resources, not to one of type {class}"),
            "remove it, or correct type".to_owned(),
        )
    });
    let pidfile = match class {
        Class::Ocf | Class::Systemd => section.text(&fields::PIDFILE, values::absolute_path),
        Class::Vip | Class::Exec => None,
    };
    let kind = match kind {
        Type::Vip => Some(vip(section)),
        Type::Ocf { provider, agent } => Some(Kind::Whole(ResourceKind::Ocf(Ocf {
            provider,
            agent,
            params: params::read(section),
            check_level: section
                .number(&fields::CHECK_LEVEL, 0..=u32::MAX)
                .map_or(0, |level| level.value),
        }))),
        Type::Systemd(unit) => Some(Kind::Whole(ResourceKind::Systemd(unit))),
        Type::Exec => exec(section).map(|exec| Kind::Whole(ResourceKind::Exec(exec))),
    };
    Typed {
        kind,
        pidfile: pidfile.map(|pidfile| pidfile.value),
        execution: match class {
            Class::Exec => execution::read(section),
            Class::Ocf => execution::of_agent(section),
            Class::Vip | Class::Systemd => Execution::default(),
        },
    }
}

/// Also of a `[[vip]]`, which has the same two fields.
pub(super) fn vip(section: &Section<'_>) -> Kind {
    use fields::{ADDRESS, INTERFACE};
    Kind::Vip {
        address: section.required(&ADDRESS, values::served_address),
        interface: section
            .text(&INTERFACE, values::interface)
            .map(|interface| interface.value),
    }
}

fn exec(section: &Section<'_>) -> Option<Exec> {
    use fields::{CHECK, PROGRAM, START, STOP};
    let three = [&START, &STOP].into_iter().find(|field| section.has(field));
    match (section.has(&PROGRAM), three) {
        (true, None) => {
            // Both are read before either is judged, to complain of all that is wrong.
            let run = command(section, &PROGRAM);
            let check = section.has(&CHECK).then(|| command(section, &CHECK));
            Some(Exec::Service {
                run: run?,
                check: match check {
                    Some(check) => Some(check?),
                    None => None,
                },
            })
        }
        (false, Some(_)) => {
            let [start, stop, check] =
                [&START, &STOP, &CHECK].map(|field| command::required(section, field));
            Some(Exec::Commands {
                start: start?,
                stop: stop?,
                check: check?,
            })
        }
        (true, Some(other)) => {
            section.problem(
                section.at_field(other),
                format!("run and {} exclude each other", other.name),
                "keep run for a program that runs as long as the resource does, or start, stop and \
                 check for three that come to an end",
            );
            None
        }
        (false, None) => {
            section.problem(
                section.at(),
                "an exec resource has neither `run` nor `start`, `stop` and `check`",
                format!("say what to run, as in {}", PROGRAM.example),
            );
            None
        }
    }
}

/// `vip`, `ocf:PROVIDER:AGENT`, `systemd:UNIT` or `exec`.
fn parse(text: &str) -> Result<Type, Invalid> {
    match text.split_once(':') {
        None if text == "vip" => Ok(Type::Vip),
        None if text == "exec" => Ok(Type::Exec),
        None if text == "systemd" => Err(Invalid::new(
            " names no unit",
            "write it as in \"systemd:nginx.service\"",
        )),
        Some(("ocf", agent)) => ocf(agent),
        None if text == "ocf" => ocf(""),
        Some(("systemd", unit)) => values::unit("systemd:")(unit).map(Type::Systemd),
        _ => {
            let class = text.split(':').next().unwrap_or_default();
            let remedy = match nearest(class, ["vip", "ocf", "systemd", "exec"]) {
                Some(likely) if likely != class => format!("did you mean `{likely}`?"),
                _ => "use vip, ocf:PROVIDER:AGENT, systemd:UNIT or exec".to_owned(),
            };
            Err(Invalid::new(" is no type of resource", remedy))
        }
    }
}

fn ocf(agent: &str) -> Result<Type, Invalid> {
    const EXAMPLE: &str = "write ocf:PROVIDER:AGENT, as in \"ocf:heartbeat:apache\"";
    // It becomes part of a path: no slash, and nothing that is hidden or leads up.
    let is_name = |name: &str| values::name(name).is_ok() && !name.starts_with('.');
    let parts: Vec<&str> = agent.split(':').collect();
    match parts[..] {
        [provider, agent] if is_name(provider) && is_name(agent) => Ok(Type::Ocf {
            provider: provider.to_owned(),
            agent: agent.to_owned(),
        }),
        [_, _] => Err(Invalid::new(
            " is no name of an OCF agent",
            format!("{EXAMPLE}; names are of letters, digits, `_`, `.` and `-`"),
        )),
        // As crm_mon writes it.
        ["", provider, agent] if is_name(provider) && is_name(agent) => Err(Invalid::new(
            " has a colon too many",
            format!("write \"ocf:{provider}:{agent}\""),
        )),
        _ => Err(Invalid::new(" does not name one OCF agent", EXAMPLE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_get_the_suffix_that_they_lack() {
        let named = |text: &str| values::unit("")(text).ok();
        assert_eq!(named("nginx").unwrap(), "nginx.service");
        assert_eq!(named("nginx.service").unwrap(), "nginx.service");
        assert_eq!(named("data.mount").unwrap(), "data.mount");
        assert_eq!(named("a.b").unwrap(), "a.b.service");
        assert_eq!(named("getty@tty1").unwrap(), "getty@tty1.service");
        assert_eq!(named("dev-disk\\x2d1").unwrap(), "dev-disk\\x2d1.service");
        let longest = "x".repeat(247);
        assert!(named(&longest).is_some());
        for bad in [
            "",
            ".service",
            "@.service",
            "a b",
            "a/b",
            "é",
            "a@",
            "a@.timer",
        ] {
            assert_eq!(named(bad), None, "{bad}");
        }
        assert_eq!(named(&format!("{longest}x")), None);
    }

    #[test]
    fn agents_are_named_by_provider_and_name() {
        let good = |text: &str| parse(text).is_ok();
        assert!(good("ocf:heartbeat:IPaddr2") && good("ocf:my-org:db_2.0"));
        for bad in [
            "ocf",
            "ocf:",
            "ocf:apache",
            "ocf::apache",
            "ocf:heartbeat:",
            "ocf:a:b:c",
            "ocf:.:b",
            "ocf:a:..",
            "ocf:a:b/c",
            "ocf:../a:b",
            "ocf::heartbeat:apache",
            "OCF:a:b",
            "vip:x",
            "lsb:x",
            "",
            "exec:/bin/true",
            "systemd",
            "systemd:",
        ] {
            assert!(!good(bad), "{bad}");
        }
    }
}
