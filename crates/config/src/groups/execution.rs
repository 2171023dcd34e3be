//! Settings of a resource's programs: `user`, `group`, `environment`, `directory`, `stop_signal`
//! and `limits`. Never says the value of a variable: it may be a password.

use toml::de::DeValue;

use super::params;
use crate::{
    fields::{
        DIRECTORY, ENVIRONMENT, LIMITS, PROGRAM, RUN_GROUP, STOP, STOP_SIGNAL, STOP_TIMEOUT, USER,
    },
    read::Section,
    report::{nearest, quoted},
    types::{Execution, Limit, LimitKind, StopSignal},
    values,
};

/// The value of a limit that bounds nothing.
const UNLIMITED: &str = "unlimited";

/// The settings of an exec resource.
pub(super) fn read(section: &Section<'_>) -> Execution {
    let stop_signal = section.text(&STOP_SIGNAL, values::stop_signal);
    if let Some(signal) = &stop_signal
        && section.has(&STOP)
        && !section.has(&PROGRAM)
    {
        section.problem(
            signal.at,
            "stop_signal is for a program of `run`; this resource is stopped by the program of `stop`",
            "remove it, or have that program send the signal",
        );
    }
    let stop_signal = stop_signal.map(|signal| signal.value).unwrap_or_default();
    if stop_signal == StopSignal::Kill {
        section.warning(
            section.at_field(&STOP_SIGNAL),
            "SIGKILL gives the program no time to end in order",
            format!(
                "name the signal that it ends on; SIGKILL follows by itself after {}",
                STOP_TIMEOUT.name
            ),
        );
    }
    let directory = section.text(&DIRECTORY, values::absolute_path);
    Execution {
        user: section.text(&USER, values::account).map(|user| user.value),
        group: section
            .text(&RUN_GROUP, values::account)
            .map(|group| group.value),
        environment: environment(section, |_| false),
        directory: directory.map(|directory| directory.value),
        stop_signal,
        limits: limits(section),
    }
}

/// The settings of an OCF resource: its agent chooses all but the environment.
pub(super) fn of_agent(section: &Section<'_>) -> Execution {
    Execution {
        environment: environment(section, |name| name.starts_with("OCF_")),
        ..Execution::default()
    }
}

/// The variables, but those with a `reserved` name.
fn environment(section: &Section<'_>, reserved: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let name = |name: &str| {
        if !is_variable(name) {
            return Err((
                " is not a usable name",
                "use letters, digits and `_`, and no digit at the start",
            ));
        }
        if reserved(name) {
            return Err((
                " is one that heartbeat sets for the agent",
                "what an agent is told is in `params`",
            ));
        }
        Ok(())
    };
    params::table(section, &ENVIRONMENT, name)
}

/// What a shell takes as the name of a variable.
fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = |first: u8| !first.is_ascii_digit();
    name.bytes().all(allowed) && name.bytes().next().is_some_and(starts)
}

fn limits(section: &Section<'_>) -> Vec<Limit> {
    let Some(value) = section.get(&LIMITS) else {
        return Vec::new();
    };
    let DeValue::Table(table) = value.get_ref() else {
        section.wrong_type::<()>(&LIMITS, value, "a table");
        return Vec::new();
    };
    let mut limits = Vec::with_capacity(table.len());
    for (key, value) in table.iter() {
        let name: &str = key.get_ref();
        let Some(kind) = LimitKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
        else {
            let known = LimitKind::ALL.map(LimitKind::as_str);
            let remedy = match nearest(name, known) {
                Some(likely) => format!("did you mean `{likely}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            section.problem(
                key.span().start,
                format!("there is no limit {}", quoted(name)),
                remedy,
            );
            continue;
        };
        match bound(value.get_ref()) {
            Some(value) => limits.push(Limit { kind, value }),
            None => section.problem(
                value.span().start,
                format!("limit {name} is neither a whole number from 0 nor \"{UNLIMITED}\""),
                "write it as setrlimit(2) has it: bytes, seconds or a count, without quotes and \
                 without a unit",
            ),
        }
    }
    limits.sort_unstable();
    limits
}

/// The bound that a value says; the inner `None` is without one.
fn bound(value: &DeValue<'_>) -> Option<Option<u64>> {
    match value {
        DeValue::String(text) if *text == UNLIMITED => Some(None),
        DeValue::Integer(number) => {
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
            // The kernel's number for no bound at all.
            (number < u64::MAX).then_some(Some(number))
        }
        _ => None,
    }
}
