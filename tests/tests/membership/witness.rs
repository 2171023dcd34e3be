//! Two nodes and a witness: its vote counts as much as any, and without two votes no node serves.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::wire::NodeId;
use heartbeat_tests::{
    Cluster, Fault, Options,
    config::{Family, interface},
    e2e::{
        MILLISECOND, Program, SOON, Trial,
        availability::{servers, wait_served, wait_silent},
        heartbeat,
        lines::has_lines,
        machine_stalls::MachineStalls,
        shortcuts::{node_in, swift, wait_holder, wait_logged, wait_status, with_cluster},
        trial::runs,
    },
    needs,
    sys::boottime,
    wait::observe,
};
use heartbeat_user::{
    config::{Config, key::Keys},
    control::protocol::{ConfigureStep, Request, Response},
    peering,
};

fn two_and_a_witness() -> Options {
    Options {
        nodes: ["a", "b"].map(str::to_owned).to_vec(),
        witnesses: vec!["w".to_owned()],
        ..swift()
    }
}

#[test]
fn witness_lets_one_of_two_nodes_take_over() -> Result<()> {
    needs!(Cluster);
    with_cluster(two_and_a_witness(), |cluster| {
        let shown = cluster.node("a")?.heartbeat(&["status"])?.success()?;
        ensure!(shown.contains("Node w (id 3): online (witness)"), "{shown}");
        let mut trial = Trial::begin("two nodes and a witness, agent killed", cluster)?;
        for _ in 0..runs()? {
            let owner = trial.settle(cluster)?;
            let at = trial.strike(cluster, &owner, Fault::Kill)?;
            trial.succeeded(cluster, &owner, at)?;
            trial.silent_since_closed(cluster.node(&owner)?)?;
            trial.heal(cluster, &owner, Fault::Kill)?;
        }
        trial.settle(cluster)?;
        trial.finish(cluster).map(drop)
    })
}

#[test]
fn witness_lost_harms_nobody_and_owner_lost_too_stops_service() -> Result<()> {
    needs!(Cluster);
    with_cluster(two_and_a_witness(), |cluster| {
        let mut trial = Trial::begin("witness lost, then the owner, then both healed", cluster)?;
        for _ in 0..runs()? {
            let owner = trial.settle(cluster)?;
            let machine = MachineStalls::of_the_machine()?;
            let lost_at = boottime();
            cluster.inject("w", Fault::Silent)?;
            wait_status(cluster.node(&owner)?, "the witness is down", |status| {
                node_in(status, "w").is_ok_and(|w| w.state == "down")
            })?;
            // Many leases pass.
            observe(10 * swift().lease, || cluster.check_agents())?;
            // Without the witness both nodes must vote, and a lease of 30 ms does not outlive a
            // machine stall.
            let stood = machine.since(lost_at);
            let there = servers(&trial.client, lost_at);
            ensure!(
                *there == [owner.as_str().into()] || !stood.is_zero(),
                "{there:?} served, and the machine never stood still"
            );
            trial
                .within_a_lease(cluster, lost_at)
                .context("the witness was lost")?;

            trial.strike(cluster, &owner, Fault::Silent)?;
            wait_holder(cluster, None)?;
            wait_silent(&trial.client, SOON)?;
            let silent_at = boottime();
            observe(10 * swift().lease, || {
                ensure!(cluster.holders()?.is_empty(), "another node took it over");
                Ok(())
            })?;
            ensure!(
                servers(&trial.client, silent_at).is_empty(),
                "a node answered"
            );

            cluster.heal("w", Fault::Silent)?;
            let other = if owner == "a" { "b" } else { "a" };
            wait_served(&trial.client, other, SOON)?;
            trial.heal(cluster, &owner, Fault::Silent)?;
        }
        trial.settle(cluster)?;
        trial.finish(cluster).map(drop)
    })
}

#[test]
fn witness_starts_from_flags_alone() -> Result<()> {
    needs!(Cluster);
    Cluster::run(two_and_a_witness(), |cluster| {
        cluster.start_agent("a")?;
        cluster.start_agent("b")?;
        // Two of three voters run, so the cluster serves without the witness.
        wait_status(cluster.node("a")?, "a serves without it", |status| {
            status.quorum.alive == 2 && status.vips[0].held
        })?;
        let w = cluster.node("w")?;
        let name = w.pins.path().file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default().to_owned();
        let (key, at) = (w.key(), interface(0));
        let peers = [1, 2].map(|id| format!("{id}={}", Family::V4.address(0, id)));
        let mut witness = heartbeat(&["witness", "--iface", &at, "--cluster", "rig", "--id", "3"])?;
        witness.args(["--instance", &name, "--max-lease", "100ms", "--key"]);
        witness.arg(&key);
        witness.args(["--peer", &peers[0], "--peer", &peers[1]]);
        let said = Program::run(Some(&w.ns), witness, SOON)?.success()?;
        has_lines(
            &said,
            &[
                "hb0: witness 3 of cluster rig loaded on 10.77.0.3 in native mode, answers 2 \
                 peers, *",
            ],
        )?;
        for member in ["a", "b"] {
            wait_status(cluster.node(member)?, "the witness votes", |status| {
                let votes = status.vips[0].votes.as_ref();
                let counted = status.node != "a" || votes.is_some_and(|votes| votes.granted == 3);
                counted && node_in(status, "w").is_ok_and(|w| w.state == "up" && w.witness)
            })?;
        }
        cluster.wait_well(SOON, "a")?;
        let client = cluster.client(MILLISECOND)?;
        cluster.inject("a", Fault::Silent)?;
        wait_served(&client, "b", SOON)?;
        wait_holder(cluster, Some("b"))?;

        let unload = heartbeat(&["unload", "--instance", &name])?;
        let said = Program::run(Some(&cluster.node("w")?.ns), unload, SOON)?.success()?;
        ensure!(said == format!("instance `{name}` unloaded\n"), "{said}");
        // The vote of the witness was one of the two that the lease needs.
        wait_holder(cluster, None)?;
        wait_silent(&client, SOON)
    })
}

#[test]
fn two_voters_are_refused_with_the_remedy() -> Result<()> {
    needs!(Cluster);
    let two = Options {
        nodes: ["a", "b"].map(str::to_owned).to_vec(),
        ..swift()
    };
    Cluster::run(two, |cluster| {
        for command in [["check"], ["run"]] {
            let ended = cluster.node("a")?.heartbeat(&command)?;
            ended.refusal(&["two nodes vote", "add a witness", "heartbeat witness"])?;
        }
        Ok(())
    })
}

/// The answer of node a's agent to `request`, which comes from the address of the witness and under
/// the cluster's key.
fn ask_as_witness(cluster: &Cluster, request: &Request, secret: bool) -> Result<Response> {
    let w = cluster.node("w")?;
    let config = Config::load(&w.config(), Some("w"))?;
    let keys = Keys::load(&w.key())?;
    let payload = serde_json::to_vec(request)?;
    let answer = w.ns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let answer = runtime.block_on(async {
            match secret {
                true => peering::ask_in_secret(&config, &keys, NodeId(1), &payload, SOON).await,
                false => peering::ask(&config, &keys, NodeId(1), &payload, SOON).await,
            }
        });
        Ok(answer?)
    })?;
    Ok(serde_json::from_slice(&answer)?)
}

#[test]
fn commands_of_a_witness_are_refused_and_counted() -> Result<()> {
    needs!(Cluster);
    with_cluster(two_and_a_witness(), |cluster| {
        let before = fs::read_to_string(cluster.node("a")?.config())?;
        let commands = [
            Request::Standby {
                node: "a".to_owned(),
                force: true,
            },
            Request::Move {
                group: "service".to_owned(),
                node: "b".to_owned(),
            },
            Request::Configure {
                node: "a".to_owned(),
                step: ConfigureStep::Write {
                    text: "[cluster]\n".to_owned(),
                    replaces: 0,
                },
            },
            Request::Configure {
                node: "a".to_owned(),
                step: ConfigureStep::Reload,
            },
        ];
        for command in &commands {
            let secret = matches!(command, Request::Configure { .. });
            match ask_as_witness(cluster, command, secret)? {
                Response::Error { message } => ensure!(
                    message.contains("node w is a witness, which votes and sends no commands"),
                    "{message}"
                ),
                other => anyhow::bail!("{command:?} was answered by {other:?}"),
            }
        }
        // A report is no command, and witnesses with an agent fetch it.
        let report = ask_as_witness(cluster, &Request::Report, false)?;
        ensure!(matches!(report, Response::Report(_)), "{report:?}");
        for (node, count) in [("a", commands.len() as u64), ("b", 0)] {
            let refused = cluster.node(node)?.control.status()?.witness_commands;
            ensure!(refused == count, "{node} refused {refused}");
        }
        let a = cluster.node("a")?;
        has_lines(
            &a.heartbeat(&["status"])?.success()?,
            &["  * Commands:      4 commands of witnesses REFUSED"],
        )?;
        wait_logged(a, "rejected a command from node w: it is a witness")?;
        let shown = cluster.node("b")?.heartbeat(&["status"])?.success()?;
        ensure!(!shown.contains("REFUSED"), "{shown}");
        ensure!(
            fs::read_to_string(a.config())? == before,
            "its file changed"
        );
        ensure!(cluster.holders()? == ["a"], "it was carried out");
        cluster.wait_well(SOON, "a")
    })
}
