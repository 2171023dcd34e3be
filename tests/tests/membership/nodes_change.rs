//! Nodes are added and removed while the cluster serves. No lease, vote or answer is lost.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        EventLog, MILLISECOND, SOON,
        actors::{group, vip},
        availability::{servers, wait_served},
        groups::{output_of, result_of},
        lines::has_lines,
        shortcuts::{self, node_in, wait_status},
    },
    needs,
    sys::boottime,
    wait_until,
};
use heartbeat_user::control::protocol::{Event, GroupEvent, Status};

/// The nodes that stay. The first serves the client, the second another address.
const FOUNDERS: [&str; 3] = ["a", "b", "c"];
const MOVABLE: [&str; 2] = ["d", "e"];

fn options() -> Options {
    let all = FOUNDERS.iter().chain(&MOVABLE);
    let other = "[[location]]\ngroup = \"other\"\nnode = \"b\"\nscore = 100\n";
    let groups = group("service", "", &[vip("service", 100)])
        + &group("other", "", &[vip("other", 101)])
        + other;
    Options {
        nodes: all.map(|name| (*name).to_owned()).collect(),
        groups: Some(groups),
        max_lease: Duration::from_millis(500),
        ..shortcuts::options()
    }
}

/// Builds a cluster with the founders alone in its files, starts them, and waits until both
/// addresses are served.
fn begin(test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    Cluster::run(options(), |cluster| {
        for node in FOUNDERS {
            write(cluster, node, 1, &FOUNDERS)?;
            cluster.start_agent(node)?;
        }
        wait_agreed(cluster, 1, &FOUNDERS)?;
        for (name, owner) in [("service", "a"), ("other", "b")] {
            wait_status(
                cluster.node("c")?,
                &format!("{owner} serves {name}"),
                |status| {
                    let group = status.groups.iter().find(|group| group.name == name);
                    group
                        .is_some_and(|group| group.running && group.owner.as_deref() == Some(owner))
                },
            )?;
        }
        test(cluster)
    })
}

/// Writes the file of `node` with `members` and config_version `version`.
fn write(cluster: &Cluster, node: &str, version: u16, members: &[&str]) -> Result<()> {
    let path = cluster.node(node)?.config();
    let kept = path.with_extension("whole");
    if !kept.exists() {
        fs::copy(&path, &kept)?;
    }
    let whole = fs::read_to_string(kept)?;
    let mut text = whole.replacen(
        "name = \"rig\"\n",
        &format!("name = \"rig\"\nconfig_version = {version}\n"),
        1,
    );
    for name in FOUNDERS
        .iter()
        .chain(&MOVABLE)
        .filter(|name| !members.contains(name))
    {
        let block = format!("\n[[node]]\nname = \"{name}\"\n");
        let Some((before, after)) = text.split_once(&block) else {
            anyhow::bail!("{name} is not in the file");
        };
        let rest = after.split_once("\n\n").map_or("", |(_, rest)| rest);
        text = format!("{before}\n{rest}");
    }
    Ok(fs::write(path, text)?)
}

/// Writes the files of all `members`, reloads those that run one by one, and starts the others.
fn walk(cluster: &mut Cluster, version: u16, members: &[&str], running: &[&str]) -> Result<()> {
    for node in members {
        write(cluster, node, version, members)?;
    }
    for node in members.iter().filter(|node| !running.contains(node)) {
        cluster.start_agent(node)?;
    }
    for node in running {
        let done = output_of(cluster, node, &["reload"])?;
        let before = done == "nothing has changed\n";
        ensure!(
            before || done.contains(&format!("config_version {version}")),
            "{done}"
        );
    }
    wait_agreed(cluster, version, members)
}

/// Waits until `members` see each other and claim by this version.
fn wait_agreed(cluster: &Cluster, version: u16, members: &[&str]) -> Result<()> {
    for node in members {
        let agreed = |status: &Status| {
            let up = |name: &&str| {
                node_in(status, name).is_ok_and(|node| node.local || node.state == "up")
            };
            status.claiming_version == Some(version)
                && status.quorum.configured == members.len()
                && status.quorum.alive == members.len()
                && status.nodes.len() == members.len()
                && members.iter().all(up)
        };
        let what = format!("{members:?} go by config_version {version}");
        wait_status(cluster.node(node)?, &what, agreed)?;
    }
    Ok(())
}

#[test]
fn nodes_added_and_removed_cost_no_lease_vote_or_answer() -> Result<()> {
    needs!(Cluster);
    begin(|cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut event_log = EventLog::begin(cluster)?;
        let since = boottime();
        bad_changes_are_refused(cluster)?;
        walk(cluster, 2, &["a", "b", "c", "d"], &FOUNDERS)?;
        walk(
            cluster,
            3,
            &["a", "b", "c", "d", "e"],
            &["c", "d", "b", "a"],
        )?;
        // All five nodes vote.
        wait_status(cluster.node("a")?, "all five vote", |status| {
            let mut votes = status
                .groups
                .iter()
                .filter_map(|group| group.votes.as_ref());
            votes
                .next()
                .is_some_and(|votes| (votes.granted, votes.of) == (5, 5))
        })?;
        ensure!(cluster.node_mut("e")?.stop()?);
        walk(cluster, 4, &["a", "b", "c", "d"], &["a", "b", "c", "d"])?;
        ensure!(cluster.node_mut("d")?.stop()?);
        walk(cluster, 5, &FOUNDERS, &["b", "c", "a"])?;

        let until = boottime();
        let mut lost = 0;
        let answered = wait_until(SOON, "all questions are answered", || {
            lost = client.with_records(|records| {
                let asked = records
                    .iter()
                    .filter(|one| one.sent > since && one.sent < until);
                asked.filter(|one| one.answer.is_none()).count()
            });
            Ok(lost == 0)
        });
        ensure!(answered.is_ok(), "{lost} questions got no answer");
        let served = servers(&client, since);
        ensure!(
            served.iter().map(|node| &**node).eq(["a"]),
            "{served:?} served"
        );
        no_lease_moved(cluster, &mut event_log)
    })
}

/// Checks that no lease of the founders has been acquired or given up.
fn no_lease_moved(cluster: &Cluster, event_log: &mut EventLog) -> Result<()> {
    for node in FOUNDERS {
        event_log.listen(cluster, node)?;
        let lease = |event: &&Event| {
            matches!(
                event.what.of_group(),
                Some(GroupEvent::LeaseAcquired { .. } | GroupEvent::LeaseGivenUp(_))
            )
        };
        let told: Vec<_> = event_log.reported_by(node).filter(lease).collect();
        ensure!(told.is_empty(), "{node}: {told:?}");
    }
    Ok(())
}

/// Each bad change is refused with a remedy, and changes nothing.
fn bad_changes_are_refused(cluster: &Cluster) -> Result<()> {
    let refused = |version, members: &[&str], words: &[&str]| {
        write(cluster, "a", version, members)?;
        let mut expected = words.to_vec();
        expected.push("the old configuration stays in force");
        result_of(cluster, "a", &["reload"])?.refusal(&expected)
    };
    let four = ["a", "b", "c", "d"];
    refused(1, &four, &["(different: id 4)", "write config_version = 2"])?;
    refused(
        2,
        &["a", "b", "c", "d", "e"],
        &[
            "config_version 2 changes 2 nodes at once (id 4, 5)",
            "one node at a time",
        ],
    )?;
    refused(
        3,
        &four,
        &[
            "config_version goes from 1 to 3",
            "the next is config_version = 2",
        ],
    )?;
    // One version on one node is accepted; the next has to wait for the other nodes.
    write(cluster, "a", 2, &four)?;
    let done = output_of(cluster, "a", &["reload"])?;
    ensure!(
        done.starts_with("reloaded: node d added, config_version 2"),
        "{done}"
    );
    refused(
        3,
        &["a", "b", "c", "d", "e"],
        &["the change to config_version 2 is not complete: not yet at b, c"],
    )?;
    has_lines(
        &output_of(cluster, "a", &["status"])?,
        &[
            "  * Config version: 2, not in force yet: leases are claimed by version 1; b has 1, c \
             has 1",
        ],
    )?;
    // The next step needs the old file. The acceptor's version stays.
    write(cluster, "a", 2, &four)
}

#[test]
fn node_two_changes_behind_gets_no_vote_and_says_so() -> Result<()> {
    needs!(Cluster);
    begin(|cluster| {
        ensure!(cluster.node_mut("c")?.stop()?);
        // A change does not wait for a node that is down.
        let (four, five) = (["a", "b", "c", "d"], ["a", "b", "c", "d", "e"]);
        for (version, members, comes, running) in [
            (2, &four[..], "d", &["a", "b"][..]),
            (3, &five[..], "e", &["a", "b", "d"][..]),
        ] {
            for node in running.iter().chain([&comes]) {
                write(cluster, node, version, members)?;
            }
            cluster.start_agent(comes)?;
            for node in running {
                output_of(cluster, node, &["reload"])?;
            }
            for node in running.iter().chain([&comes]) {
                let what = format!("config_version {version} in force");
                wait_status(cluster.node(node)?, &what, |status| {
                    status.claiming_version == Some(version)
                })?;
            }
        }
        cluster.start_agent("c")?;
        wait_status(cluster.node("a")?, "c is up", |status| {
            node_in(status, "c")
                .is_ok_and(|node| node.state == "up" && node.config_version == Some(1))
        })?;
        // The others receive c now; c may not have received them yet.
        wait_status(cluster.node("c")?, "a and b are up", |status| {
            ["a", "b"].iter().all(|peer| {
                node_in(status, peer)
                    .is_ok_and(|node| node.state == "up" && node.config_version == Some(3))
            })
        })?;
        has_lines(
            &output_of(cluster, "a", &["status"])?,
            &["  * Config version: 3; c has 1"],
        )?;
        has_lines(
            &output_of(cluster, "c", &["status"])?,
            &["  * Config version: 1; a has 3, b has 3"],
        )?;
        // Node c gets its own vote alone.
        cluster.inject("a", Fault::Kill)?;
        wait_status(cluster.node("b")?, "b serves in the place of a", |status| {
            let group = status.groups.iter().find(|group| group.name == "service");
            group.is_some_and(|group| group.owner.as_deref() == Some("b"))
        })?;
        // With the present version c is a member again, although it missed one. Only such a node
        // may skip a version.
        write(cluster, "c", 3, &five)?;
        let done = output_of(cluster, "c", &["reload"])?;
        ensure!(
            done.starts_with("reloaded: node d added, node e added, config_version 3"),
            "{done}"
        );
        wait_status(cluster.node("c")?, "c goes by config_version 3", |status| {
            status.claiming_version == Some(3) && status.state == "active"
        })?;
        // A node never goes back to an older version.
        ensure!(cluster.node_mut("c")?.stop()?);
        write(cluster, "c", 1, &FOUNDERS)?;
        let log = result_of(cluster, "c", &["run"])?;
        log.refusal(&["config_version is 1, but this node has already accepted version 3"])
    })
}

/// Makes the file of `node` one that other nodes may replace.
fn accept(cluster: &Cluster, node: &str) -> Result<()> {
    let accepts = "[cluster]\naccept_configuration = true\n";
    cluster.node(node)?.reconfigure("[cluster]\n", accepts)
}

#[test]
fn node_added_and_removed_by_reload_all_costs_no_lease() -> Result<()> {
    needs!(Cluster);
    begin(|cluster| {
        for node in FOUNDERS {
            accept(cluster, node)?;
            output_of(cluster, node, &["reload"])?;
        }
        let mut event_log = EventLog::begin(cluster)?;
        let four = ["a", "b", "c", "d"];
        for node in ["d", "a"] {
            write(cluster, node, 2, &four)?;
            accept(cluster, node)?;
        }
        // The nodes that serve less come first. The new node may start before or after.
        let told = output_of(cluster, "a", &["reload", "--all"])?;
        let added = "reloaded: node d added, config_version 2";
        has_lines(
            &told,
            &[
                &format!("c: {added}*; the file was replaced*"),
                &format!("b: {added}*; the file was replaced*"),
                &format!("a: {added}*"),
                "d: left out: new: copy the file and the key there*",
            ],
        )?;
        cluster.start_agent("d")?;
        wait_agreed(cluster, 2, &four)?;

        // The problems of a node that leaves do not matter.
        ensure!(cluster.node_mut("d")?.stop()?);
        write(cluster, "a", 3, &FOUNDERS)?;
        accept(cluster, "a")?;
        let told = output_of(cluster, "a", &["reload", "--all"])?;
        let removed = "reloaded: node d removed, config_version 3";
        has_lines(
            &told,
            &[
                &format!("c: {removed}*; the file was replaced*"),
                &format!("b: {removed}*; the file was replaced*"),
                &format!("a: {removed}*"),
                "d: left out: it leaves the cluster*",
            ],
        )?;
        wait_agreed(cluster, 3, &FOUNDERS)?;
        no_lease_moved(cluster, &mut event_log)
    })
}
