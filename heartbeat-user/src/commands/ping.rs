//! `heartbeat ping NODE`: round-trip times from kernel timestamps.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Result, bail};

use super::{output, quantile::quantile, render::short, status};
use crate::control::{
    client::Client,
    protocol::{Ping, PingLink, Request, Response},
};

/// Collects `count` round-trip times to `node` and prints their quantiles. Returns false if no
/// reply came on a link of the node.
pub fn run(socket: &Path, node: &str, count: u32, json: bool) -> Result<bool> {
    let interval = Duration::from_nanos(status::ask(socket)?.interval_ns);
    let request = Request::Ping {
        node: node.to_owned(),
        count,
    };
    let takes = interval.saturating_mul(count).saturating_mul(2);
    let ping = match Client::connect(socket)?.ask(&request, takes)? {
        Response::Ping(ping) => ping,
        other => bail!("unexpected answer from the agent: {other:?}"),
    };
    let text = if json {
        serde_json::to_string(&ping)? + "\n"
    } else {
        render(&ping)
    };
    output::print(&text)?;
    Ok(ping.links.iter().all(|link| !link.rtt_ns.is_empty()))
}

fn render(ping: &Ping) -> String {
    let mut text = String::new();
    for link in &ping.links {
        render_link(&ping.node, link, &mut text);
    }
    text
}

fn render_link(node: &str, link: &PingLink, text: &mut String) {
    let PingLink {
        link: id,
        address,
        probes,
        replies,
        rtt_ns,
    } = link;
    let lost = probes.saturating_sub(*replies);
    let percent = if *probes == 0 {
        0.0
    } else {
        lost as f64 * 100.0 / *probes as f64
    };
    let _ = writeln!(
        text,
        "--- {node} link {id} ({address}), kernel to kernel ---"
    );
    let _ = writeln!(
        text,
        "{probes} probes sent, {replies} answered, {percent:.1} % loss"
    );
    let mut sorted = rtt_ns.clone();
    sorted.sort_unstable();
    let at = |per_mille| {
        quantile(&sorted, per_mille)
            .map_or_else(|| "-".to_owned(), |nanos| short(nanos).to_string())
    };
    let _ = writeln!(
        text,
        "rtt min/p50/p90/p99/max = {} / {} / {} / {} / {} ({} samples)",
        at(0),
        at(500),
        at(900),
        at(990),
        at(1_000),
        sorted.len()
    );
}
