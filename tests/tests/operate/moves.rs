//! Moves and standby: an operator moves the service and takes nodes out and back, from any node.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        SOON, Trial,
        availability::wait_served,
        lines::has_lines,
        shortcuts::{node_in, options, wait_holder, wait_status, with_cluster},
    },
    needs,
    node::Node,
    sys::boottime,
    wait::observe,
    wait_until,
};
use heartbeat_user::control::protocol::{GroupEvent, Reason, Status, Vip};

const SECOND: Duration = Duration::from_secs(1);

/// The output of `heartbeat WORDS` on `node`, if it succeeds.
fn output_of(cluster: &Cluster, node: &str, words: &[&str]) -> Result<String> {
    cluster.node(node)?.heartbeat(words)?.success()
}

fn service(status: &Status) -> Result<&Vip> {
    let vip = status.vips.iter().find(|vip| vip.name == "service");
    vip.context("no service in the status")
}

/// Waits until the status of `node` says that `owner` serves.
fn wait_owner(node: &Node, owner: &str) -> Result<()> {
    wait_status(node, &format!("{owner} owns the lease"), |status| {
        service(status).is_ok_and(|vip| vip.owner.as_deref() == Some(owner))
    })
}

#[test]
fn group_moves_from_any_node_to_any_node_and_stays() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let mut trial = Trial::begin("moved by an operator", cluster)?;
        wait_served(&trial.client, "a", SOON)?;
        // The move is requested on the owner, on the new owner, and on a third node.
        for (asked, from, to) in [
            ("a", "a", "b"),
            ("c", "b", "c"),
            ("a", "c", "b"),
            ("b", "b", "a"),
            ("c", "a", "b"),
        ] {
            let at = boottime();
            let done = output_of(cluster, asked, &["move", "service", to])?;
            has_lines(&done, &[&format!("service moved from {from} to {to} in *")])?;
            let order = format!(": move service {to}");
            wait_until(SOON, "the log says who asked", || {
                let log = cluster.node(asked)?.logged()?;
                let mut lines = log.lines().filter(|line| line.contains("uid 0 (process "));
                Ok(lines.any(|line| line.ends_with(&order)))
            })?;
            wait_served(&trial.client, to, SOON)?;
            wait_holder(cluster, Some(to))?;
            let gap = trial.within_a_lease(cluster, at)?;
            trial.note(gap);
            trial.listen(cluster)?;
            let told = trial.event_log.reported_by(from).any(|event| {
                matches!(event.what.of_group(), Some(GroupEvent::LeaseGivenUp(Reason::Moved { to: node }))
                    if node == to)
            });
            ensure!(told, "{from} told of no move: {:#?}", trial.event_log);
        }
        // The best node is eligible, but a move holds until it is undone.
        observe(20 * options().lease, || {
            ensure!(cluster.holders()? == ["b"], "it did not stay");
            Ok(())
        })?;
        let again = output_of(cluster, "a", &["move", "service", "b"])?;
        ensure!(
            again == "service is on b already, and stays there\n",
            "{again}"
        );
        // After `unmove` the best node gets the group.
        let done = output_of(cluster, "c", &["unmove", "service"])?;
        ensure!(done == "service is no longer pinned\n", "{done}");
        wait_served(&trial.client, "a", SOON)?;
        wait_holder(cluster, Some("a"))?;
        // A command that changes nothing succeeds.
        for words in [
            ["unmove", "service"].as_slice(),
            &["standby", "c"],
            &["online", "c"],
            &["maintenance", "on"],
            &["maintenance", "off"],
            &["resource", "start", "service"],
            &["cleanup"],
            &["reload"],
        ] {
            for asked in ["b", "a"] {
                output_of(cluster, asked, words)?;
            }
        }
        trial.finish(cluster).map(drop)
    })
}

/// A command may come while a takeover is under way, or where the last renewal arrived too late.
#[test]
fn move_while_nobody_serves_waits_for_the_next_owner() -> Result<()> {
    needs!(Cluster);
    let long = Options {
        lease: 3 * SECOND,
        max_lease: 6 * SECOND,
        ..options()
    };
    with_cluster(long, |cluster| {
        wait_holder(cluster, Some("a"))?;
        output_of(cluster, "a", &["resource", "stop", "service"])?;
        wait_holder(cluster, None)?;
        let moved = thread::scope(|scope| -> Result<String> {
            let (c, a) = (cluster.node("c")?, cluster.node("a")?);
            let moved = scope.spawn(|| c.heartbeat(&["move", "service", "b"]));
            wait_until(SOON, "the command has come", || {
                Ok(c.logged()?.contains(": move service b"))
            })?;
            a.heartbeat(&["resource", "start", "service"])?.success()?;
            moved.join().expect("no panic")?.success()
        })?;
        has_lines(&moved, &["service moved from a to b in *"])?;
        wait_holder(cluster, Some("b"))
    })
}

#[test]
fn impossible_move_is_refused_and_changes_nothing() -> Result<()> {
    needs!(Cluster);
    let with_witness = Options {
        nodes: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        witnesses: vec!["w".to_owned()],
        ..options()
    };
    with_cluster(with_witness, |cluster| {
        let mut trial = Trial::begin("moves that cannot be", cluster)?;
        output_of(cluster, "a", &["standby", "c"])?;
        cluster.inject("d", Fault::Cut)?;
        for node in ["a", "b"] {
            wait_status(cluster.node(node)?, "d is down, c on standby", |status| {
                let is = |name, state: &str, agent: &str| {
                    node_in(status, name).is_ok_and(|n| n.state == state && n.agent == agent)
                };
                is("c", "up", "standby") && node_in(status, "d").is_ok_and(|d| d.state == "down")
            })?;
        }
        // On the owner, and on another node, where the owner refuses.
        for asked in ["a", "b"] {
            let refused = |words: &[&str], parts: &[&str]| -> Result<()> {
                let ended = cluster.node(asked)?.heartbeat(words)?;
                ended.refusal(parts).with_context(|| format!("{words:?}"))
            };
            refused(
                &["move", "web", "b"],
                &["no group is called `web`; there are service"],
            )?;
            refused(
                &["move", "service", "z"],
                &["no node is called `z`; there are a, b, c, d, w"],
            )?;
            refused(
                &["move", "service", "w"],
                &["node w is a witness: it serves nothing"],
            )?;
            refused(
                &["move", "service", "c"],
                &["node c is standby", "`heartbeat online` ends the standby"],
            )?;
            refused(
                &["move", "service", "d"],
                &["node d does not answer: it takes no group"],
            )?;
            refused(&["standby", "z"], &["no node is called `z`"])?;
            refused(&["online", "d"], &["could not ask node d"])?;
        }
        trial.listen(cluster)?;
        ensure!(cluster.holders()? == ["a"]);
        let acquisitions = trial.finish(cluster)?.acquisitions;
        ensure!(acquisitions == 0, "it moved {acquisitions} times");

        // With two of five voters gone, the next loss stops the service.
        cluster.inject("a", Fault::Cut)?;
        cluster.inject("w", Fault::Cut)?;
        wait_holder(cluster, None)?;
        let b = cluster.node("b")?;
        wait_status(b, "nobody serves", |status| {
            service(status).is_ok_and(|vip| vip.owner.is_none())
        })?;
        b.heartbeat(&["move", "service", "b"])?
            .refusal(&["no node serves service at the moment"])
    })
}

#[test]
fn node_on_standby_serves_nothing_until_it_is_online() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let mut trial = Trial::begin("owner put on standby", cluster)?;
        wait_served(&trial.client, "a", SOON)?;
        let at = boottime();
        let done = output_of(cluster, "c", &["standby", "a"])?;
        ensure!(
            done == "node a is on standby and serves nothing\n",
            "{done}"
        );
        ensure!(!cluster.holders()?.contains(&"a"));
        trial.succeeded(cluster, "a", at)?;
        wait_holder(cluster, Some("b"))?;
        has_lines(
            &output_of(cluster, "b", &["status"])?,
            &[
                "  * Node a (id 1): online (standby)*",
                "  * Node b (id 2, this node): online*",
                "  * service (10.77.0.100/24 on hb0): Started b",
            ],
        )?;

        // Standby belongs to the node: it outlives the agent.
        trial.listen(cluster)?;
        ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
        trial.heal(cluster, "a", Fault::Kill)?;
        wait_status(cluster.node("a")?, "it is on standby still", |status| {
            status.state == "standby" && status.quorum.alive == 3
        })?;
        observe(10 * options().lease, || {
            ensure!(cluster.holders()? == ["b"], "it took the address");
            Ok(())
        })?;
        // The next node goes on standby as well, by a request on the first.
        let done = output_of(cluster, "a", &["standby", "b"])?;
        ensure!(
            done == "node b is on standby and serves nothing\n",
            "{done}"
        );
        wait_served(&trial.client, "c", SOON)?;

        for (asked, node) in [("b", "a"), ("b", "b")] {
            let done = output_of(cluster, asked, &["online", node])?;
            ensure!(done == format!("node {node} is online\n"), "{done}");
        }
        wait_served(&trial.client, "a", SOON)?;
        cluster.wait_well(SOON, "a")?;
        trial.finish(cluster).map(drop)
    })
}

#[test]
fn status_shows_the_owner_and_the_end_of_its_lease() -> Result<()> {
    needs!(Cluster);
    let long = Options {
        lease: Duration::from_secs(1),
        max_lease: Duration::from_secs(1),
        ..options()
    };
    with_cluster(long, |cluster| {
        for asked in ["a", "b"] {
            let node = cluster.node(asked)?;
            wait_owner(node, "a")?;
            wait_status(node, "all votes are there", |status| {
                let votes = service(status).map(|vip| vip.votes.clone());
                status.node != "a" || votes.is_ok_and(|v| v.is_some_and(|v| v.granted == 3))
            })?;
            let status: Status =
                serde_json::from_str(&output_of(cluster, asked, &["status", "--json"])?)?;
            let vip = service(&status)?;
            let lease = vip.lease.as_ref().context("no lease")?;
            ensure!(status.lease_ns == 1_000_000_000);
            ensure!(
                (1..=status.lease_ns).contains(&lease.remaining_ns),
                "{vip:#?}"
            );
            // The low bits of a ballot are the number of its node.
            ensure!(lease.ballot & 0xffff == 1, "{vip:#?}");
            ensure!(vip.guard.open == (asked == "a"), "{vip:#?}");
            let votes = vip.votes.as_ref().map(|v| (v.granted, v.needed, v.of));
            ensure!(
                votes == (asked == "a").then_some((3, 2, 3)),
                "{asked}: {votes:?}"
            );
        }
        has_lines(
            &output_of(cluster, "a", &["status"])?,
            &[
                "  * service (10.77.0.100/24 on hb0): Started a",
                "    * lease: * left, ballot *.1, 3 of 3 votes",
            ],
        )?;
        let shown = output_of(cluster, "b", &["status"])?;
        // The guard may have counted the owner's own ARP probe, so the number is not compared.
        has_lines(&shown, &["    * lease: * left, ballot *.1*"])?;
        ensure!(!shown.contains("votes"), "only the owner counts: {shown}");

        cluster.inject("c", Fault::Cut)?;
        wait_status(cluster.node("a")?, "a vote is missing", |status| {
            let votes = service(status).map(|vip| vip.votes.clone());
            votes.is_ok_and(|votes| votes.is_some_and(|votes| votes.granted == 2))
        })?;
        has_lines(
            &output_of(cluster, "a", &["status"])?,
            &["    * lease: * left, ballot *.1, 2 of 3 votes"],
        )
    })
}

#[test]
fn commands_without_an_agent_or_an_argument_say_what_is_missing() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        for command in [
            ["move", "service", "b"].as_slice(),
            &["standby", "b"],
            &["standby"],
            &["online"],
        ] {
            a.heartbeat(command)?
                .refusal(&["no agent runs", "`heartbeat run`"])?;
        }
        let short = a.heartbeat(&["move", "service"])?;
        ensure!(
            short.status.code() == Some(2) && short.err.contains("Usage: heartbeat move"),
            "{short:#?}"
        );
        Ok(())
    })
}

/// Stops the agent of `node` by `heartbeat stop FLAGS`, which must succeed.
fn stop(cluster: &mut Cluster, node: &str, flags: &[&str]) -> Result<()> {
    let done = output_of(cluster, node, &[&["stop"][..], flags].concat())?;
    ensure!(done == "stopped\n", "{done}");
    let node = cluster.node_mut(node)?;
    let status = node.agent()?.wait(SOON)?;
    ensure!(status.success(), "the agent ended with {status}");
    node.forget_agent();
    Ok(())
}

#[test]
fn stop_and_standby_that_would_end_the_service_need_force() -> Result<()> {
    needs!(Cluster);
    // An acceptor abstains long enough for the request of a stop.
    let options = Options {
        max_lease: 8 * SECOND,
        ..options()
    };
    with_cluster(options, |cluster| {
        let result_of =
            |cluster: &Cluster, node: &str, words: &[&str]| cluster.node(node)?.heartbeat(words);
        // The last eligible node.
        for node in ["b", "c"] {
            output_of(cluster, "a", &["standby", node])?;
        }
        result_of(cluster, "a", &["standby"])?.refusal(&[
            "no other node can take",
            "b is standby; c is standby",
            "--force",
        ])?;
        result_of(cluster, "b", &["standby", "a"])?.refusal(&["no other node can take"])?;
        ensure!(cluster.holders()? == ["a"], "it does not serve any more");
        output_of(cluster, "b", &["standby", "a", "--force"])?;
        wait_holder(cluster, None)?;
        for node in ["a", "b", "c"] {
            output_of(cluster, "a", &["online", node])?;
        }
        output_of(cluster, "a", &["wait", "--stable", "service", "--on", "a"])?;

        // A node whose vote the majority needs.
        stop(cluster, "c", &[])?;
        wait_status(cluster.node("b")?, "c is down", |status| {
            node_in(status, "c").is_ok_and(|c| c.state == "down")
        })?;
        let why = [
            "without b 1 of 3 nodes would vote, 2 are needed",
            "`heartbeat wait --votes 3`",
            "--force",
        ];
        result_of(cluster, "b", &["stop"])?.refusal(&[&why[..], &["c is down"][..]].concat())?;
        result_of(cluster, "a", &["wait", "--votes", "3", "--timeout", "0.2"])?
            .refusal(&["not within 0.2 s: c is down"])?;
        cluster.start_agent("c")?;
        let c = |status: &Status| node_in(status, "c").map(|c| c.abstains);
        wait_status(cluster.node("b")?, "c abstains", |status| {
            c(status).is_ok_and(|abstains| abstains.is_some_and(|left| !left.at_most))
        })?;
        has_lines(
            &output_of(cluster, "b", &["status"])?,
            &["    * abstains for *, and its vote is missing meanwhile"],
        )?;
        result_of(cluster, "b", &["stop"])?
            .refusal(&[&why[..], &["c abstains for "][..]].concat())?;
        output_of(cluster, "b", &["wait", "--votes", "3"])?;
        wait_status(cluster.node("b")?, "c votes", |status| {
            c(status).is_ok_and(|abstains| abstains.is_none())
        })?;
        stop(cluster, "b", &[])?;
        ensure!(cluster.holders()? == ["a"], "nobody serves");
        wait_status(cluster.node("a")?, "b is down", |status| {
            node_in(status, "b").is_ok_and(|b| b.state == "down")
        })?;
        result_of(cluster, "a", &["stop"])?.refusal(&["b is down"])?;
        stop(cluster, "a", &["--force"])
    })
}

#[test]
fn node_that_stopped_a_moment_ago_counts_for_nothing() -> Result<()> {
    needs!(Cluster);
    // Long enough for the other nodes to be asked before the one that stopped is taken for dead.
    let options = Options {
        timeout: 4 * SECOND,
        agent_stall: 4 * SECOND,
        ..options()
    };
    with_cluster(options, |cluster| {
        stop(cluster, "c", &[])?;
        let b = cluster.node("b")?;
        let c = node_in(&b.control.status()?, "c")?.state.clone();
        ensure!(c != "down", "it is taken for dead already");
        b.heartbeat(&["stop"])?.refusal(&[
            "without b 1 of 3 nodes would vote, 2 are needed",
            "; c ",
            "--force",
        ])?;
        output_of(cluster, "a", &["standby", "b"])?;
        let a = cluster.node("a")?;
        a.heartbeat(&["standby"])?.refusal(&[
            "no other node can take",
            "b is standby; c does not answer",
            "--force",
        ])?;
        ensure!(cluster.holders()? == ["a"], "it does not serve any more");
        stop(cluster, "b", &["--force"])?;
        stop(cluster, "a", &["--force"])
    })
}
