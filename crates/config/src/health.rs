//! `[[health]]`: what a node looks at to know whether it is well.

use std::time::Duration;

use heartbeat_common::wire::Health;

use super::{
    command, fields,
    read::{At, Field, Invalid, Section, label},
    report::quoted,
    target,
    types::{HealthCheck, HealthKind, Meaning, ProcessName},
    uses::Uses,
    values,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Looks in a row.
const DEFAULT_COUNT: u32 = 2;
const MAX_COUNT: u32 = 1_000;
/// What the kernel keeps of a process's name: TASK_COMM_LEN, less the closing NUL.
const MAX_COMM: usize = 15;

/// The fields that only checks of one type have.
const OWNED: [(Field, &[&str]); 8] = {
    use fields::{CHECK_ADDRESS, CHECK_EXEC, INTERFACE, PATH, PIDFILE, PROCESS, UNIT, URL};
    [
        (CHECK_EXEC, &["exec"]),
        (CHECK_ADDRESS, &["tcp"]),
        (URL, &["http"]),
        (PIDFILE, &["process"]),
        (PROCESS, &["process"]),
        (UNIT, &["process"]),
        (PATH, &["disk"]),
        (INTERFACE, &["interface"]),
    ]
};

/// The checks, in the order of the file, which is that of their bits in the heartbeats.
pub(super) fn read(top: &Section<'_>) -> Vec<HealthCheck> {
    use fields::{
        CHECK_ADDRESS, CHECK_EXEC, CHECK_INTERVAL, CHECK_NAME, CHECK_TIMEOUT, CHECK_TYPE, FAILURE,
        FALL, HEALTH, INTERFACE, PATH, PIDFILE, PROCESS, RISE, UNIT, URL,
    };
    let known = [
        CHECK_NAME,
        CHECK_TYPE,
        CHECK_EXEC,
        CHECK_ADDRESS,
        URL,
        PIDFILE,
        PROCESS,
        UNIT,
        PATH,
        INTERFACE,
        CHECK_INTERVAL,
        CHECK_TIMEOUT,
        RISE,
        FALL,
        FAILURE,
    ];
    let sections = top.tables(&HEALTH, &known, label("health check"));
    if let Some(extra) = sections.get(Health::MAX_CHECKS) {
        extra.problem(
            extra.at(),
            format!(
                "there are {} health checks, but heartbeats have bits for no more than {}",
                sections.len(),
                Health::MAX_CHECKS
            ),
            "remove this and those that follow, or let one program (type = \"exec\") do several",
        );
    }
    let mut names = Uses::new();
    let checks = sections
        .iter()
        .filter_map(|section| check(section, &mut names));
    checks.collect()
}

fn check(section: &Section<'_>, names: &mut Uses<String>) -> Option<HealthCheck> {
    use fields::{CHECK_INTERVAL, CHECK_NAME, CHECK_TIMEOUT, FAILURE, FALL, RISE};
    let name = section.required(&CHECK_NAME, values::name);
    if let Some(At { value, at }) = &name {
        let what = format!("name {}", quoted(value));
        let remedy = "give each health check a name of its own";
        names.once(value.clone(), &what, section, *at, remedy);
    }
    let kind = kind(section);
    let time = |field, low| {
        let time = section.text(field, values::duration(low, HOUR));
        time.map_or(SECOND, |time| time.value)
    };
    let count = |field| {
        let count = section.number(field, 1..=MAX_COUNT);
        count.map_or(DEFAULT_COUNT, |count| count.value)
    };
    Some(HealthCheck {
        interval: time(&CHECK_INTERVAL, 100 * MILLISECOND),
        timeout: time(&CHECK_TIMEOUT, MILLISECOND),
        rise: count(&RISE),
        fall: count(&FALL),
        meaning: section
            .text(&FAILURE, values::meaning)
            .map_or_else(Meaning::default, |meaning| meaning.value),
        name: name?.value,
        kind: kind?,
    })
}

/// What the check looks at. `None` if, after a complaint, bad.
fn kind(section: &Section<'_>) -> Option<HealthKind> {
    use fields::{CHECK_ADDRESS, CHECK_EXEC, CHECK_TYPE, INTERFACE, PATH, URL};
    let named = section.required(&CHECK_TYPE, kind_name)?.value;
    section.refuse_strangers(&OWNED, &named, |field, owners| {
        let owners = owners.join(" and ");
        (
            format!("{field} belongs to checks of type {owners}, not to one of type {named}"),
            "remove it, or correct type".to_owned(),
        )
    });
    match named {
        "exec" => command::required(section, &CHECK_EXEC).map(HealthKind::Exec),
        "tcp" => {
            let address = section.required(&CHECK_ADDRESS, target::socket)?;
            Some(HealthKind::Tcp(address.value))
        }
        "http" => {
            let url = section.required(&URL, target::http)?;
            Some(HealthKind::Http(url.value))
        }
        "process" => process(section).map(HealthKind::Process),
        "disk" => {
            let path = section.required(&PATH, values::absolute_path)?;
            Some(HealthKind::Disk(path.value))
        }
        _ => {
            let interface = section.required(&INTERFACE, values::interface)?;
            Some(HealthKind::Interface(interface.value))
        }
    }
}

fn kind_name(text: &str) -> Result<&'static str, Invalid> {
    let known = HealthKind::NAMES;
    known
        .into_iter()
        .find(|name| *name == text)
        .ok_or_else(|| values::one_of("no type of health check", text, &known))
}

/// The one process that is named by one of three fields.
fn process(section: &Section<'_>) -> Option<ProcessName> {
    use fields::{PIDFILE, PROCESS, UNIT};
    // All are read before their number is judged, to complain of all that is wrong.
    let named = [
        section
            .text(&PIDFILE, values::absolute_path)
            .map(|file| ProcessName::PidFile(file.value)),
        section
            .text(&PROCESS, comm)
            .map(|name| ProcessName::Name(name.value)),
        section
            .text(&UNIT, service)
            .map(|unit| ProcessName::Unit(unit.value)),
    ];
    let given: Vec<_> = [PIDFILE, PROCESS, UNIT]
        .into_iter()
        .filter(|field| section.has(field))
        .collect();
    match &given[..] {
        [_] => named.into_iter().flatten().next(),
        [] => {
            section.problem(
                section.at(),
                "a check of type process has neither `pidfile` nor `process` nor `unit`",
                format!(
                    "say which process is meant, as in {}, {} or {}",
                    PIDFILE.example, PROCESS.example, UNIT.example
                ),
            );
            None
        }
        [first, second, ..] => {
            section.problem(
                section.at_field(second),
                format!("{} and {} exclude each other", first.name, second.name),
                "keep one, or make two checks of it",
            );
            None
        }
    }
}

/// A unit that has a main process.
fn service(text: &str) -> Result<String, Invalid> {
    let unit = values::unit("")(text)?;
    if unit.ends_with(".service") {
        Ok(unit)
    } else {
        Err(Invalid::new(
            " has no main process: only services do",
            "name a .service, or look at what it stands for by a check of another type",
        ))
    }
}

/// A process's name as the kernel keeps it.
fn comm(text: &str) -> Result<String, Invalid> {
    if text.is_empty() || text.contains(['/', '\0', '\n']) {
        return Err(Invalid::new(
            " is not a process's name",
            "write it as /proc/PID/comm has it, without a path",
        ));
    }
    if text.len() > MAX_COMM {
        let kept: String = text.chars().take(MAX_COMM).collect();
        return Err(Invalid::new(
            format!(" is longer than the {MAX_COMM} bytes that the kernel keeps of a name"),
            format!("write it as /proc/PID/comm has it, probably \"{kept}\""),
        ));
    }
    Ok(text.to_owned())
}
