//! `heartbeat move`, `standby` and `online`: what an operator asks of the cluster, on any of its nodes.

use std::path::Path;

use anyhow::{Result, bail};

use super::output;
use crate::{
    control::{
        client::Client,
        protocol::{Request, Response},
    },
    peering,
};

/// Asks the agent at `socket`, which may pass it on to another node, and prints what was done.
pub fn run(socket: &Path, request: &Request) -> Result<()> {
    // The other agent gets its time, and so does what it does.
    let takes = peering::PATIENCE * 2;
    match Client::connect(socket)?.ask(request, takes)? {
        Response::Done { text } => output::print(&format!("{text}\n")).map(drop),
        other => bail!("the agent answered something else: {other:?}"),
    }
}
