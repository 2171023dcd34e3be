//! Runs the agents of the Open Cluster Framework, by its resource agent API 1.1.
//!
//! This module finds an agent, sets its environment and reads its meta-data. When to call an agent
//! is decided elsewhere.

mod environment;
pub mod metadata;

use std::{
    collections::HashMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use heartbeat_core::resource::{Action, ExitCode};
use tokio::sync::OnceCell;

use self::{
    environment::{Call, Surroundings},
    metadata::MetaData,
};
use super::{
    done::Done,
    timeouts::{self, Advice},
};
use crate::{
    config::{Ocf, Resource},
    helper,
    process::Program,
};

/// Directory of the agents in Debian and other distributions.
pub const ROOT: &str = "/usr/lib/ocf";
/// `HA_RSCTMP` of resource-agents: files that agents keep while the host is up.
pub const SCRATCH: &str = "/run/resource-agents";
/// Limit for an agent's meta-data action.
const META_DATA_LIMIT: Duration = Duration::from_secs(10);
/// Limit in bytes for the meta-data: ten times the longest known.
const META_DATA_ROOM: usize = 1 << 20;

type Known = OnceCell<Option<Arc<MetaData>>>;

/// The agents of a host.
#[derive(Debug)]
pub(super) struct Library {
    pub root: PathBuf,
    pub scratch: PathBuf,
    pub node: String,
    /// The agents' meta-data by path; `None` for an agent without usable ones.
    known: Mutex<HashMap<PathBuf, Arc<Known>>>,
}

impl Library {
    pub(super) fn new(root: PathBuf, scratch: PathBuf, node: String) -> Self {
        Self {
            root,
            scratch,
            node,
            known: Mutex::default(),
        }
    }

    pub(super) async fn act(
        &self,
        resource: &Resource,
        agent: &Ocf,
        action: Action,
        timeout: Duration,
    ) -> Done {
        let (name, interval, check_level) = match action {
            Action::Start => ("start", Duration::ZERO, 0),
            Action::Stop => ("stop", Duration::ZERO, 0),
            // An agent treats a monitor without an interval as a probe.
            Action::Probe => ("monitor", Duration::ZERO, 0),
            Action::Monitor => {
                let interval = resource.monitor_interval.filter(|every| !every.is_zero());
                let interval = interval.unwrap_or(timeouts::INTERVAL);
                ("monitor", interval, agent.check_level)
            }
        };
        self.call(&Call {
            instance: &resource.name,
            agent,
            action: name,
            timeout,
            interval,
            check_level,
            environment: &resource.execution.environment,
        })
        .await
    }

    /// Runs the agent's validation of its parameters, and compares them with its meta-data. Returns
    /// the faults.
    pub(super) async fn validate(&self, resource: &Resource, agent: &Ocf) -> Vec<String> {
        let mut findings = Vec::new();
        let data = match self.meta_data(agent).await {
            Ok(Some(data)) => data,
            Ok(None) => {
                findings.push(format!(
                    "{}: its meta-data is not usable",
                    self.path(agent).display()
                ));
                Arc::default()
            }
            Err(done) => return vec![done.message],
        };
        findings.extend(judge(&data, agent));
        let timeout = data
            .action("validate-all", 0)
            .and_then(|action| action.timeout);
        let done = self
            .call(&Call {
                instance: &resource.name,
                agent,
                action: "validate-all",
                timeout: timeout.unwrap_or(timeouts::TIMEOUT),
                interval: Duration::ZERO,
                check_level: 0,
                environment: &resource.execution.environment,
            })
            .await;
        // The action is optional for an agent.
        let unable = Done::exited(ExitCode::UNIMPLEMENTED, "").outcome;
        if !matches!(done.outcome, heartbeat_core::resource::Outcome::OK) && done.outcome != unable
        {
            findings.push(format!("validate-all: {}: {}", done.outcome, done.message));
        }
        findings
    }

    /// Returns the faults of the parameters by the agent's meta-data, if there are any.
    pub(super) async fn account(&self, agent: &Ocf) -> Vec<String> {
        match self.meta_data(agent).await {
            Ok(Some(data)) => judge(&data, agent),
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    /// Returns the agent's advice.
    pub(super) async fn advice(&self, agent: &Ocf) -> Advice {
        let Ok(Some(data)) = self.meta_data(agent).await else {
            return Advice::default();
        };
        let timeout = |name| data.action(name, 0).and_then(|action| action.timeout);
        let monitor = data.action("monitor", agent.check_level);
        Advice {
            start: timeout("start"),
            stop: timeout("stop"),
            monitor: monitor.and_then(|action| action.timeout),
            interval: monitor.and_then(|action| action.interval),
        }
    }

    /// Returns the agent's meta-data, which is read once. `None` if it is not usable; an error if
    /// the agent does not exist, which may change later.
    pub(super) async fn meta_data(&self, agent: &Ocf) -> Result<Option<Arc<MetaData>>, Done> {
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(self.path(agent)).or_default())
        };
        cell.get_or_try_init(|| self.ask_meta_data(agent))
            .await
            .cloned()
    }

    async fn ask_meta_data(&self, agent: &Ocf) -> Result<Option<Arc<MetaData>>, Done> {
        // The meta-data belongs to the agent, not to a resource.
        let bare = Ocf {
            params: Vec::new(),
            ..agent.clone()
        };
        let mut program = self.program(&Call {
            instance: &agent.agent,
            agent: &bare,
            action: "meta-data",
            timeout: META_DATA_LIMIT,
            interval: Duration::ZERO,
            check_level: 0,
            environment: &[],
        });
        program.keep = META_DATA_ROOM;
        let ended = match helper::run(&program, META_DATA_LIMIT).await {
            Ok(ended) => ended,
            Err(error) => return Err(self.not_run(agent, &error)),
        };
        match MetaData::parse(&ended.stdout) {
            Ok(data) => Ok(Some(Arc::new(data))),
            Err(error) => {
                log::warn!(
                    "{}: {error}; timeouts that are not configured are the default",
                    program.path.display()
                );
                Ok(None)
            }
        }
    }

    async fn call(&self, call: &Call<'_>) -> Done {
        if let Err(error) = make_scratch(&self.scratch) {
            // Most agents never use the directory, and those that do report its absence.
            log::debug!("could not make {}: {error}", self.scratch.display());
        }
        let program = self.program(call).of_resource(call.instance);
        match helper::run(&program, call.timeout).await {
            Ok(ended) => Done::of(&ended),
            Err(error) => self.not_run(call.agent, &error),
        }
    }

    fn program(&self, call: &Call<'_>) -> Program {
        let around = Surroundings {
            root: &self.root,
            scratch: &self.scratch,
            node: &self.node,
        };
        let mut program = Program::new(self.path(call.agent));
        program.args.push(call.action.to_owned());
        program
            .environment
            .extend(environment::variables(call, around));
        program
    }

    fn path(&self, agent: &Ocf) -> PathBuf {
        self.root
            .join("resource.d")
            .join(&agent.provider)
            .join(&agent.agent)
    }

    fn not_run(&self, agent: &Ocf, error: &io::Error) -> Done {
        let path = self.path(agent);
        let done = Done::not_run(&path, error);
        if path.exists() {
            return done;
        }
        let hint = match package(&agent.provider) {
            Some(package) => format!(
                "Debian's package {package} has the agents of {}",
                agent.provider
            ),
            None => format!(
                "install the package that has the agents of {}",
                agent.provider
            ),
        };
        let message = format!("there is no agent {}: {hint}", path.display());
        Done { message, ..done }
    }
}

/// Returns the package with a provider's agents.
fn package(provider: &str) -> Option<&'static str> {
    match provider {
        "heartbeat" => Some("resource-agents"),
        "pacemaker" => Some("pacemaker-resource-agents"),
        "linbit" => Some("drbd-utils"),
        "rabbitmq" => Some("rabbitmq-server"),
        _ => None,
    }
}

/// Creates the directory as the package's tmpfiles.d does.
fn make_scratch(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o1755).create(path)
}

/// Returns the faults of an agent's parameters by its meta-data.
fn judge(data: &MetaData, agent: &Ocf) -> Vec<String> {
    let mut findings = Vec::new();
    if !data.parameters.is_empty() {
        for (name, _) in &agent.params {
            if data.parameters.iter().any(|known| known.name == *name) {
                continue;
            }
            let near = data
                .parameters
                .iter()
                .map(|known| (strsim::damerau_levenshtein(&known.name, name), &known.name))
                .filter(|(distance, _)| *distance <= 2)
                .min();
            findings.push(match near {
                Some((_, near)) => format!("it has no parameter `{name}`; did you mean `{near}`?"),
                None => format!("it has no parameter `{name}`"),
            });
        }
    }
    for wanted in data.parameters.iter().filter(|known| known.required) {
        let given = agent.params.iter().any(|(name, _)| *name == wanted.name);
        if !given && wanted.default.is_none() {
            findings.push(format!(
                "it needs the parameter `{}` ({})",
                wanted.name, wanted.shortdesc
            ));
        }
    }
    findings
}
