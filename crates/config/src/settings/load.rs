//! `[load]`: how a node measures its load.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    Check::Prose,
    Fallback::{Is, Required, Without},
    Reload::Load,
    settings,
};
use crate::{
    readers::{Command, Text, Time, Word, text},
    types::LoadSource,
    values,
};

const MINUTE: Duration = Duration::from_secs(60);

settings! {
    /// How a node measures the load that its heartbeats carry: 0 to 1000 per mille. Each node may
    /// have it from elsewhere.
    "[load]" of ();

    /// host: for how much of the time something waits for a processor, for memory or for a disk
    /// (the kernel's pressure stall information; where it has none, as run-queue). cgroup: the same
    /// of one cgroup of version 2. run-queue: how many processes want to run; 1000 is two for each
    /// processor. command: the number that a program prints.
    SOURCE: Word<&'static str> =
    Word { all: &LoadSource::NAMES, word: |name| name, other: "no source of load" } => {
        name: "source", default: Is(|| LoadSource::Host.name()),
        reload: Load, digest: false, check: Prose;
        |config, _| config.load.source.name()
    }

    /// The program. It prints one whole number from 0 to 1000, and is killed when the next sample
    /// is due.
    COMMAND: Command = Command => {
        name: "command", default: Required, example: r#"["/usr/local/bin/load", "--per-mille"]"#,
        only: &["command"], reload: Load, digest: false, check: Prose;
        |config, _| match &config.load.source {
            LoadSource::Command(command) => Some(command.clone()),
            _ => None,
        }
    }

    /// The directory of the cgroup.
    CGROUP: Text<PathBuf> = text(values::absolute_path, values::PATH) => {
        name: "cgroup", default: Required, example: r#""/sys/fs/cgroup/system.slice""#,
        only: &["cgroup"], reload: Load, digest: false, check: Prose;
        |config, _| match &config.load.source {
            LoadSource::Cgroup(directory) => Some(directory.clone()),
            _ => None,
        }
    }

    /// Time from one sample to the next.
    INTERVAL: Time = Time { low: Duration::from_millis(100), high: MINUTE } => {
        name: "interval", default: Is(|| Duration::from_secs(1)),
        reload: Load, digest: false, check: Prose;
        |config, _| config.load.interval
    }

    /// The time after which a change counts by half; "0s" is at once.
    HALF_LIFE: Time = Time { low: Duration::ZERO, high: Duration::from_secs(600) } => {
        name: "half_life", default: Is(|| Duration::from_secs(5)),
        reload: Load, digest: false, check: Prose;
        |config, _| config.load.half_life
    }

    /// Where HAProxy on this host may ask for the weight that each node deserves (`agent-check`):
    /// docs/operate/health-and-load.md has the lines for haproxy.cfg.
    AGENT_CHECK: Text<SocketAddr> = text(values::listener, "an IP address and a port") => {
        name: "agent_check", default: Without("off"), example: r#""127.0.0.1:6949""#,
        reload: Load, digest: false, check: Prose;
        |config, _| config.load.agent_check
    }
}
