//! `[[group.resource]]`: what a group consists of.

use std::{path::PathBuf, time::Duration};

use heartbeat_common::prefix::ServedAddress;

use super::{
    Check::{Hidden, IfSet, Prose},
    Fallback::{Follows, Is, Required, Without},
    Reload::{Adjust, Identity, Replace},
    defaults::{FAILURE_TIMEOUTS, THRESHOLDS},
    settings,
};
use crate::{
    exclusive,
    readers::{COUNT, Command, Flag, Limits, Number, Pairs, Text, Time, TimeOrNever, number, text},
    resource_type::{self, Type},
    types::{Exec, Execution, Ocf, Resource, ResourceKind, StopSignal, Vip},
    values,
};

const SHORTEST: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How long an action may take.
const ACTION: Time = Time {
    low: SHORTEST,
    high: HOUR,
};

pub(crate) const VIP: &str = "vip";
pub(crate) const OCF: &str = "ocf";
pub(crate) const SYSTEMD: &str = "systemd";
pub(crate) const EXEC: &str = "exec";

settings! {
    /// The resources of the [[group]] above: started in this order, stopped in reverse.
    "[[group.resource]]" of Resource, "below its [[group]]";

    /// Name of the resource, unlike that of any other resource or VIP in the cluster.
    NAME: Text<String> = text(values::name, values::NAME) => {
        name: "name", default: Required, example: r#""webserver""#,
        reload: Identity, digest: true, check: Prose;
        |_, resource| resource.name.clone()
    }

    /// The kind of the resource. A unit without a suffix is a .service.
    TYPE: Text<Type> = text(resource_type::parse, resource_type::TAKES) => {
        name: "type", default: Required, example: r#""ocf:heartbeat:apache""#,
        reload: Replace, digest: true, check: Prose;
        |_, resource| Type::of(&resource.kind)
    }

    /// How long a start may take.
    START_TIMEOUT: Time = ACTION => {
        name: "start_timeout", default: Without("what the agent's meta-data says, else 20s"),
        example: r#""40s""#, reload: Adjust, digest: true, check: IfSet;
        |_, resource| resource.start_timeout
    }

    /// How long a stop may take.
    STOP_TIMEOUT: Time = ACTION => {
        name: "stop_timeout", default: Without("what the agent's meta-data says, else 20s"),
        example: r#""60s""#, reload: Adjust, digest: true, check: IfSet;
        |_, resource| resource.stop_timeout
    }

    /// How long a monitor may take.
    MONITOR_TIMEOUT: Time = ACTION => {
        name: "monitor_timeout", default: Without("what the agent's meta-data says, else 20s"),
        example: r#""20s""#, reload: Adjust, digest: true, check: IfSet;
        |_, resource| resource.monitor_timeout
    }

    /// Time from one monitor to the next.
    MONITOR_INTERVAL: TimeOrNever = TimeOrNever(Time { low: SHORTEST, high: HOUR.saturating_mul(24) })
    => {
        name: "monitor_interval", default: Without("what the agent's meta-data says, else 10s"),
        example: r#""10s""#, reload: Adjust, digest: true, check: IfSet;
        |_, resource| resource.monitor_interval.map(|time| (!time.is_zero()).then_some(time))
    }

    /// Failures after which the group leaves the node. 0 is never.
    MIGRATION_THRESHOLD: Number<u32> = THRESHOLDS => {
        name: "migration_threshold", default: Follows("as of the group"), example: "3",
        reload: Adjust, digest: true, check: Hidden;
        |_, resource| resource.migration_threshold
    }

    /// How long a failure counts; "never" is until `heartbeat cleanup`.
    FAILURE_TIMEOUT: TimeOrNever = FAILURE_TIMEOUTS => {
        name: "failure_timeout", default: Follows("as of the group"), example: r#""10min""#,
        reload: Adjust, digest: true, check: Hidden;
        |_, resource| resource.failure_timeout
    }

    /// A file with the number of a process, whose end is noticed at once as a failure.
    PIDFILE: Text<PathBuf> = text(values::absolute_path, values::PATH) => {
        name: "pidfile", default: Without("no process is watched"),
        example: r#""/run/apache2.pid""#, only: &[OCF, SYSTEMD],
        reload: Adjust, digest: true, check: Hidden;
        |_, resource| resource.pidfile.clone()
    }

    /// Whether the resource is exclusive, whatever the table of the group's setting says.
    EXCLUSIVE: Flag = Flag => {
        name: "exclusive", default: Without("as of the group"), example: "false",
        only: &[OCF, SYSTEMD, EXEC], reload: Adjust, digest: true, check: Prose;
        |_, resource| {
            // The digest has it only where it differs from the table's word, which follows from the
            // type.
            let stated = exclusive::by_table(&resource.kind).is_some() != resource.exclusive;
            stated.then_some(resource.exclusive)
        }
    }

    /// The address, as in [[vip]].
    ADDRESS: Text<ServedAddress> = text(values::served_address, values::SERVED) => {
        name: "address", default: Required, example: r#""10.0.0.100/24""#, only: &[VIP],
        reload: Replace, digest: true, check: Prose;
        |config, resource| vip(config, resource).map(|vip| vip.address)
    }

    /// The interface for the address, as in [[vip]].
    INTERFACE: Text<String> = text(values::interface, values::INTERFACE) => {
        name: "interface", default: Follows("the first link's"), example: r#""eth1""#,
        only: &[VIP], reload: Replace, digest: false, check: Prose;
        |config, resource| vip(config, resource).map(|vip| vip.interface.clone())
    }

    /// The agent's parameters. A number is written as the agent wants it: one like 0o640 goes into
    /// quotes.
    PARAMS: Pairs = PARAMETERS => {
        name: "params", noun: "parameter", default: Without("none"),
        example: r#"{ ip = "10.0.0.100", nic = "eth1" }"#, only: &[OCF],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| ocf(resource).map(|ocf| ocf.params.clone())
    }

    /// How thorough a monitor is (OCF_CHECK_LEVEL). What a level means, the agent's documents say.
    CHECK_LEVEL: Number<u32> = number(0, u32::MAX, COUNT) => {
        name: "check_level", default: Is(|| 0), example: "10", only: &[OCF],
        reload: Replace, digest: true, check: IfSet;
        |_, resource| ocf(resource).map(|ocf| ocf.check_level)
    }

    /// A program that runs for as long as the resource does. Its output goes to the log, and the
    /// last lines of it into the failure if it ends.
    RUN: Command = Command => {
        name: "run", default: Without("`start`, `stop` and `check` say how the resource runs"),
        example: r#"["/usr/local/bin/worker"]"#, only: &[EXEC],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| match &resource.kind {
            ResourceKind::Exec(Exec::Service { run, .. }) => Some(run.clone()),
            _ => None,
        }
    }

    /// Instead of `run`: a program that starts the resource and comes to an end.
    START: Command = Command => {
        name: "start", default: Required, example: r#"["/usr/local/bin/db", "start"]"#,
        only: &[EXEC], reload: Replace, digest: true, check: Hidden;
        |_, resource| match &resource.kind {
            ResourceKind::Exec(Exec::Commands { start, .. }) => Some(start.clone()),
            _ => None,
        }
    }

    /// Instead of `run`: a program that stops the resource and comes to an end.
    STOP: Command = Command => {
        name: "stop", default: Required, example: r#"["/usr/local/bin/db", "stop"]"#,
        only: &[EXEC], reload: Replace, digest: true, check: Hidden;
        |_, resource| match &resource.kind {
            ResourceKind::Exec(Exec::Commands { stop, .. }) => Some(stop.clone()),
            _ => None,
        }
    }

    /// A program that exits with 0 if the resource is well. With `start` and `stop`, it exits with
    /// 7 if the resource does not run.
    CHECK: Command = Command => {
        name: "check", default: Without("with `run`, a live process is enough"),
        example: r#"["/usr/local/bin/db", "check"]"#, only: &[EXEC],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| match &resource.kind {
            ResourceKind::Exec(Exec::Service { check, .. }) => check.clone(),
            ResourceKind::Exec(Exec::Commands { check, .. }) => Some(check.clone()),
            _ => None,
        }
    }

    /// The user of the resource's programs. The supplementary groups are the user's in any case.
    USER: Text<String> = text(values::account, values::ACCOUNT) => {
        name: "user", default: Without("root"), example: r#""postgres""#, only: &[EXEC],
        reload: Replace, digest: true, check: Prose;
        |_, resource| resource.execution.user.clone()
    }

    /// The group of the resource's programs.
    GROUP: Text<String> = text(values::account, values::ACCOUNT) => {
        name: "group", default: Without("the user's own"), example: r#""postgres""#, only: &[EXEC],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| resource.execution.group.clone()
    }

    /// Variables beside PATH and LC_ALL, and HOME, USER, LOGNAME and SHELL where `user` is given.
    ENVIRONMENT: Pairs = VARIABLES => {
        name: "environment", noun: "variable", default: Without("none"),
        example: r#"{ PGDATA = "/srv/pg", LANG = "C.UTF-8" }"#, only: &[OCF, EXEC],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| {
            let environment = &resource.execution.environment;
            (!environment.is_empty()).then(|| environment.clone())
        }
    }

    /// The working directory of the resource's programs.
    DIRECTORY: Text<PathBuf> = text(values::absolute_path, values::PATH) => {
        name: "directory", default: Without("/"), example: r#""/srv/pg""#, only: &[EXEC],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| resource.execution.directory.clone()
    }

    /// With `run`: the signal that asks the program to end. SIGKILL follows after stop_timeout.
    /// PostgreSQL waits for its clients on SIGTERM, and ends at once on SIGINT.
    STOP_SIGNAL: Text<StopSignal> = text(values::stop_signal, values::STOP_SIGNAL) => {
        name: "stop_signal", default: Is(|| StopSignal::Term), example: r#""SIGINT""#, only: &[EXEC],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| resource.execution.stop_signal
    }

    /// Limits of the resource's programs, by the names of setrlimit(2).
    LIMITS: Limits = Limits => {
        name: "limits", noun: "limit", default: Without("what the agent has"),
        example: r#"{ nofile = 65536, core = "unlimited" }"#, only: &[EXEC],
        reload: Replace, digest: true, check: Hidden;
        |_, resource| {
            let Execution { limits, .. } = &resource.execution;
            (!limits.is_empty()).then(|| limits.clone())
        }
    }
}

const PARAMETERS: Pairs = Pairs {
    judge: |name| match values::is_parameter(name) {
        true => Ok(()),
        false => Err((
            " is not a usable name",
            "use letters, digits, `_` and `-`, as the agent's meta-data name it",
        )),
    },
    takes: "a table of strings, integers and booleans",
};

const VARIABLES: Pairs = Pairs {
    judge: |name| match values::is_variable(name) {
        true => Ok(()),
        false => Err((
            " is not a usable name",
            "use letters, digits and `_`, and no digit at the start",
        )),
    },
    takes: PARAMETERS.takes,
};

/// The variables of an OCF agent, which has some from heartbeat.
pub(crate) const VARIABLES_OF_AGENTS: Pairs = Pairs {
    judge: |name| match name.starts_with("OCF_") {
        false => (VARIABLES.judge)(name),
        true => Err((
            " is one that heartbeat sets for the agent",
            "what an agent is told is in `params`",
        )),
    },
    takes: PARAMETERS.takes,
};

fn vip<'c>(config: &'c crate::Config, resource: &Resource) -> Option<&'c Vip> {
    match &resource.kind {
        ResourceKind::Vip(index) => config.vips.get(*index),
        _ => None,
    }
}

fn ocf(resource: &Resource) -> Option<&Ocf> {
    match &resource.kind {
        ResourceKind::Ocf(ocf) => Some(ocf),
        _ => None,
    }
}
