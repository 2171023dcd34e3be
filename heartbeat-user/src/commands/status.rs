//! `heartbeat status`: the cluster by the local agent's view.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use super::{output, render};
use crate::control::{
    client::Client,
    protocol::{Request, Response, Status},
};

/// Requests the status from the agent at `socket`.
pub fn ask(socket: &Path) -> Result<Status> {
    match Client::connect(socket)?.ask(&Request::Status, Duration::ZERO)? {
        Response::Status(status) => Ok(*status),
        other => bail!("unexpected answer from the agent: {other:?}"),
    }
}

/// Prints the status once, or repeatedly every `watch`.
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
