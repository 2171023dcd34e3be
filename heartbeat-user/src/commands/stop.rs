//! `heartbeat stop`: ends this host's agent, and waits until it is gone.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::output;
use crate::{
    agent::InstanceLock,
    config::Config,
    control::{
        client::Client,
        protocol::{Group, Request, Response},
    },
    dataplane::Pins,
    process::{Process, process_end},
};

/// Limit for a stop. Resources have their own limits, which are mostly shorter.
const PATIENCE: Duration = Duration::from_secs(300);

/// Interval of the checks whether a group keeps the agent from ending.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Returns the name of a group that could not be stopped here. Without such a group it never
/// returns.
async fn blocked(client: &mut Client) -> String {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        // An agent that is ending may not answer.
        let Ok(Response::Status(status)) = client.ask(&Request::Status, Duration::ZERO) else {
            continue;
        };
        let here = |group: &&Group| group.blocked.as_ref() == Some(&status.node);
        if let Some(group) = status.groups.iter().find(here) {
            return group.name.clone();
        }
    }
}

/// Returns the process of the agent that `client` is connected to.
fn agent(client: &Client) -> Result<Process> {
    let pid = client.agent()?;
    Process::find(pid).with_context(|| {
        format!(
            "the agent, process {pid}, is not visible from here: run this in the PID namespace \
             of the agent"
        )
    })
}

/// Whether an agent of this instance left its programs pinned.
fn is_pinned(pins: &Pins) -> Result<bool> {
    let dir = pins.dir();
    dir.try_exists().with_context(|| {
        format!(
            "could not see whether anything is pinned at {}: run as root",
            dir.display()
        )
    })
}

/// Returns the result of a stop while no agent answers: success if all is already as a stop leaves
/// it.
fn without_agent(config: &Config, keep: bool) -> Result<()> {
    if let Some(holder) = InstanceLock::holder(&config.lock()) {
        bail!(
            "instance `{}` is in use by process {holder}, which does not answer: an agent that \
             starts or ends; try again",
            config.instance
        );
    }
    let pins = Pins::of(&config.instance);
    let text = match (keep, is_pinned(&pins)?) {
        (false, false) => "already stopped: no agent runs\n",
        (true, true) => "already ended: no agent runs, and all is left in place for the next one\n",
        (true, false) => bail!(
            "no agent of instance `{}` runs, and no earlier one left anything to keep: start it \
             with `heartbeat run`",
            config.instance
        ),
        (false, true) => bail!(
            "no agent of instance `{}` runs, but the programs of the last one are still pinned at \
             {}: remove them with `heartbeat unload`, or start the agent again",
            config.instance,
            pins.dir().display()
        ),
    };
    output::print(text).map(drop)
}

/// Stops the agent; with `keep` everything stays in place for the next one. With `force` it stops
/// even if too few votes remain. Fails if the agent does not end, or leaves the wrong things in
/// place.
pub fn run(config: &Config, keep: bool, force: bool) -> Result<()> {
    let Some(mut client) = Client::find(&config.socket())? else {
        return without_agent(config, keep);
    };
    let agent = agent(&client)?;
    // The agent receives the other nodes first.
    match client.ask(&Request::Stop { keep, force }, config.timeout)? {
        Response::Done { .. } => {}
        other => bail!("unexpected answer from the agent: {other:?}"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the tokio runtime")?;
    let pid = agent.pid;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = tokio::time::timeout(PATIENCE, process_end(agent)) => Ok(ended),
            group = blocked(&mut client) => Err(group),
        }
    });
    let ended = match ended {
        Ok(ended) => ended,
        Err(group) => bail!(
            "the agent, process {pid}, keeps running: group {group} could not be stopped here and \
             may still run. No other node starts the group while the agent keeps its lease. Stop \
             it by hand, then run `heartbeat cleanup {group}`: the agent then ends. `kill -9 \
             {pid}` releases the lease regardless"
        ),
    };
    match ended {
        Ok(ended) => ended.with_context(|| format!("could not wait for process {pid} to end"))?,
        Err(_) => bail!(
            "the agent, process {pid}, has not ended within {} s: see its log, and `heartbeat \
             status` for the resources that do not stop",
            PATIENCE.as_secs()
        ),
    }
    let pins = Pins::of(&config.instance);
    match (keep, is_pinned(&pins)?) {
        (true, false) => bail!(
            "the agent has ended, but nothing is pinned at {}: it made a full stop instead of a \
             restart; see its log",
            pins.dir().display()
        ),
        (false, true) => bail!(
            "the agent has ended, but left what is pinned at {}: see its log, and remove it with \
             `heartbeat unload`",
            pins.dir().display()
        ),
        (true, true) => output::print("ended; all is left in place for the next agent\n").map(drop),
        (false, false) => output::print("stopped\n").map(drop),
    }
}
