//! `heartbeat status`: the cluster as the local agent sees it.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use super::{output, render};
use crate::control::{
    client::Client,
    protocol::{Request, Response, Status},
};

/// Asks the agent at `socket` for its status.
pub fn ask(socket: &Path) -> Result<Status> {
    match Client::connect(socket)?.ask(&Request::Status, Duration::ZERO)? {
        Response::Status(status) => Ok(*status),
        other => bail!("the agent answered something else: {other:?}"),
    }
}

/// Prints the status once, or again and again each `watch`.
pub fn run(socket: &Path, json: bool, watch: Option<Duration>) -> Result<()> {
    loop {
        let status = ask(socket)?;
        let text = if json {
            serde_json::to_string(&status)? + "\n"
        } else {
            render::status(&status, output::colours())
        };
        let clear = if watch.is_some() && !json && output::colours() {
            output::CLEAR
        } else {
            ""
        };
        if !output::print(&format!("{clear}{text}"))? {
            return Ok(());
        }
        match watch {
            Some(pause) => std::thread::sleep(pause),
            None => return Ok(()),
        }
    }
}
