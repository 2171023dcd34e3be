//! `heartbeat doctor`: what is wrong or risky on this host, in its agent and on the way to the
//! other nodes, and what to do about it.
//!
//! The command collects what `check`, `init` and `status` look at, and adds the causes that only
//! several of these together show. It changes nothing.

mod agent;
mod host;
mod peer;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::{check, names, output};
use crate::{
    agent::InstanceLock,
    config::Config,
    control::{
        client::Client,
        protocol::{Request, Response, Status},
    },
    peering,
};

/// Time between the two looks at the agent, in which counters grow if their cause lasts.
const BETWEEN: Duration = Duration::from_secs(1);

/// The node to look at.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Name of a node: only what keeps this node from it; all nodes if absent
    #[arg(value_name = "NODE", add = ArgValueCandidates::new(names::nodes))]
    peer: Option<String>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gravity {
    /// Something does not work.
    Error,
    /// Everything works, and a fault would have a worse effect than it must.
    Warning,
}

/// A fault or a risk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    gravity: Gravity,
    what: String,
    /// The remedy; empty if `what` says it.
    remedy: String,
}

impl Finding {
    fn error(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            gravity: Gravity::Error,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            gravity: Gravity::Warning,
            ..Self::error(what, remedy)
        }
    }
}

/// The answers of the agent here.
#[derive(Debug)]
struct Answers {
    before: Status,
    after: Status,
    /// Why a node's agent gave no answer by TCP, by the node's name.
    unreached: BTreeMap<String, String>,
}

impl Doctor {
    /// Prints the findings, the gravest first. Fails if one of them is an error.
    pub fn run(&self, path: &Path, node: Option<&str>) -> Result<ExitCode> {
        let config = Config::load(path, node)?;
        if let Some(peer) = &self.peer
            && config.node_named(peer).is_none()
        {
            let known = config.nodes.iter().map(|node| node.name.as_str());
            let known: Vec<&str> = known.collect();
            bail!("no node is called `{peer}`; there are {}", known.join(", "));
        }
        let mut findings = of_file(&config);
        findings.extend(host::findings(&config));
        let mut looked_at = vec!["configuration", "key", "host"];
        match self.ask(&config)? {
            Some(answers) => {
                findings.extend(agent::findings(&answers.after));
                let neighbours = host::neighbours();
                for peer in self.peers(&config) {
                    findings.extend(peer::findings(peer, &config, &answers, &neighbours));
                }
                looked_at.extend(["agent", "other nodes"]);
            }
            None => findings.push(no_agent(&config.lock())),
        }
        findings.sort_by_key(|finding| finding.gravity);
        output::print(&report(&findings, &looked_at))?;
        let has_error = findings
            .iter()
            .any(|finding| finding.gravity == Gravity::Error);
        Ok(if has_error {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    /// The names of the other nodes to look at.
    fn peers<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = &'a str> {
        let peers = config.peers().map(|node| node.name.as_str());
        peers.filter(|name| self.peer.as_deref().is_none_or(|wanted| wanted == *name))
    }

    /// Asks the agent here twice, and through it the other agents meanwhile; `None` if no agent
    /// runs here.
    fn ask(&self, config: &Config) -> Result<Option<Answers>> {
        let socket: PathBuf = config.socket();
        let Some(mut client) = Client::find(&socket)? else {
            return Ok(None);
        };
        let before = status(&mut client)?;
        let mut unreached = BTreeMap::new();
        for peer in self.peers(config) {
            // No event has this number, so the answer is empty.
            let request = Request::Events {
                after: u64::MAX,
                node: Some(peer.to_owned()),
            };
            if let Err(error) = client.ask(&request, peering::PATIENCE) {
                unreached.insert(peer.to_owned(), format!("{error:#}"));
            }
        }
        thread::sleep(BETWEEN);
        let after = status(&mut client)?;
        Ok(Some(Answers {
            before,
            after,
            unreached,
        }))
    }
}

fn status(client: &mut Client) -> Result<Status> {
    match client.ask(&Request::Status, Duration::ZERO)? {
        Response::Status(status) => Ok(*status),
        other => bail!("unexpected answer from the agent: {other:?}"),
    }
}

/// What `heartbeat check` says.
fn of_file(config: &Config) -> Vec<Finding> {
    let found = check::findings(config, true);
    let errors = found.errors.into_iter();
    let errors = errors.map(|error| Finding::error(error, ""));
    let warnings = found.warnings.into_iter();
    let warnings = warnings.map(|warning| Finding::warning(warning, ""));
    errors.chain(warnings).collect()
}

fn no_agent(lock: &Path) -> Finding {
    match InstanceLock::holder(lock) {
        Some(process) => Finding::error(
            format!("agent (process {process}) does not answer on its control socket"),
            "it may be starting or ending: see its log, and repeat this",
        ),
        None => Finding::error(
            "no agent runs here",
            "start it: `systemctl start heartbeat-xdp`, or `heartbeat run`",
        ),
    }
}

fn report(findings: &[Finding], looked_at: &[&str]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.gravity {
            Gravity::Error => "error",
            Gravity::Warning => "warning",
        };
        let _ = writeln!(text, "{word}: {}", finding.what);
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "  {}", finding.remedy);
        }
    }
    let of = |gravity| {
        let mut found = 0;
        for finding in findings {
            found += usize::from(finding.gravity == gravity);
        }
        found
    };
    let _ = writeln!(
        text,
        "looked at: {}; errors: {}, warnings: {}",
        looked_at.join(", "),
        of(Gravity::Error),
        of(Gravity::Warning)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_has_each_finding_with_its_remedy_and_their_number() {
        let findings = [
            Finding::error("no agent runs here", "start it"),
            Finding::warning("a thing\n  to do", ""),
        ];
        assert_eq!(
            report(&findings, &["host"]),
            "error: no agent runs here\n  start it\nwarning: a thing\n  to do\n\
             looked at: host; errors: 1, warnings: 1\n"
        );
    }

    #[test]
    fn agent_that_holds_its_lock_is_told_apart_from_none() {
        let none = no_agent(Path::new("/nonexistent/lock"));
        assert_eq!(none.what, "no agent runs here");
        let path = std::env::temp_dir().join(format!("heartbeat-doctor-{}", std::process::id()));
        let lock = InstanceLock::take(&path, "test").unwrap();
        let held = no_agent(&path);
        assert!(held.what.contains("does not answer"), "{held:?}");
        drop(lock);
    }
}
