//! `heartbeat move`, `standby`, `resource start` and the like: an operator's requests to the
//! cluster, from any node.

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

/// Time that resources may take for a request.
const RESOURCES: Duration = Duration::from_secs(300);

/// Sends a request to the agent at `socket`, which may forward it to another node, and prints the
/// result.
pub fn run(socket: &Path, request: &Request) -> Result<()> {
    // The time includes that of the other agent, and that of resources that stop and start.
    let takes = peering::PATIENCE * 2 + RESOURCES;
    match Client::connect(socket)?.ask(request, takes)? {
        Response::Done { text } => output::print(&format!("{text}\n")).map(drop),
        other => bail!("unexpected answer from the agent: {other:?}"),
    }
}
