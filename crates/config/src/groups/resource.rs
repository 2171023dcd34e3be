//! `[[group.resource]]`: what a resource says of itself.

use std::{path::PathBuf, time::Duration};

use super::{
    kind::{self, Kind, Typed},
    policy::Recovery,
};
use crate::{
    exclusive::{self, Harm},
    fields,
    read::{At, Section, or_complained},
    report::quoted,
    types::{Execution, Resource, ResourceKind},
    values,
};

const SHORTEST: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A resource as read.
pub(super) struct Draft<'a> {
    pub(super) section: Section<'a>,
    pub(super) name: Option<At<String>>,
    /// `None` if, after a complaint, bad.
    pub(super) kind: Option<Kind>,
    times: Times,
    recovery: Recovery,
    pidfile: Option<PathBuf>,
    execution: Execution,
    /// What it says of that itself.
    exclusive: Option<bool>,
}

#[derive(Default)]
struct Times {
    start_timeout: Option<Duration>,
    stop_timeout: Option<Duration>,
    monitor_timeout: Option<Duration>,
    monitor_interval: Option<Duration>,
}

/// The resources of `group`, whose they recover like.
pub(super) fn read<'a>(group: &Section<'a>, above: Recovery) -> Vec<Draft<'a>> {
    use fields::{
        ADDRESS, CHECK, CHECK_LEVEL, DIRECTORY, ENVIRONMENT, EXCLUSIVE, FAILURE_TIMEOUT, INTERFACE,
        LIMITS, MIGRATION_THRESHOLD, MONITOR_INTERVAL, MONITOR_TIMEOUT, PARAMS, PIDFILE, PROGRAM,
        RESOURCE, RESOURCE_NAME, RUN_GROUP, START, START_TIMEOUT, STOP, STOP_SIGNAL, STOP_TIMEOUT,
        TYPE, USER,
    };
    if group.lacks(&RESOURCE) {
        group.missing(&RESOURCE);
    }
    let known = [
        RESOURCE_NAME,
        TYPE,
        START_TIMEOUT,
        STOP_TIMEOUT,
        MONITOR_TIMEOUT,
        MONITOR_INTERVAL,
        MIGRATION_THRESHOLD,
        FAILURE_TIMEOUT,
        PIDFILE,
        EXCLUSIVE,
        ADDRESS,
        INTERFACE,
        PARAMS,
        CHECK_LEVEL,
        PROGRAM,
        START,
        STOP,
        CHECK,
        USER,
        RUN_GROUP,
        ENVIRONMENT,
        DIRECTORY,
        STOP_SIGNAL,
        LIMITS,
    ];
    let label = |index: usize, name: Option<&str>| match name {
        Some(name) => format!("resource {}", quoted(name)),
        None => format!("resource number {} of {}", index + 1, group.label()),
    };
    let resource = |section: Section<'a>| {
        let Typed {
            kind,
            pidfile,
            execution,
        } = kind::read(&section);
        Draft {
            name: section.required(&RESOURCE_NAME, values::name),
            kind,
            times: times(&section),
            recovery: above.refined(&section),
            pidfile,
            execution,
            exclusive: stated(&section),
            section,
        }
    };
    group
        .tables(&RESOURCE, &known, label)
        .into_iter()
        .map(resource)
        .collect()
}

impl<'a> Draft<'a> {
    /// The one resource of a `[[vip]]`, which has its name.
    pub(super) fn of_vip(vip: &Section<'a>, name: Option<At<String>>, above: Recovery) -> Self {
        Self {
            section: vip.clone(),
            name,
            kind: Some(kind::vip(vip)),
            times: Times::default(),
            recovery: above,
            pidfile: None,
            execution: Execution::default(),
            exclusive: None,
        }
    }

    /// The resource, now that its `kind` is known. Complains if it is exclusive, and its `group`
    /// does not accept what may come of that.
    pub(super) fn finish(self, kind: ResourceKind, group: &Doubles) -> Resource {
        let harm = self.harm(&kind, group);
        if let Some(harm) = harm.filter(|_| !group.accepted) {
            let at = self.section.at_field(&fields::TYPE);
            let danger = exclusive::danger(&kind.to_string(), &[harm]);
            self.section.problem(at, danger, harm.remedy(&group.name));
        }
        let Times {
            start_timeout,
            stop_timeout,
            monitor_timeout,
            monitor_interval,
        } = self.times;
        Resource {
            name: or_complained(self.name),
            kind,
            start_timeout,
            stop_timeout,
            monitor_timeout,
            monitor_interval,
            migration_threshold: self.recovery.migration_threshold,
            failure_timeout: self.recovery.failure_timeout,
            pidfile: self.pidfile,
            exclusive: harm.is_some(),
            execution: self.execution,
        }
    }

    /// What it does if two nodes run it at a time, by its own word, its group's, or the table.
    fn harm(&self, kind: &ResourceKind, group: &Doubles) -> Option<Harm> {
        if let ResourceKind::Vip(_) = kind {
            return None;
        }
        match self.exclusive.or(group.exclusive) {
            Some(false) => None,
            Some(true) => exclusive::by_table(kind).or(Some(Harm::Stated)),
            None => exclusive::by_table(kind),
        }
    }
}

/// What a group says of resources that two nodes run at a time.
#[derive(Default)]
pub(super) struct Doubles {
    /// Quoted.
    name: String,
    exclusive: Option<bool>,
    pub(super) accepted: bool,
}

impl Doubles {
    /// What the group in `section`, with this name, says.
    pub(super) fn read(section: &Section<'_>, name: Option<&str>) -> Self {
        let accepted = section.boolean(&fields::ACCEPT_DOUBLE_RUN);
        Self {
            name: quoted(name.unwrap_or_default()),
            exclusive: stated(section),
            accepted: accepted.is_some_and(|accepted| accepted.value),
        }
    }

    /// Warns of the group in `section` that accepts what none of its `resources` brings about.
    pub(super) fn warn_if_idle(&self, section: &Section<'_>, resources: &[Resource]) {
        if self.accepted && !resources.iter().any(|resource| resource.exclusive) {
            section.warning(
                section.at_field(&fields::ACCEPT_DOUBLE_RUN),
                "accept_double_run = true, but no resource of the group is exclusive",
                "remove it: it would silently accept what is added to the group later",
            );
        }
    }
}

fn stated(section: &Section<'_>) -> Option<bool> {
    section
        .boolean(&fields::EXCLUSIVE)
        .map(|exclusive| exclusive.value)
}

fn times(section: &Section<'_>) -> Times {
    use fields::{MONITOR_INTERVAL, MONITOR_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT};
    let timeout = |field| {
        section
            .text(field, values::duration(SHORTEST, HOUR))
            .map(|timeout| timeout.value)
    };
    Times {
        start_timeout: timeout(&START_TIMEOUT),
        stop_timeout: timeout(&STOP_TIMEOUT),
        monitor_timeout: timeout(&MONITOR_TIMEOUT),
        monitor_interval: section
            .text(
                &MONITOR_INTERVAL,
                values::duration_or_never(SHORTEST, 24 * HOUR),
            )
            .map(|interval| interval.value.unwrap_or(Duration::ZERO)),
    }
}
