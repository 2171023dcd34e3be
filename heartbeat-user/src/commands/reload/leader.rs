//! The leader of a reload of all nodes. Through the local agent it first checks the file on each
//! node, then writes the file where it differs, then reloads the nodes in the order of the plan. It
//! stops at the first step that fails, and reports the state of each node.

use std::{
    fs,
    io::{IsTerminal as _, Write as _, stderr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{
    outcome::{Outcome, State},
    plan::{self, Answer, Candidate, Plan, Step},
};
use crate::{
    commands::{output, wait},
    config::Config,
    control::{
        client::{Client, NoAnswer},
        protocol::{Checked, ConfigureStep, Node, Request, Response, Status},
    },
    logging, peering,
};

/// Interval of the polls of the status.
const POLL: Duration = Duration::from_millis(100);
/// Time without a new problem before the next node reloads: the nodes report the effects of a
/// reload a moment later.
const STEADY: Duration = Duration::from_millis(500);

/// The command, while it goes through the nodes.
pub(super) struct Leader {
    pub(super) client: Client,
    pub(super) path: PathBuf,
    /// The content of the file there, as all nodes are to have it.
    pub(super) text: String,
    /// Time limit for one node.
    pub(super) patience: Duration,
    pub(super) json: bool,
}

impl Leader {
    pub(super) fn lead(&mut self, config: &Config, force: bool) -> Result<Outcome> {
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
                Err(Undone::Refused(error) | Undone::Unanswered(error)) => return Err(error),
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
            self.settle(&step.node, (before, &plan.absent), last)?;
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

    /// Reloads a node. Unless the node confirms the reload, its answer to a check decides about its
    /// state.
    fn reload(&mut self, step: &Step, state: &mut State) -> Result<String> {
        let node = &step.node;
        let undone = match self.done(node, ConfigureStep::Reload) {
            Ok(text) => return Ok(text),
            Err(undone) => undone,
        };
        *state = State::Unknown;
        if let Ok(Answer::Checked(checked)) = self.check(node) {
            *state = state_after(&checked, &undone);
        }
        let (Undone::NotReached(error) | Undone::Refused(error) | Undone::Unanswered(error)) =
            undone;
        match state {
            State::InForce => Ok(format!("reloaded, though it did not say so: {error:#}")),
            _ => Err(error),
        }
    }

    /// Asks all nodes whether they can use the text.
    fn check_all(&mut self, status: &Status, config: &Config) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for node in &status.nodes {
            self.progress(&format!("checking on {}", node.name));
            let answer = match without_agent(node, config) {
                Some(answer) => answer,
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
            answer: Answer::NoMember("new: copy the file and the key there, and start its agent"),
        }));
        Ok(candidates)
    }

    fn check(&mut self, node: &str) -> Result<Answer> {
        let text = self.text.clone();
        Ok(match self.ask(node, ConfigureStep::Check { text }) {
            Ok(Response::Checked(checked)) => Answer::Checked(*checked),
            Ok(Response::NotReached { message }) => Answer::NotReached(message),
            Ok(Response::Unanswered { message }) => Answer::Refused(message),
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
            Ok(Response::Unanswered { message }) => {
                Err(Undone::Unanswered(anyhow!("{doing}: {message}")))
            }
            Ok(other) => Err(Undone::Unanswered(anyhow!(
                "{doing}: unexpected answer from the agent: {other:?}"
            ))),
            Err(error) if error.is::<NoAnswer>() => Err(Undone::Unanswered(error.context(doing))),
            Err(error) => Err(Undone::Refused(error.context(doing))),
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

    /// Waits for a while without any problem that was not there `before`. Problems of `absent`
    /// nodes do not count. After the `last` node, new groups must run, unless they wait for absent
    /// nodes.
    fn settle(
        &mut self,
        node: &str,
        (before, absent): (&[String], &[String]),
        last: bool,
    ) -> Result<()> {
        let began = Instant::now();
        let mut steady_since = began;
        loop {
            let mut amiss = wait::troubles(&self.status()?, absent, last);
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
    pub(super) fn progress(&self, what: &str) {
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
    /// The answer is an error.
    Refused(anyhow::Error),
    /// The answer is missing: the node may have carried out the step, or may do so later.
    Unanswered(anyhow::Error),
}

/// Returns the state of a node that did not confirm its reload, by its answer to a check after
/// that.
fn state_after(checked: &Checked, undone: &Undone) -> State {
    let Checked {
        write,
        reloading,
        changes,
        errors,
        ..
    } = checked;
    match undone {
        _ if *reloading => State::Unknown,
        _ if !write && changes.is_empty() && errors.is_empty() => State::InForce,
        // With an error the node does not tell whether a change is not in force yet.
        Undone::Unanswered(_) if changes.is_empty() => State::Unknown,
        _ => State::Written,
    }
}

/// Returns the answer in the place of a node's agent that is not to be asked, or that there is none
/// of.
fn without_agent(node: &Node, config: &Config) -> Option<Answer> {
    if config.node_named(&node.name).is_none() {
        return Some(Answer::NoMember("it leaves the cluster: stop its agent"));
    }
    let only_votes = node.witness && node.agent == "responder";
    only_votes.then_some(Answer::NoAgent(
        "a witness without an agent: load it anew if nodes or keys changed",
    ))
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

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::net::UnixListener,
        thread::{self, JoinHandle},
    };

    use super::*;

    /// A directory with the leader's file and the socket of an agent.
    struct Dir(PathBuf);

    impl Dir {
        fn new(test: &str) -> Self {
            let name = format!("heartbeat-leader-{test}-{}", std::process::id());
            let dir = Self(std::env::temp_dir().join(name));
            let _ = fs::remove_dir_all(&dir.0);
            fs::create_dir_all(&dir.0).unwrap();
            fs::write(dir.file(), "new").unwrap();
            dir
        }

        fn file(&self) -> PathBuf {
            self.0.join("heartbeat.toml")
        }

        /// Returns a leader whose agent answers by `answer`. The thread returns the steps that the
        /// agent got.
        fn leader(
            &self,
            mut answer: impl FnMut(&ConfigureStep) -> Response + Send + 'static,
        ) -> (Leader, JoinHandle<Vec<String>>) {
            let socket = self.0.join("sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let agent = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let mut steps = Vec::new();
                for line in lines {
                    let Ok(Request::Configure { node, step }) =
                        serde_json::from_str(&line.unwrap())
                    else {
                        panic!("not a step");
                    };
                    steps.push(format!("{} {node}", step.name()));
                    let answer = serde_json::to_string(&answer(&step)).unwrap();
                    stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
                }
                steps
            });
            let leader = Leader {
                client: Client::connect(&socket).unwrap(),
                path: self.file(),
                text: "new".to_owned(),
                patience: Duration::ZERO,
                json: true,
            };
            (leader, agent)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn plan(steps: &[(&str, Option<u64>)]) -> Plan {
        let step = |(node, replaces): &(&str, Option<u64>)| Step {
            node: (*node).to_owned(),
            local: *node == "a",
            path: "/etc/hb.toml".to_owned(),
            replaces: *replaces,
            in_force: false,
        };
        Plan {
            steps: steps.iter().map(step).collect(),
            left_out: Vec::new(),
            absent: Vec::new(),
        }
    }

    fn states(outcome: &Outcome) -> Vec<State> {
        outcome.nodes.iter().map(|node| node.state).collect()
    }

    #[test]
    fn file_that_changes_between_two_steps_is_not_written_any_more() {
        let dir = Dir::new("write");
        let file = dir.file();
        let (mut leader, agent) = dir.leader(move |_| {
            fs::write(&file, "newer").unwrap();
            Response::Done {
                text: "/etc/hb.toml.old".to_owned(),
            }
        });
        let plan = plan(&[("b", Some(1)), ("c", Some(2)), ("a", None)]);
        let mut outcome = Outcome::of(&plan);
        let error = leader.carry_out(&plan, &mut outcome, &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("was changed meanwhile"), "{error}");
        assert_eq!(
            states(&outcome),
            [State::Written, State::Unchanged, State::Written]
        );
        drop(leader);
        assert_eq!(agent.join().unwrap(), ["write b"]);
    }

    #[test]
    fn file_that_has_changed_is_not_reloaded_here() {
        let dir = Dir::new("reload");
        let (mut leader, agent) = dir.leader(|step| panic!("{step:?}"));
        leader.ensure_unchanged().unwrap();
        fs::write(dir.file(), "newer").unwrap();
        let plan = plan(&[("a", None)]);
        let mut outcome = Outcome::of(&plan);
        let error = leader.carry_out(&plan, &mut outcome, &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("was changed meanwhile"), "{error}");
        assert_eq!(states(&outcome), [State::Written]);
        fs::remove_file(dir.file()).unwrap();
        let error = leader.ensure_unchanged().unwrap_err().to_string();
        assert!(error.contains("could not read"), "{error}");
        drop(leader);
        assert!(agent.join().unwrap().is_empty());
    }

    #[test]
    fn reload_that_outlasts_its_answer_is_unknown() {
        let dir = Dir::new("slow");
        let (mut leader, agent) = dir.leader(|step| match step {
            ConfigureStep::Reload => Response::Unanswered {
                message: "its agent is busy since 60 s".to_owned(),
            },
            _ => Response::Checked(Box::new(Checked {
                reloading: true,
                errors: vec!["a reload is under way".to_owned()],
                ..Checked::default()
            })),
        });
        let plan = plan(&[("b", None), ("a", None)]);
        let mut outcome = Outcome::of(&plan);
        let error = leader.carry_out(&plan, &mut outcome, &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("stopped at node b (reload)"), "{error}");
        assert_eq!(states(&outcome), [State::Unknown, State::Written]);
        let said = outcome.half_way();
        assert!(
            said.contains("missing: b\n") && said.contains("`heartbeat status`"),
            "{said}"
        );
        drop(leader);
        assert_eq!(agent.join().unwrap(), ["reload b", "check b"]);
    }

    #[test]
    fn state_after_a_reload_is_what_the_node_can_tell() {
        let error = || anyhow!("no");
        let unanswered = Undone::Unanswered(error());
        let refused = Undone::Refused(error());
        let change = || vec!["hooks changed".to_owned()];
        let amiss = || vec!["no such interface".to_owned()];
        let in_force = Checked::default();
        let changed = Checked {
            changes: change(),
            ..Checked::default()
        };
        let wrong = Checked {
            errors: amiss(),
            ..Checked::default()
        };
        let under_way = Checked {
            reloading: true,
            ..wrong.clone()
        };
        for (checked, after_silence, after_refusal) in [
            (&in_force, State::InForce, State::InForce),
            // The reload has ended, and brought nothing.
            (&changed, State::Written, State::Written),
            (&wrong, State::Unknown, State::Written),
            (&under_way, State::Unknown, State::Unknown),
        ] {
            assert_eq!(
                state_after(checked, &unanswered),
                after_silence,
                "{checked:?}"
            );
            assert_eq!(state_after(checked, &refused), after_refusal, "{checked:?}");
        }
    }
}
