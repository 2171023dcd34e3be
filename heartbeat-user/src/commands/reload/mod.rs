//! `heartbeat reload`: makes the agent apply its configuration file; with `--all` the agents of all
//! nodes, one after the other.
//!
//! With `--all` this command leads. Through the local agent it first checks the file on each node,
//! then writes the file where it differs, then reloads the nodes in the order of the plan. The
//! command stops at the first step that fails, and reports the state of each node.

mod outcome;
mod plan;

use std::{
    fs,
    io::{IsTerminal as _, Write as _, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;

use self::{
    outcome::{Outcome, State},
    plan::{Answer, Candidate, Plan, Step},
};
use super::{operate, output, wait};
use crate::{
    config::Config,
    control::{
        client::Client,
        protocol::{Checked, ConfigureStep, Node, Request, Response, Status},
    },
    logging, peering,
};

/// Interval of the polls of the status.
const POLL: Duration = Duration::from_millis(100);
/// Time without a new problem before the next node reloads: the nodes report the effects of a
/// reload a moment later.
const STEADY: Duration = Duration::from_millis(500);

/// What to reload.
#[derive(Debug, Args)]
pub struct Reload {
    /// On all nodes: check this node's file on each, then replace theirs, then reload one by one
    ///
    /// Each node keeps its own node, instance and key in [cluster], and its own [paths]. A file
    /// that differs is replaced only where accept_configuration = true stands in it; otherwise copy
    /// the file there before. If any node could not use the file, nothing is changed anywhere.
    #[arg(long)]
    all: bool,
    /// Leave out nodes that are not reached, and replace files that have settings of their own or
    /// edits that are not in force
    #[arg(long, requires = "all")]
    force: bool,
    /// Limit for the time until a node is stable again
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300.0,
        requires = "all"
    )]
    timeout: f64,
    /// Print one JSON object
    #[arg(long, requires = "all")]
    json: bool,
}

impl Reload {
    pub fn run(&self, path: &Path, node: Option<&str>) -> Result<ExitCode> {
        if !self.all {
            let config = Config::load(path, node)?;
            operate::run(&config.socket(), &Request::Reload)?;
            return Ok(ExitCode::SUCCESS);
        }
        let config = Config::load(path, node)
            .map_err(|error| anyhow!("{error}\n  nothing was changed on any node"))?;
        let text = fs::read_to_string(path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let client = Client::connect(&config.socket())?;
        let mut leader = Leader {
            client,
            path: path.to_owned(),
            text,
            patience: wait::patience(self.timeout),
            json: self.json,
        };
        let outcome = leader.lead(&config, self.force);
        leader.progress("");
        let outcome = outcome?;
        if self.json {
            output::print(&format!("{}\n", serde_json::to_string(&outcome)?))?;
        } else {
            for error in &outcome.errors {
                logging::print(&format!("heartbeat: {error}"));
            }
        }
        Ok(match outcome.done {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// The command, while it goes through the nodes.
struct Leader {
    client: Client,
    path: PathBuf,
    /// The content of the file there, as all nodes are to have it.
    text: String,
    /// Time limit for one node.
    patience: Duration,
    json: bool,
}

impl Leader {
    fn lead(&mut self, config: &Config, force: bool) -> Result<Outcome> {
        let status = self.status()?;
        let before = wait::troubles(&status, &[], false);
        let candidates = self.check_all(&status, config)?;
        same_file(&candidates, &self.path)?;
        self.ensure_unchanged()
            .map_err(|error| anyhow!("{error:#}\n  nothing was changed on any node"))?;
        let warnings = warnings(&candidates);
        if !self.json {
            for warning in &warnings {
                logging::print(&format!("warning: {warning}"));
            }
        }
        let plan = match plan::plan(&candidates, force) {
            Ok(plan) => plan,
            Err(mut errors) => {
                errors.push("nothing was changed on any node".to_owned());
                return Ok(Outcome {
                    errors,
                    warnings,
                    ..Outcome::default()
                });
            }
        };
        let mut outcome = Outcome {
            warnings,
            new_list: has_other_list(&status, config).then_some(config.version),
            ..Outcome::of(&plan)
        };
        match self.carry_out(&plan, &mut outcome, &before) {
            Ok(()) => outcome.done = true,
            Err(error) => {
                let half_way = outcome.half_way();
                outcome.errors.push(format!("{error:#}\n  {half_way}"));
            }
        }
        Ok(outcome)
    }

    /// Writes all files, then reloads node by node.
    fn carry_out(&mut self, plan: &Plan, outcome: &mut Outcome, before: &[String]) -> Result<()> {
        for (step, node) in plan.steps.iter().zip(&mut outcome.nodes) {
            let Some(replaces) = step.replaces else {
                continue;
            };
            self.progress(&format!("writing the file of {}", step.node));
            self.ensure_unchanged()?;
            let text = self.text.clone();
            node.state = State::Unknown;
            match self.done(&step.node, ConfigureStep::Write { text, replaces }) {
                Ok(backup) => (node.backup, node.state) = (Some(backup), State::Written),
                Err(Undone::NotReached(error)) => {
                    node.state = State::Unchanged;
                    return Err(error);
                }
                Err(Undone::Failed(error)) => return Err(error),
            }
        }
        for (index, step) in plan.steps.iter().enumerate() {
            self.progress(&format!("reloading {}", step.node));
            if step.local {
                self.ensure_unchanged()?;
            }
            let node = &mut outcome.nodes[index];
            (node.text, node.state) = (self.reload(step, &mut node.state)?, State::InForce);
            self.print(&node.line())?;
            let last = index + 1 == plan.steps.len();
            self.settle(&step.node, (before, &plan.unreached), last)?;
        }
        for node in outcome.nodes.iter().skip(plan.steps.len()) {
            self.print(&node.line())?;
        }
        Ok(())
    }

    /// Fails if the file here is another one by now: the nodes must not get one text and this node
    /// another.
    fn ensure_unchanged(&self) -> Result<()> {
        let path = self.path.display();
        let is =
            fs::read_to_string(&self.path).with_context(|| format!("could not read {path}"))?;
        ensure!(
            is == self.text,
            "{path} was changed meanwhile\n  see who changes it, then try again"
        );
        Ok(())
    }

    /// Reloads a node. If its answer is missing, the configuration that is in force there decides.
    fn reload(&mut self, step: &Step, state: &mut State) -> Result<String> {
        let node = &step.node;
        let error = match self.done(node, ConfigureStep::Reload) {
            Ok(text) => return Ok(text),
            Err(Undone::NotReached(error) | Undone::Failed(error)) => error,
        };
        *state = State::Unknown;
        if let Ok(Answer::Checked(checked)) = self.check(node) {
            let Checked {
                write,
                changes,
                errors,
                ..
            } = checked;
            if !write && changes.is_empty() && errors.is_empty() {
                return Ok(format!("reloaded, though it did not say so: {error:#}"));
            }
            *state = State::Written;
        }
        Err(error)
    }

    /// Asks all nodes whether they can use the text.
    fn check_all(&mut self, status: &Status, config: &Config) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for node in &status.nodes {
            self.progress(&format!("checking on {}", node.name));
            let answer = match without_agent(node, config) {
                Some(why) => Answer::NoAgent(why),
                None => self.check(&node.name)?,
            };
            candidates.push(Candidate {
                name: node.name.clone(),
                local: node.local,
                groups: node.groups,
                answer,
            });
        }
        let known = |name: &str| status.nodes.iter().any(|node| node.name == name);
        let joining = config.nodes.iter().filter(|node| !known(&node.name));
        candidates.extend(joining.map(|node| Candidate {
            name: node.name.clone(),
            local: false,
            groups: 0,
            answer: Answer::NoAgent("new: copy the file and the key there, and start its agent"),
        }));
        Ok(candidates)
    }

    fn check(&mut self, node: &str) -> Result<Answer> {
        let text = self.text.clone();
        Ok(match self.ask(node, ConfigureStep::Check { text }) {
            Ok(Response::Checked(checked)) => Answer::Checked(*checked),
            Ok(Response::NotReached { message }) => Answer::NotReached(message),
            Ok(other) => bail!("unexpected answer from the agent: {other:?}"),
            Err(error) => Answer::Refused(format!("{error:#}")),
        })
    }

    /// Executes a step whose result is a text.
    fn done(&mut self, node: &str, step: ConfigureStep) -> Result<String, Undone> {
        let doing = format!("stopped at node {node} ({})", step.name());
        match self.ask(node, step) {
            Ok(Response::Done { text }) => Ok(text),
            Ok(Response::NotReached { message }) => {
                Err(Undone::NotReached(anyhow!("{doing}: {message}")))
            }
            Ok(other) => Err(Undone::Failed(anyhow!(
                "{doing}: unexpected answer from the agent: {other:?}"
            ))),
            Err(error) => Err(Undone::Failed(error.context(doing))),
        }
    }

    fn ask(&mut self, node: &str, step: ConfigureStep) -> Result<Response> {
        let request = Request::Configure {
            node: node.to_owned(),
            step,
        };
        self.client.ask(&request, peering::SECRET_PATIENCE)
    }

    fn status(&mut self) -> Result<Status> {
        match self.client.ask(&Request::Status, Duration::ZERO)? {
            Response::Status(status) => Ok(*status),
            other => bail!("unexpected answer from the agent: {other:?}"),
        }
    }

    /// Waits for a while without any problem that was not there `before`. Problems of unreached
    /// nodes do not count. After the `last` node, new groups must run, unless they wait for
    /// unreached nodes.
    fn settle(
        &mut self,
        node: &str,
        (before, unreached): (&[String], &[String]),
        last: bool,
    ) -> Result<()> {
        let began = Instant::now();
        let mut steady_since = began;
        loop {
            let mut amiss = wait::troubles(&self.status()?, unreached, last);
            amiss.retain(|trouble| !before.contains(trouble));
            if !amiss.is_empty() {
                steady_since = Instant::now();
                self.progress(&format!("waiting after {node}: {}", amiss.join("; ")));
                if began.elapsed() >= self.patience {
                    bail!(
                        "stopped after node {node}: not well within {} s: {}",
                        self.patience.as_secs_f64(),
                        amiss.join("; ")
                    );
                }
            } else if steady_since.elapsed() >= STEADY {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Prints a finished line, unless the output is JSON.
    fn print(&self, line: &str) -> Result<()> {
        self.progress("");
        if !self.json {
            output::print(line)?;
        }
        Ok(())
    }

    /// Shows the present step on a terminal, in place of the one before.
    fn progress(&self, what: &str) {
        let mut terminal = stderr();
        if terminal.is_terminal() {
            let what = logging::one_line(what.as_bytes());
            let what: String = what
                .chars()
                .take(output::width().saturating_sub(1))
                .collect();
            // A failure to show progress does not matter.
            let _ = write!(terminal, "\r\x1b[K{what}");
            let _ = terminal.flush();
        }
    }
}

/// The reason why a step was not done, as far as known.
enum Undone {
    /// The node did not get the request.
    NotReached(anyhow::Error),
    /// The node refused, or may still have carried out the step.
    Failed(anyhow::Error),
}

/// Returns the reason why a node has no agent to ask, if it has none.
fn without_agent(node: &Node, config: &Config) -> Option<&'static str> {
    if config.node_named(&node.name).is_none() {
        return Some("it leaves the cluster: stop its agent");
    }
    let only_votes = node.witness && node.agent == "responder";
    only_votes.then_some("a witness without an agent: load it anew if nodes or keys changed")
}

/// Whether the list of nodes of `config` is another one than that of any node with an agent.
fn has_other_list(status: &Status, config: &Config) -> bool {
    let agents = status.nodes.iter();
    let agents = agents.filter(|node| node.agent != "responder");
    agents
        .filter_map(|node| node.config_version)
        .chain([status.config_version])
        .any(|version| version != config.version)
}

/// Fails if the local agent uses another file than the one that was read here.
fn same_file(candidates: &[Candidate], path: &Path) -> Result<()> {
    let local = candidates.iter().find(|candidate| candidate.local);
    if let Some(Answer::Checked(checked)) = local.map(|local| &local.answer) {
        let own = Path::new(&checked.path);
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if real(own) != real(path) {
            bail!(
                "the local agent uses {}, not {}\n  name that file with --config",
                own.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// Returns the warnings of all nodes, each once with the nodes that have it.
fn warnings(candidates: &[Candidate]) -> Vec<String> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for candidate in candidates {
        let Answer::Checked(checked) = &candidate.answer else {
            continue;
        };
        for warning in &checked.warnings {
            match all.iter_mut().find(|(said, _)| said == warning) {
                Some((_, nodes)) => nodes.push(&candidate.name),
                None => all.push((warning, vec![&candidate.name])),
            }
        }
    }
    let said = |(warning, nodes): &(&str, Vec<&str>)| format!("{}: {warning}", nodes.join(", "));
    all.iter().map(said).collect()
}
