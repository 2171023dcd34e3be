//! Units of a real systemd, started by the test in namespaces and a control group of its own.
//!
//! This systemd is a user's manager, with the interface of the system's. The test needs root,
//! systemd and dbus-daemon; without them the test prints SKIP and passes.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use heartbeat_core::resource::{Action, ExitCode, Outcome};
use heartbeat_user::{
    config::{Resource, ResourceKind},
    resources::TIMEOUT,
};

use crate::support::{Host, PATIENCE, eventually, resource};

const OUTSIDE: &str = include_str!("../../../tests/fixtures/systemd/outside.sh");
const INSIDE: &str = include_str!("../../../tests/fixtures/systemd/inside.sh");

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>systemd:</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow own="*"/></policy></busconfig>"#;

const BARE: &str = "[Unit]\nDefaultDependencies=no\n";

/// A manager of units. Dropping it ends its processes and its control group.
struct Manager {
    process: Child,
    dir: PathBuf,
    group: PathBuf,
    host: Host,
}

impl Manager {
    /// Returns `None`, and prints why, if none can run here.
    async fn start() -> Option<Self> {
        let group = match hierarchy() {
            _ if !nix::unistd::geteuid().is_root() => return skipped("needs root"),
            None => return skipped("needs a mounted cgroup2"),
            Some(hierarchy) => hierarchy,
        };
        for program in ["/lib/systemd/systemd", "/usr/bin/dbus-daemon"] {
            if !Path::new(program).exists() {
                return skipped(&format!("needs {program}; run `cargo xtask setup --test`"));
            }
        }
        let name = format!("heartbeat-systemd-{}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        for part in ["run", "units"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        for (file, text) in [
            ("outside.sh", OUTSIDE.to_owned()),
            ("inside.sh", INSIDE.to_owned()),
            ("bus.conf", BUS.to_owned()),
            (
                "units/dbus.socket",
                format!("{BARE}[Socket]\nListenStream=%t/bus\n"),
            ),
            (
                "units/dbus.service",
                format!(
                    "{BARE}Requires=dbus.socket\n[Service]\nExecStart=/usr/bin/dbus-daemon \
                     --config-file={}/bus.conf --nofork --nopidfile\n",
                    dir.display()
                ),
            ),
            (
                "units/default.target",
                format!("{BARE}Wants=dbus.socket dbus.service\n"),
            ),
            ("units/basic.target", BARE.to_owned()),
            ("units/sysinit.target", BARE.to_owned()),
            ("units/shutdown.target", BARE.to_owned()),
        ] {
            fs::write(dir.join(file), text).unwrap();
        }
        let process = Command::new("unshare")
            .args(["--mount", "sh", "outside.sh"])
            .env("NAME", &name)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let host = Host::on_bus(&format!("unix:path={}/run/bus", dir.display()));
        let mut manager = Self {
            process,
            dir,
            group: group.join(name),
            host,
        };
        manager.wait().await;
        Some(manager)
    }

    async fn wait(&mut self) {
        let socket = self.dir.join("run/bus");
        eventually("systemd's bus", || {
            let ended = self.process.try_wait().unwrap();
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "systemd ended: {}", log());
            socket.exists().then_some(())
        })
        .await;
        // The bus may be there before systemd is on it.
        let until = std::time::Instant::now() + PATIENCE;
        while self
            .act("none.service", Action::Probe)
            .await
            .1
            .contains("could not ask")
        {
            assert!(
                std::time::Instant::now() < until,
                "systemd is not on its bus"
            );
        }
    }

    fn unit(&self, name: &str, text: &str) {
        fs::write(self.dir.join("units").join(name), text).unwrap();
    }

    async fn act(&self, unit: &str, action: Action) -> (Outcome, String) {
        let done = self.host.act(&of(unit), action).await;
        (done.outcome, done.message)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // The first process of the namespace takes all others with it.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let until = std::time::Instant::now() + PATIENCE;
        while remove_group(&self.group).is_err() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Returns the host's unified hierarchy of control groups.
fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut mounts = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    mounts.find_map(|fields| (fields.get(2) == Some(&"cgroup2")).then(|| fields[1].into()))
}

/// Removes control groups from the innermost one out, once they are empty.
fn remove_group(path: &Path) -> std::io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn skipped<T>(reason: &str) -> Option<T> {
    let _ = writeln!(
        std::io::stderr(),
        "SKIP units_are_started_monitored_and_stopped_by_systemd: {reason}"
    );
    None
}

fn of(unit: &str) -> Resource {
    resource(ResourceKind::Systemd(unit.to_owned()))
}

#[tokio::test]
async fn units_are_started_monitored_and_stopped_by_systemd() {
    let Some(manager) = Manager::start().await else {
        return;
    };
    manager.unit(
        "web.service",
        "[Service]\nExecStart=/bin/sleep 600\nTimeoutStartSec=33\nTimeoutStopSec=7\n",
    );
    manager.unit(
        "bad.service",
        "[Service]\nExecStart=/bin/false\nType=oneshot\n",
    );
    manager.unit(
        "brief.service",
        "[Service]\nExecStart=/bin/true\nType=oneshot\n",
    );
    manager.unit(
        "stuck.service",
        "[Service]\nExecStart=/bin/sleep 600\nType=notify\n",
    );
    let web = of("web.service");

    // Start and stop again.
    let seen = manager.act("web.service", Action::Probe).await;
    assert_eq!(seen.0, Outcome::NOT_RUNNING, "{}", seen.1);
    assert_eq!(
        manager.act("web.service", Action::Start).await,
        (Outcome::OK, String::new())
    );
    assert_eq!(
        manager.act("web.service", Action::Start).await.0,
        Outcome::OK
    );
    assert_eq!(
        manager.act("web.service", Action::Monitor).await.0,
        Outcome::OK
    );
    let early = tokio::time::timeout(Duration::from_millis(100), manager.host.agents.ended(&web));
    assert!(early.await.is_err(), "it has not ended yet");

    // The end of a unit is noticed, and a failed one is reported.
    let fail = async {
        let bus = manager.dir.join("run/bus");
        let status = tokio::process::Command::new("busctl")
            .arg(format!("--address=unix:path={}", bus.display()))
            .args([
                "call",
                "org.freedesktop.systemd1",
                "/org/freedesktop/systemd1",
            ])
            .args(["org.freedesktop.systemd1.Manager", "KillUnit", "ssi"])
            .args(["web.service", "all", "9"])
            .status();
        assert!(status.await.unwrap().success());
    };
    let both = async { tokio::join!(manager.host.agents.ended(&web), fail) };
    tokio::time::timeout(PATIENCE, both).await.expect("noticed");
    let (outcome, message) = manager.act("web.service", Action::Monitor).await;
    assert_eq!(outcome, Outcome::Exited(ExitCode::GENERIC_ERROR));
    assert!(message.contains("result: signal"), "{message}");
    assert_eq!(
        manager.act("web.service", Action::Stop).await.0,
        Outcome::OK
    );
    let seen = manager.act("web.service", Action::Probe).await;
    assert_eq!(
        seen.0,
        Outcome::NOT_RUNNING,
        "what was stopped is clean: {}",
        seen.1
    );
    assert_eq!(
        manager.act("web.service", Action::Stop).await.0,
        Outcome::OK
    );

    // The unit's own timeouts, plus a margin.
    let timeouts = manager.host.agents.timeouts(&web).await;
    assert_eq!(timeouts.start, Duration::from_secs(33 + 5));
    assert_eq!(timeouts.stop, Duration::from_secs(7 + 5));
    assert_eq!(timeouts.monitor, TIMEOUT);

    // Units that do not start, and the reasons.
    let (outcome, message) = manager.act("bad.service", Action::Start).await;
    assert_eq!(outcome, Outcome::Exited(ExitCode::GENERIC_ERROR));
    assert!(
        message.contains("failed") && message.contains("exit-code"),
        "{message}"
    );
    let (outcome, message) = manager.act("brief.service", Action::Start).await;
    assert_eq!(outcome, Outcome::Exited(ExitCode::GENERIC_ERROR));
    assert!(message.contains("RemainAfterExit"), "{message}");
    let (outcome, message) = manager.act("none.service", Action::Start).await;
    assert_eq!(outcome, Outcome::Exited(ExitCode::NOT_INSTALLED));
    assert!(message.contains("no unit none.service"), "{message}");
    let seen = manager.act("none.service", Action::Probe).await;
    assert_eq!(seen.0, Outcome::Exited(ExitCode::NOT_INSTALLED));
    assert_eq!(
        manager.act("none.service", Action::Stop).await.0,
        Outcome::OK
    );
    assert_eq!(
        manager
            .host
            .agents
            .validate(&of("none.service"))
            .await
            .len(),
        1
    );
    assert_eq!(
        manager.host.agents.validate(&web).await,
        Vec::<String>::new()
    );
    let short = Duration::from_millis(500);
    let stuck = manager
        .host
        .agents
        .act(&of("stuck.service"), Action::Start, short)
        .await;
    assert_eq!(stuck.outcome, Outcome::TimedOut, "{}", stuck.message);
    assert_eq!(
        manager.act("stuck.service", Action::Stop).await.0,
        Outcome::OK
    );
}
