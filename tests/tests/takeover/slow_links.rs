//! Planned moves on links that delay and reorder frames: none waits for the end of a lease.

use std::time::Duration;

use anyhow::{Context as _, Result};
use heartbeat_tests::{
    Cluster, Options,
    config::interface,
    e2e::{MILLISECOND, SOON, Trial, availability::wait_served, shortcuts::with_cluster},
    needs,
    relay::{Mac, Relay},
    sys::boottime,
};

const MOVES: usize = 100;
/// The longest delay of a frame.
const DELAY: Duration = Duration::from_millis(8);

/// Five nodes, since three that learn late of a release could refuse the successor its majority.
fn options() -> Options {
    Options {
        nodes: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
        interval: 20 * MILLISECOND,
        timeout: 200 * MILLISECOND,
        agent_stall: 2_000 * MILLISECOND,
        lease: 400 * MILLISECOND,
        max_lease: 400 * MILLISECOND,
        ..Options::default()
    }
}

/// Delays the frames of `from` to every node but `to`, and reorders all other frames a little.
fn delay(nodes: &[(Mac, Relay)], from: usize, to: usize) {
    for (at, (_, relay)) in nodes.iter().enumerate() {
        for (sender, (mac, _)) in nodes.iter().enumerate() {
            match sender == from && at != to {
                true => relay.delay(*mac, DELAY / 2, DELAY),
                false => relay.delay(*mac, Duration::ZERO, DELAY / 8),
            }
        }
    }
}

#[test]
fn planned_moves_on_slow_links_take_less_than_half_a_lease() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let mut trial = Trial::begin("a hundred moves on slow links", cluster)?;
        wait_served(&trial.client, "a", SOON)?;
        let nodes = slow_down(cluster)?;
        let mut gaps = Vec::new();
        let mut owner = 0;
        for number in 0..MOVES {
            let to = (owner + 1 + number % (nodes.len() - 1)) % nodes.len();
            delay(&nodes, owner, to);
            gaps.push(hand_over(cluster, &mut trial, owner, to)?);
            owner = to;
        }
        gaps.sort();
        println!(
            "{} moves: the address was away for {:?} at most, {:?} in the median; a lease is {:?}",
            gaps.len(),
            gaps.last().context("no move")?,
            gaps[gaps.len() / 2],
            options().lease
        );
        drop(nodes);
        trial.finish(cluster).map(drop)
    })
}

/// Puts a relay in front of every node.
fn slow_down(cluster: &mut Cluster) -> Result<Vec<(Mac, Relay)>> {
    let slow = |name: &String| {
        let mac = cluster.node(name)?.ns.mac_address(&interface(0))?;
        Ok((
            mac.context("no Ethernet address")?,
            cluster.slow_down(name)?,
        ))
    };
    options().nodes.iter().map(slow).collect()
}

/// Moves the service, and returns the time without an answer.
fn hand_over(cluster: &Cluster, trial: &mut Trial, from: usize, to: usize) -> Result<Duration> {
    let name = |index: usize| options().nodes[index].clone();
    let at = boottime();
    let moved = cluster
        .node(&name(from))?
        .heartbeat(&["move", "service", &name(to)])?;
    moved.success()?;
    wait_served(&trial.client, &name(to), SOON)?;
    trial
        .within_half_a_lease(cluster, at)
        .with_context(|| format!("the move from {} to {}", name(from), name(to)))
}
