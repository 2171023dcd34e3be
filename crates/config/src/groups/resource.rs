//! `[[group.resource]]`: what a group consists of.

use std::{path::PathBuf, time::Duration};

use super::{
    kind::{self, Kind, Typed},
    policy::Recovery,
};
use crate::{
    exclusive::{self, Harm},
    read::{At, Section, or_reported},
    report::quoted,
    settings::{
        group,
        resource::{
            EXCLUSIVE, MONITOR_INTERVAL, MONITOR_TIMEOUT, NAME, START_TIMEOUT, STOP_TIMEOUT, TABLE,
            TYPE,
        },
    },
    types::{Execution, Resource, ResourceKind},
};

/// A resource as read.
pub(super) struct Draft<'a> {
    pub(super) section: Section<'a>,
    pub(super) name: Option<At<String>>,
    /// `None` if it is bad, which was reported.
    pub(super) kind: Option<Kind>,
    times: Times,
    recovery: Recovery,
    pidfile: Option<PathBuf>,
    execution: Execution,
    /// Whether two nodes that run it at a time do harm, if the file says.
    exclusive: Option<bool>,
}

#[derive(Default)]
struct Times {
    start_timeout: Option<Duration>,
    stop_timeout: Option<Duration>,
    monitor_timeout: Option<Duration>,
    monitor_interval: Option<Duration>,
}

/// The resources of `group`, which recover as `above` says unless they say otherwise.
pub(super) fn read<'a>(group: &Section<'a>, above: Recovery) -> Vec<Draft<'a>> {
    if group.lacks(&TABLE) {
        group.missing(&TABLE);
    }
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
            name: NAME.read(&section),
            kind,
            times: times(&section),
            recovery: above.of_resource(&section),
            pidfile,
            execution,
            exclusive: EXCLUSIVE.value(&section),
            section,
        }
    };
    TABLE
        .open_all(group, label)
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
            kind: Some(kind::of_vip(vip)),
            times: Times::default(),
            recovery: above,
            pidfile: None,
            execution: Execution::default(),
            exclusive: None,
        }
    }

    /// The resource, now that its `kind` is known. Reports an exclusive one whose `group` does not
    /// accept that two nodes may run it.
    pub(super) fn finish(self, kind: ResourceKind, group: &Doubles) -> Resource {
        let harm = self.harm(&kind, group);
        if let Some(harm) = harm.filter(|_| !group.accepted) {
            let at = self.section.at_field(&TYPE);
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
            name: or_reported(self.name),
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

    /// The harm that two nodes do which run it at a time: by its own setting, its group's, or the
    /// table's.
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

/// The settings of a group about resources that two nodes run at a time.
#[derive(Default)]
pub(super) struct Doubles {
    /// Quoted.
    name: String,
    exclusive: Option<bool>,
    pub(super) accepted: bool,
}

impl Doubles {
    /// The settings of the group in `section`, which has this name.
    pub(super) fn read(section: &Section<'_>, name: Option<&str>) -> Self {
        Self {
            name: quoted(name.unwrap_or_default()),
            exclusive: group::EXCLUSIVE.value(section),
            accepted: group::ACCEPT_DOUBLE_RUN.or_default(section),
        }
    }

    /// Warns of the group in `section` that accepts what none of its `resources` brings about.
    pub(super) fn warn_if_idle(&self, section: &Section<'_>, resources: &[Resource]) {
        if self.accepted && !resources.iter().any(|resource| resource.exclusive) {
            section.warning(
                section.at_field(&group::ACCEPT_DOUBLE_RUN),
                "accept_double_run = true, but no resource of the group is exclusive",
                "remove it: it would silently accept what is added to the group later",
            );
        }
    }
}

fn times(section: &Section<'_>) -> Times {
    // Zero stands for never.
    let interval = MONITOR_INTERVAL.value(section);
    Times {
        start_timeout: START_TIMEOUT.value(section),
        stop_timeout: STOP_TIMEOUT.value(section),
        monitor_timeout: MONITOR_TIMEOUT.value(section),
        monitor_interval: interval.map(Option::unwrap_or_default),
    }
}
