//! `heartbeat reload`: makes the agent apply its configuration file; with `--all` the agents of all
//! nodes, one after the other.

mod leader;
mod outcome;
mod plan;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;

use self::leader::Leader;
use super::{operate, output, wait};
use crate::{
    config::Config,
    control::{client::Client, protocol::Request},
    logging,
};

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
