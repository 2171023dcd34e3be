//! A directory with agents, and the processes that they start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use heartbeat_core::resource::Action;
use heartbeat_user::{
    config::{Exec, Execution, Ocf, Resource, ResourceKind},
    process::{Process, read_pidfile},
    resources::{Agents, Done, Places},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Limit for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A host with its agents and state. Dropping it ends all processes that were noted in it.
pub(crate) struct Host {
    dir: PathBuf,
    pub agents: Agents,
}

impl Host {
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("heartbeat-resources-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let agents = Agents::new(places(&dir, &dir.join("ocf")));
        Self { dir, agents }
    }

    /// Returns a host with the installed agents.
    pub(crate) fn of_distribution() -> Self {
        let host = Self::new();
        let agents = Agents::new(places(&host.dir, Path::new("/usr/lib/ocf")));
        Self::swap(host, agents)
    }

    /// Returns a host with the units of the systemd on this bus.
    pub(crate) fn on_bus(address: &str) -> Self {
        let host = Self::new();
        let mut places = places(&host.dir, &host.dir.join("ocf"));
        places.bus = Some(address.to_owned());
        Self::swap(host, Agents::new(places))
    }

    fn swap(mut host: Self, agents: Agents) -> Self {
        host.agents = agents;
        host
    }

    /// Returns the agents as of a new agent process.
    pub(crate) fn restarted(&self) -> Agents {
        Agents::new(places(&self.dir, &self.dir.join("ocf")))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Makes agent `ocf:test:<name>`. In `script`, `$D` is the host's directory, and
    /// `note NAME PID` notes a process.
    pub(crate) fn agent(&self, name: &str, script: &str) -> Ocf {
        self.script(&format!("ocf/resource.d/test/{name}"), script);
        self.no_agent(name)
    }

    pub(crate) fn no_agent(&self, name: &str) -> Ocf {
        Ocf {
            provider: "test".to_owned(),
            agent: name.to_owned(),
            params: Vec::new(),
            check_level: 0,
        }
    }

    /// Makes an executable file, and returns its path.
    pub(crate) fn script(&self, name: &str, script: &str) -> String {
        let text = format!(
            "#!/bin/sh\nD={}\nnote() {{ echo $2 > $D/$1.new; mv $D/$1.new $D/$1.pid; }}\n\
             {script}\n",
            self.dir.display()
        );
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let source = self.path("source");
        fs::write(&source, text).unwrap();
        // Another process writes the file: a fork in another thread could hold a writing descriptor
        // of ours, and a file open for writing cannot be executed.
        let status = Command::new("install")
            .args(["-m", "755"])
            .args([&source, &path])
            .status();
        assert!(status.unwrap().success());
        path.display().to_string()
    }

    pub(crate) async fn act(&self, resource: &Resource, action: Action) -> Done {
        self.agents.act(resource, action, PATIENCE).await
    }

    /// Returns the process that a script noted.
    pub(crate) async fn noted(&self, name: &str) -> Process {
        let path = self.path(&format!("{name}.pid"));
        eventually(name, || {
            read_pidfile(&path).ok().flatten().and_then(Process::find)
        })
        .await
    }
}

fn places(dir: &Path, root: &Path) -> Places {
    Places {
        ocf_root: root.to_owned(),
        scratch: dir.join("scratch"),
        state: dir.join("state"),
        output: dir.join("output"),
        bus: None,
        node: "here".to_owned(),
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let noted = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in noted.filter(|entry| entry.path().extension().is_some_and(|e| e == "pid")) {
            if let Some(process) = read_pidfile(&entry.path()).ok().flatten() {
                end(process);
            }
        }
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// Ends a process that a script noted, if it still is one of ours.
fn end(pid: Pid) {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    if line.contains("sleep\0") || line.contains("heartbeat-resources-") {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

pub(crate) fn ocf(agent: Ocf) -> Resource {
    resource(ResourceKind::Ocf(agent))
}

pub(crate) fn service(run: &str, check: Option<&str>) -> Resource {
    let line = |path: &str| vec![path.to_owned()];
    resource(ResourceKind::Exec(Exec::Service {
        run: line(run),
        check: check.map(line),
    }))
}

pub(crate) fn resource(kind: ResourceKind) -> Resource {
    Resource {
        name: "thing".to_owned(),
        kind,
        start_timeout: None,
        stop_timeout: None,
        monitor_timeout: None,
        monitor_interval: None,
        migration_threshold: 3,
        failure_timeout: None,
        pidfile: None,
        exclusive: false,
        execution: Execution::default(),
    }
}

/// Waits until `attempt` returns a value.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the process is gone and its parent has nothing left to reap.
pub(crate) async fn gone(process: Process) {
    let path = format!("/proc/{}", process.pid);
    let there = || {
        let stat = fs::read_to_string(format!("{path}/stat")).ok()?;
        // Another process may have the id by now.
        let started = format!(" {} ", process.started.0);
        stat.contains(&started).then_some(())
    };
    eventually("the end of a process", || there().is_none().then_some(())).await;
}
