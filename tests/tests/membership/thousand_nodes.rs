//! A cluster of a thousand nodes, two of which run.

use std::{fmt::Write as _, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    config::Family,
    e2e::{
        EventLog, MILLISECOND, SOON,
        shortcuts::{self, node_in, wait_status},
    },
    needs, wait_until,
};

const NODES: usize = 1_001;
/// The most memory that an agent without optimisation may use.
const MEMORY_KIB: u64 = 48 * 1024;

/// The absent nodes, in a network behind a router that drops their packets: no host asks for their
/// neighbour entries.
fn absent() -> String {
    let mut text = String::new();
    for id in 3..=NODES {
        let address = format!("10.78.{}.{}", id / 250, id % 250 + 1);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "[[node]]\nname = \"n{id}\"\nid = {id}\naddresses = [\"{address}\"]\n\n"
        );
    }
    text
}

fn options() -> Options {
    Options {
        nodes: ["a", "b"].map(str::to_owned).to_vec(),
        interval: 100 * MILLISECOND,
        timeout: 300 * MILLISECOND,
        agent_stall: Duration::from_secs(2),
        lease: 600 * MILLISECOND,
        max_lease: 600 * MILLISECOND,
        extra: absent(),
        ..shortcuts::options()
    }
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next());
    Ok(resident.context("no VmRSS")?.parse()?)
}

#[test]
fn thousand_peers_are_probed_and_the_one_that_runs_is_watched() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let router = Family::V4.client().to_string();
        cluster
            .client_namespace()
            .tool("ip", ["route", "add", "blackhole", "10.78.0.0/16"])?;
        for name in ["a", "b"] {
            let node = cluster.node(name)?;
            node.tool("ip", ["route", "add", "10.78.0.0/16", "via", &router])?;
            node.heartbeat(&["check"])?.success()?;
        }
        cluster.start_agents()?;
        let a = cluster.node("a")?;
        let sees = |state: &'static str| {
            move |status: &heartbeat_user::control::protocol::Status| {
                node_in(status, "b").is_ok_and(|b| b.state == state)
            }
        };
        wait_status(a, "it sees b", sees("up"))?;
        wait_status(a, "it misses all others", |status| {
            status
                .nodes
                .iter()
                .filter(|node| node.state == "down")
                .count()
                == NODES - 2
        })?;
        let before = a.control.status()?;
        let mut event_log = EventLog::begin(cluster)?;
        cluster.inject("b", Fault::Cut)?;
        let down = event_log.wait_state(cluster, "a", "b", "down", SOON)?;
        cluster.heal("b", Fault::Cut)?;
        let a = cluster.node("a")?;
        wait_status(a, "it sees b again", sees("up"))?;
        let after = a.control.status()?;
        let probes = |status: &heartbeat_user::control::protocol::Status| -> Result<u64> {
            let peer = node_in(status, "n1000")?.links[0].peer.as_ref();
            Ok(peer.context("no peer")?.probes)
        };
        let (ticks, probed) = (
            after.pulse.ticks - before.pulse.ticks,
            probes(&after)? - probes(&before)?,
        );
        ensure!(
            probed + 2 >= ticks && ticks > 0,
            "{probed} probes in {ticks} ticks"
        );
        ensure!(down.at_ns > before.at_ns);
        let resident = resident_kib(after.pid)?;
        ensure!(resident < MEMORY_KIB, "it has {resident} KiB in memory");

        let shown = a.heartbeat(&["status"])?.success()?;
        ensure!(
            shown.contains("partition WITHOUT quorum (2 of 1001 nodes alive, 501 needed)"),
            "{shown}"
        );
        // The log has one line for each absent node.
        let mut lines = 0;
        wait_until(SOON, "each absent node is in the log", || {
            lines = a.logged()?.lines().count();
            Ok(lines >= NODES - 2)
        })?;
        ensure!(lines < NODES + 100, "{lines} lines in the log");
        eprintln!("{resident} KiB in memory");
        Ok(())
    })
}
