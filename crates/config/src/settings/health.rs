//! `[[health]]`: the checks of a node's health.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    Check::Prose,
    Fallback::{Is, Required, Without},
    Reload::Health,
    settings,
};
use crate::{
    readers::{COUNT, Command, Number, Text, Time, Word, number, text},
    target,
    types::{HealthCheck, HealthKind, HttpTarget, Meaning, ProcessName},
    values,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Results in a row.
const RUN: Number<u32> = number(1, 1_000, COUNT);

settings! {
    /// How a node finds out whether it is well: up to 15 checks, whose results travel in its
    /// heartbeats. Their order, names, types and what their failure means are the same on all
    /// nodes; their subjects may differ.
    "[[health]]" of HealthCheck, "with two brackets";

    /// Name of the check, unlike that of any other.
    NAME: Text<String> = text(values::name, values::NAME) => {
        name: "name", default: Required, example: r#""disk""#,
        reload: Health, digest: true, check: Prose;
        |_, check| check.name.clone()
    }

    /// The kind of the check.
    TYPE: Word<&'static str> =
    Word { all: &HealthKind::NAMES, word: |name| name, other: "no type of health check" } => {
        name: "type", default: Required, example: r#""tcp""#,
        reload: Health, digest: true, check: Prose;
        |_, check| check.kind.name()
    }

    /// Good if the program exits with 0.
    EXEC: Command = Command => {
        name: "exec", default: Required, example: r#"["/usr/local/bin/is-well", "--fast"]"#,
        only: &["exec"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Exec(command) => Some(command.clone()),
            _ => None,
        }
    }

    /// Good if a connection to the address is accepted. Names are not looked up, for a resolver may
    /// hang: write an address, or localhost, which is 127.0.0.1.
    ADDRESS: Text<SocketAddr> = text(target::socket, "an IP address and a port") => {
        name: "address", default: Required, example: r#""127.0.0.1:5432""#,
        only: &["tcp"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Tcp(address) => Some(*address),
            _ => None,
        }
    }

    /// Good if a GET is answered by a status of 200 to 399. Names are not looked up, for a resolver
    /// may hang: write an address, or localhost, which is 127.0.0.1.
    URL: Text<HttpTarget> = text(target::http, "a URL of http with an IP address") => {
        name: "url", default: Required, example: r#""http://127.0.0.1:8080/healthz""#,
        only: &["http"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Http(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// Good while the process lives whose number stands in this file.
    PIDFILE: Text<PathBuf> = text(values::absolute_path, values::PATH) => {
        name: "pidfile", default: Without("`process` or `unit` names the process"),
        example: r#""/run/apache2.pid""#,
        only: &["process"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Process(ProcessName::PidFile(file)) => Some(file.clone()),
            _ => None,
        }
    }

    /// Good while a process with this name lives, as /proc/PID/comm has it.
    PROCESS: Text<String> = text(values::comm, "a name of at most 15 bytes") => {
        name: "process", default: Without("`pidfile` or `unit` names the process"),
        example: r#""haproxy""#,
        only: &["process"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Process(ProcessName::Name(name)) => Some(name.clone()),
            _ => None,
        }
    }

    /// Good while the main process of this unit of systemd lives.
    UNIT: Text<String> = text(values::service, "the name of a .service") => {
        name: "unit", default: Without("`pidfile` or `process` names the process"),
        example: r#""haproxy.service""#,
        only: &["process"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Process(ProcessName::Unit(unit)) => Some(unit.clone()),
            _ => None,
        }
    }

    /// Good if a file in this directory can be written and synced in time.
    PATH: Text<PathBuf> = text(values::absolute_path, values::PATH) => {
        name: "path", default: Required, example: r#""/var/lib/postgresql""#,
        only: &["disk"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Disk(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// Good while the interface has a carrier.
    INTERFACE: Text<String> = text(values::interface, values::INTERFACE) => {
        name: "interface", default: Required, example: r#""eth1""#,
        only: &["interface"], reload: Health, digest: false, check: Prose;
        |_, check| match &check.kind {
            HealthKind::Interface(interface) => Some(interface.clone()),
            _ => None,
        }
    }

    /// Time from the end of one check to the next.
    INTERVAL: Time = Time { low: Duration::from_millis(100), high: HOUR } => {
        name: "interval", default: Is(|| SECOND),
        reload: Health, digest: false, check: Prose;
        |_, check| check.interval
    }

    /// How long one check may take, also longer than the interval.
    TIMEOUT: Time = Time { low: Duration::from_millis(1), high: HOUR } => {
        name: "timeout", default: Is(|| SECOND),
        reload: Health, digest: false, check: Prose;
        |_, check| check.timeout
    }

    /// Results in a row that must be good until a failed check is well again.
    RISE: Number<u32> = RUN => {
        name: "rise", default: Is(|| 2),
        reload: Health, digest: false, check: Prose;
        |_, check| check.rise
    }

    /// Results in a row that must be bad until the check fails.
    FALL: Number<u32> = RUN => {
        name: "fall", default: Is(|| 2),
        reload: Health, digest: false, check: Prose;
        |_, check| check.fall
    }

    /// fatal: a node on which the check fails serves nothing, and acquires nothing. degraded: other
    /// nodes are preferred, by the degraded_points of [placement].
    FAILURE: Word<Meaning> =
    Word { all: &Meaning::ALL, word: Meaning::as_str, other: "not what a failure can mean" } => {
        name: "failure", default: Is(|| Meaning::Fatal), example: r#""degraded""#,
        reload: Health, digest: true, check: Prose;
        |_, check| check.meaning
    }
}
