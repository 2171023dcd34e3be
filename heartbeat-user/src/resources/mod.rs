//! Executes actions on resources, by the means of each kind.
//!
//! This module decides nothing: the choice of action and time, and the consequences of a result,
//! are made elsewhere.

mod done;
mod exec;
mod exits;
pub mod ocf;
mod output;
mod pidfile;
pub(crate) mod systemd;
mod timeouts;

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use heartbeat_core::resource::{Action, Finding, Outcome};

pub use self::{
    done::Done,
    exits::{End, Unwatched, Watcher},
    output::Forwarder,
    timeouts::{INTERVAL, TIMEOUT, Timeouts},
};
use self::{exec::Services, ocf::Library, systemd::Systemd, timeouts::Advice};
use crate::{
    config::{Config, Exec, Resource, ResourceKind},
    helper,
};

/// Variable that replaces [`ocf::ROOT`] by another directory, as in the framework.
const OCF_ROOT: &str = "OCF_ROOT";

/// A stop that takes this long is logged.
const SLOW_STOP: Duration = Duration::from_secs(1);

/// The directories and addresses for the execution of actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub ocf_root: PathBuf,
    /// `HA_RSCTMP` of OCF agents.
    pub scratch: PathBuf,
    /// Directory of state that must outlive the agent.
    pub state: PathBuf,
    /// Directory of the output of resources' programs.
    pub output: PathBuf,
    /// D-Bus address of systemd; `None` is the system bus.
    pub bus: Option<String>,
    /// The local node's name.
    pub node: String,
}

impl Places {
    /// Returns the usual places. The environment variable `OCF_ROOT` is honoured.
    pub fn of(config: &Config) -> Self {
        let root = std::env::var_os(OCF_ROOT).filter(|root| !root.is_empty());
        Self {
            ocf_root: root.unwrap_or_else(|| OsString::from(ocf::ROOT)).into(),
            scratch: ocf::SCRATCH.into(),
            state: config.state_dir(),
            output: config.output_dir(),
            bus: None,
            node: config.local().name.clone(),
        }
    }
}

/// Executes actions on all resources except addresses.
#[derive(Debug)]
pub struct Agents {
    library: Library,
    services: Services,
    systemd: Systemd,
    watcher: Option<Watcher>,
    /// Names of resources that failed since their last start.
    failed: Mutex<HashSet<String>>,
}

impl Agents {
    pub fn new(places: Places) -> Self {
        Self {
            library: Library::new(places.ocf_root, places.scratch, places.node),
            services: Services::new(&places.state, &places.output),
            systemd: Systemd { bus: places.bus },
            watcher: None,
            failed: Mutex::default(),
        }
    }

    /// Returns the same, with a way to receive the ends of processes from the kernel.
    pub fn with_watcher(self, watcher: Watcher) -> Self {
        Self {
            watcher: Some(watcher),
            ..self
        }
    }

    /// Executes `action`, for at most `timeout` plus the time of killing.
    ///
    /// Dropping the future kills the running agent; a unit's job and an exec resource's program
    /// continue.
    pub async fn act(&self, resource: &Resource, action: Action, timeout: Duration) -> Done {
        let began = Instant::now();
        if action == Action::Start && self.failed().remove(&resource.name) {
            self.clear(resource).await;
        }
        let done = match &resource.kind {
            ResourceKind::Ocf(agent) => self.library.act(resource, agent, action, timeout).await,
            ResourceKind::Systemd(unit) => self.systemd.act(unit, action, timeout).await,
            ResourceKind::Exec(exec) => self.services.act(resource, exec, action, timeout).await,
            ResourceKind::Vip(_) => {
                Done::at_once(Outcome::NotStarted, "an address has no resource agent")
            }
        };
        if action == Action::Monitor && done.outcome.finding(action) != Finding::Well {
            self.failed().insert(resource.name.clone());
        }
        let done = Done {
            took: began.elapsed(),
            ..done
        };
        if action == Action::Stop {
            log_stop(resource, &done);
        }
        match action {
            Action::Start | Action::Stop => done,
            Action::Probe | Action::Monitor => done.of_query(),
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the remaining processes of a dead service: such a worker may hold what the next run
    /// needs.
    async fn clear(&self, resource: &Resource) {
        if let Err(error) = helper::clear(&resource.name).await {
            log::warn!(
                "{}: could not end the remaining processes of its last run: {error}",
                resource.name
            );
        }
    }

    /// Returns the timeouts of `resource`. The first call runs its agent for its meta-data.
    pub async fn timeouts(&self, resource: &Resource) -> Timeouts {
        let advice = match &resource.kind {
            ResourceKind::Ocf(agent) => self.library.advice(agent).await,
            ResourceKind::Systemd(unit) => self.systemd.advice(unit).await,
            ResourceKind::Exec(_) | ResourceKind::Vip(_) => Advice::default(),
        };
        Timeouts::of(resource, advice)
    }

    /// Ends when a process of the running `resource` has ended, and returns a description; never
    /// ends if no process is known. Must be called after the start.
    pub async fn ended(&self, resource: &Resource) -> String {
        let own = async {
            match &resource.kind {
                ResourceKind::Systemd(unit) => {
                    self.systemd.ended(unit).await;
                    String::new()
                }
                ResourceKind::Exec(_) => {
                    unless_unwatchable(resource, self.services.ended(resource)).await
                }
                ResourceKind::Ocf(_) | ResourceKind::Vip(_) => std::future::pending().await,
            }
        };
        let named = async {
            match &resource.pidfile {
                Some(file) => {
                    let end = pidfile::end_of(file.clone(), self.watcher.as_ref());
                    unless_unwatchable(resource, end).await;
                    String::new()
                }
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = own => message,
            message = named => message,
        };
        self.failed().insert(resource.name.clone());
        message
    }

    /// Returns faults in the parameters of `resource` by its agent's meta-data; empty also for an
    /// agent without meta-data.
    pub async fn account(&self, resource: &Resource) -> Vec<String> {
        match &resource.kind {
            ResourceKind::Ocf(agent) => self.library.account(agent).await,
            ResourceKind::Systemd(_) | ResourceKind::Exec(_) | ResourceKind::Vip(_) => Vec::new(),
        }
    }

    /// Returns faults in the configuration of `resource` that show without a start.
    pub async fn validate(&self, resource: &Resource) -> Vec<String> {
        match &resource.kind {
            ResourceKind::Ocf(agent) => self.library.validate(resource, agent).await,
            ResourceKind::Systemd(unit) => self.systemd.validate(unit).await,
            ResourceKind::Exec(exec) => programs(exec).filter_map(unusable).collect(),
            ResourceKind::Vip(_) => Vec::new(),
        }
    }
}

/// Waits for ever if the process cannot be watched: monitors then find its end.
async fn unless_unwatchable<T>(
    resource: &Resource,
    end: impl Future<Output = std::io::Result<T>>,
) -> T {
    match end.await {
        Ok(said) => said,
        Err(error) => {
            log::warn!(
                "cannot watch the process of {}, which is monitored only: {error}",
                resource.name
            );
            std::future::pending().await
        }
    }
}

/// Logs a stop that took long, or that ended with a kill.
fn log_stop(resource: &Resource, done: &Done) {
    let name = &resource.name;
    let took = done.took.as_secs_f64();
    if done.outcome != Outcome::OK {
        return;
    }
    match (&resource.kind, done.message.as_str()) {
        (ResourceKind::Exec(Exec::Service { .. }), killed) if !killed.is_empty() => log::warn!(
            "resource {name}: {killed}; the stop took {took:.1} s; if the program ends on another \
             signal, name it in stop_signal"
        ),
        _ if done.took >= SLOW_STOP => log::info!("resource {name}: the stop took {took:.1} s"),
        _ => {}
    }
}

fn programs(exec: &Exec) -> impl Iterator<Item = &Path> {
    let lines = match exec {
        Exec::Service { run, check } => [Some(run), check.as_ref(), None],
        Exec::Commands { start, stop, check } => [Some(start), Some(stop), Some(check)],
    };
    lines
        .into_iter()
        .flatten()
        .filter_map(|line| line.first())
        .map(Path::new)
}

fn unusable(program: &Path) -> Option<String> {
    let error = nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).err()?;
    Some(format!("cannot run {}: {error}", program.display()))
}
