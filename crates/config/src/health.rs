//! `[[health]]`: the checks by which a node knows whether it is well.

use heartbeat_common::wire::Health;

use super::{
    read::{At, Named, Section, label},
    report::quoted,
    settings::health::{
        ADDRESS, EXEC, FAILURE, FALL, INTERFACE, INTERVAL, NAME, PATH, PIDFILE, PROCESS, RISE,
        TABLE, TIMEOUT, TYPE, UNIT, URL,
    },
    types::{HealthCheck, HealthKind, ProcessName},
    uses::Uses,
};

/// The checks, in the order of the file, which is that of their bits in the heartbeats.
pub(super) fn read(top: &Section<'_>) -> Vec<HealthCheck> {
    let sections = TABLE.open_all(top, label("health check"));
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
    let name = NAME.read(section);
    if let Some(At { value, at }) = &name {
        let what = format!("name {}", quoted(value));
        let remedy = "give each health check a name of its own";
        names.once(value.clone(), &what, section, *at, remedy);
    }
    let kind = kind(section);
    Some(HealthCheck {
        interval: INTERVAL.or_default(section),
        timeout: TIMEOUT.or_default(section),
        rise: RISE.or_default(section),
        fall: FALL.or_default(section),
        meaning: FAILURE.or_default(section),
        name: name?.value,
        kind: kind?,
    })
}

/// The subject of the check. `None` if it is bad, which was reported.
fn kind(section: &Section<'_>) -> Option<HealthKind> {
    let named = TYPE.value(section)?;
    TABLE.refuse_others(section, named, |field, owners| {
        let owners = owners.join(" and ");
        (
            format!("{field} belongs to checks of type {owners}, not to one of type {named}"),
            "remove it, or correct type".to_owned(),
        )
    });
    match named {
        "exec" => EXEC.value(section).map(HealthKind::Exec),
        "tcp" => ADDRESS.value(section).map(HealthKind::Tcp),
        "http" => URL.value(section).map(HealthKind::Http),
        "process" => process(section).map(HealthKind::Process),
        "disk" => PATH.value(section).map(HealthKind::Disk),
        _ => INTERFACE.value(section).map(HealthKind::Interface),
    }
}

/// The one process that is named by one of three settings.
fn process(section: &Section<'_>) -> Option<ProcessName> {
    // All are read before their number is judged, to report all that is wrong.
    let named = [
        PIDFILE.value(section).map(ProcessName::PidFile),
        PROCESS.value(section).map(ProcessName::Name),
        UNIT.value(section).map(ProcessName::Unit),
    ];
    let fields: [&dyn Named; 3] = [&PIDFILE, &PROCESS, &UNIT];
    let given: Vec<_> = fields
        .into_iter()
        .filter(|field| section.has(*field))
        .collect();
    match &given[..] {
        [_] => named.into_iter().flatten().next(),
        [] => {
            let [pidfile, process, unit] = fields.map(Named::example);
            section.problem(
                section.at(),
                "a check of type process has neither `pidfile` nor `process` nor `unit`",
                format!("say which process is meant, as in {pidfile}, {process} or {unit}"),
            );
            None
        }
        [first, second, ..] => {
            section.problem(
                section.at_field(*second),
                format!("{} and {} exclude each other", first.name(), second.name()),
                "keep one, or make two checks of it",
            );
            None
        }
    }
}
