//! `heartbeat verify`: whether the resource agents accept their parameters on this host.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::output;
use crate::{
    config::{Config, Resource, ResourceKind},
    resources::{Agents, Places},
};

/// Runs each resource agent's validation, prints its messages, and fails if any agent complains.
pub fn run(config: &Config) -> Result<ExitCode> {
    let agents = Agents::new(Places::of(config));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the tokio runtime")?;
    let mut well = true;
    let groups = config.groups.iter();
    for resource in groups.flat_map(|group| &group.resources) {
        well &= verify(&runtime, &agents, resource)?;
    }
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn verify(runtime: &tokio::runtime::Runtime, agents: &Agents, resource: &Resource) -> Result<bool> {
    let Resource { name, kind, .. } = resource;
    if matches!(kind, ResourceKind::Vip(_)) {
        output::print(&format!("{name} ({kind}): ok\n"))?;
        return Ok(true);
    }
    let complaints = runtime.block_on(agents.validate(resource));
    let mut text = match complaints.as_slice() {
        [] => format!("{name} ({kind}): ok\n"),
        _ => format!("{name} ({kind}): NOT usable here\n"),
    };
    for line in complaints.iter().flat_map(|complaint| complaint.lines()) {
        text += &format!("    {line}\n");
    }
    output::print(&text)?;
    Ok(complaints.is_empty())
}
