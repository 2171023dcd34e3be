//! `heartbeat move`, `standby`, `resource start` and their kin: what an operator asks of the cluster, on
//! any of its nodes.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use super::output;
use crate::{
    control::{
        client::Client,
        protocol::{Request, Response},
    },
    peering,
};

/// How long resources may take to do what is asked.
const RESOURCES: Duration = Duration::from_secs(300);

/// Asks the agent at `socket`, which may pass it on to another node, and prints what was done.
pub fn run(socket: &Path, request: &Request) -> Result<()> {
    // The other agent gets its time, and so do resources that stop and start.
    let takes = peering::PATIENCE * 2 + RESOURCES;
    match Client::connect(socket)?.ask(request, takes)? {
        Response::Done { text } => output::print(&format!("{text}\n")).map(drop),
        other => bail!("the agent answered something else: {other:?}"),
    }
}
