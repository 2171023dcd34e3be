//! Groups of resources: started in order, stopped in reverse, repaired, moved, and never run twice.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        Actors, MILLISECOND, SOON,
        actors::{actor, group, vip},
        availability::{longest_silence, wait_served},
        groups::{
            client, output_of, result_of, wait_agent, wait_all_active, wait_failure, wait_group,
            wait_runs, wait_stopped, with_groups,
        },
        lines::has_lines,
        shortcuts::wait_status,
    },
    needs,
    sys::boottime,
    wait_until,
};
use heartbeat_user::control::protocol::Group;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const QUICK: Duration = Duration::from_millis(200);
const ALL: [&str; 3] = ["one", "two", "three"];

/// A group of an address and three actors.
fn web(settings: &str) -> String {
    let mut resources = vec![vip("webip", 101)];
    resources.extend(ALL.map(|name| actor(name, QUICK, "")));
    group("web", settings, &resources)
}

/// The calls of a move: the group stops on `from`, then starts on `to`.
fn over(from: &str, to: &str) -> Vec<String> {
    let stops = ALL.iter().rev().map(|name| format!("{from} {name} stop"));
    let starts = ALL.iter().map(|name| format!("{to} {name} start"));
    stops.chain(starts).collect()
}

fn strs(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

#[test]
fn group_starts_in_order_and_stops_in_reverse_on_each_node() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web("")), &["web"], |cluster| {
        actors.wait_actions(0, &ALL, &["a one start", "a two start", "a three start"])?;
        let client = client(cluster, 101, MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        tell_where(cluster, "a")?;

        let go = |cluster: &mut Cluster, what: &str, from: &str, to: &str| -> Result<()> {
            let (mark, at) = (actors.mark()?, boottime());
            match what {
                "move" => {
                    let done = output_of(cluster, from, &["move", "web", to])?;
                    has_lines(&done, &[&format!("web moved from {from} to {to} in *")])?;
                }
                "end" => ensure!(
                    cluster.node_mut(from)?.stop()?,
                    "the agent of {from} failed"
                ),
                _ => {
                    output_of(cluster, to, &[what, from])?;
                }
            }
            wait_runs(cluster, "web", to)?;
            actors.wait_actions(mark, &ALL, &strs(&over(from, to)))?;
            wait_served(&client, to, SOON)?;
            eprintln!(
                "{what} {from} -> {to}: {:?} without",
                longest_silence(&client, at)
            );
            Ok(())
        };
        go(cluster, "move", "a", "b")?;
        tell_where(cluster, "b")?;
        go(cluster, "standby", "b", "a")?;
        output_of(cluster, "a", &["online", "b"])?;
        go(cluster, "end", "a", "b")?;
        let mark = actors.mark()?;
        cluster.heal("a", Fault::Kill)?;
        wait_agent(cluster, "a")?;
        wait_runs(cluster, "web", "b")?;
        // An agent probes all resources before it starts any.
        for name in ALL {
            actors.wait_call(mark, "a", name, "probe")?;
        }
        actors.never_twice(true)
    })
}

/// Checks that each command on each node says that the group runs on `owner`.
fn tell_where(cluster: &Cluster, owner: &str) -> Result<()> {
    for asked in ["a", "b"] {
        let shown = output_of(cluster, asked, &["status"])?;
        has_lines(
            &shown,
            &[
                "Resource List:",
                &format!("  * web * (group): Started {owner}"),
                &format!("    * webip (10.77.0.101/24 on hb0): Started {owner}"),
                &format!("    * one * (ocf:rig:actor): Started {owner}"),
                &format!("    * two * (ocf:rig:actor): Started {owner}"),
                &format!("    * three (ocf:rig:actor): Started {owner}"),
            ],
        )?;
        let table = output_of(cluster, asked, &["resource", "list"])?;
        has_lines(
            &table,
            &[
                "RESOURCE * GROUP * TYPE * STATE * NODE",
                &format!("webip * web * vip * started * {owner}"),
                &format!("one * web * ocf:rig:actor * started * {owner}"),
            ],
        )?;
        let groups: Vec<Group> =
            serde_json::from_str(&output_of(cluster, asked, &["resource", "list", "--json"])?)?;
        let web = groups.iter().find(|group| group.name == "web");
        let web = web.context("no group web")?;
        ensure!(
            web.owner.as_deref() == Some(owner) && web.running,
            "{web:#?}"
        );
        let shown = output_of(cluster, asked, &["resource", "show", "two"])?;
        has_lines(
            &shown,
            &[
                "Resource: * two",
                "Group: * web",
                &format!("State: * started on {owner}"),
                "Failures: * 0",
            ],
        )?;
        let shown: serde_json::Value = serde_json::from_str(&output_of(
            cluster,
            asked,
            &["resource", "show", "two", "--json"],
        )?)?;
        ensure!(shown["resource"]["node"] == owner, "{shown}");
        result_of(cluster, asked, &["resource", "show", "four"])?.refusal(&[
            "no resource is called `four`; there are service, webip, one, two, three",
        ])?;
    }
    Ok(())
}

/// A new agent probes first, which takes as long as the resource agents take.
#[test]
fn node_gets_no_group_back_before_its_probes_end() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web("")), &["web"], |cluster| {
        let down = |cluster: &mut Cluster| -> Result<usize> {
            ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
            wait_runs(cluster, "web", "b")?;
            let mark = actors.mark()?;
            cluster.heal("a", Fault::Kill)?;
            wait_agent(cluster, "a")?;
            Ok(mark)
        };
        let home = |cluster: &Cluster, mark: usize| -> Result<()> {
            wait_runs(cluster, "web", "a")?;
            actors.wait_actions(mark, &ALL, &strs(&over("b", "a")))?;
            let probe = actors.wait_call(mark, "a", "two", "probe")?;
            let stop = actors.wait_call(mark, "b", "three", "stop")?;
            let looked = probe.end.context("it never ended")?.0;
            ensure!(looked <= stop.began, "{probe:?} {stop:?}");
            Ok(())
        };
        actors.script("a", "two", "probe", "sleep 1")?;
        let mark = down(cluster)?;
        home(cluster, mark)?;
        // The group does not return by itself a second time so soon.
        let mark = down(cluster)?;
        let done = output_of(cluster, "b", &["move", "web", "a"])?;
        has_lines(&done, &["web moved from b to a in *"])?;
        home(cluster, mark)?;
        actors.never_twice(true)
    })
}

#[test]
fn failed_resource_is_restarted_in_place_until_the_threshold() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web("")), &["web"], |cluster| {
        let again = ["a three stop", "a two stop", "a two start", "a three start"];
        for failures in 1..=2 {
            let mark = actors.mark()?;
            actors.end("a", "two")?;
            actors.wait_actions(mark, &ALL, &again)?;
            wait_runs(cluster, "web", "a")?;
            wait_group(cluster, "web", "counts its failures", |group| {
                let two = group.resources.iter().find(|one| one.name == "two");
                two.is_some_and(|two| two.failures == failures)
            })?;
        }
        let failure = wait_failure(cluster, "two failed on a", |failure| {
            failure.resource == "two" && failure.node == "a"
        })?;
        ensure!(
            failure.code == Some(7)
                && failure.outcome == "not running (7)"
                && failure.action == "monitor"
                && failure.message == "two is not there",
            "{failure:#?}"
        );

        let mark = actors.mark()?;
        actors.end("a", "two")?;
        actors.wait_actions(mark, &ALL, &strs(&over("a", "b")))?;
        wait_runs(cluster, "web", "b")?;
        wait_group(cluster, "web", "is kept from a", |group| {
            group.barred == ["a"]
        })?;
        for asked in ["a", "b"] {
            has_lines(
                &output_of(cluster, asked, &["status"])?,
                &[
                    "  * web * (group): Started b (failed on a)",
                    "Failed Resource Actions:",
                    "  * two monitor on a: not running (7), at *",
                    "    two is not there",
                ],
            )?;
            result_of(cluster, asked, &["move", "web", "a"])?.refusal(&[
                "web is barred from a after failures there",
                "`heartbeat cleanup`",
            ])?;
        }

        let mark = actors.mark()?;
        let done = output_of(cluster, "b", &["cleanup", "two"])?;
        has_lines(&done, &["cleaned up `two` on a, b", "  web runs on *"])?;
        actors.wait_actions(mark, &ALL, &strs(&over("b", "a")))?;
        wait_runs(cluster, "web", "a")?;
        for asked in ["a", "b"] {
            wait_status(
                cluster.node(asked)?,
                "the failures are forgotten",
                |status| status.failures.is_empty(),
            )?;
        }
        actors.never_twice(true)
    })
}

#[test]
fn failed_start_moves_the_group_at_once_until_no_node_is_left() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    // The group cannot start on a, so there is nothing to wait for at first.
    actors.script("a", "two", "start", "because 'no luck'; finish 1")?;
    with_groups(&actors, actors.options(web("")), &[], |cluster| {
        wait_runs(cluster, "web", "b")?;
        actors.wait_actions(
            0,
            &ALL,
            &[
                "a one start",
                "a two start = 1",
                "a two stop",
                "a one stop",
                "b one start",
                "b two start",
                "b three start",
            ],
        )?;
        let failure = wait_failure(cluster, "the start failed", |failure| {
            failure.action == "start"
        })?;
        ensure!(
            (failure.node.as_str(), failure.code) == ("a", Some(1)) && failure.message == "no luck",
            "{failure:#?}"
        );
        actors.unscript("a", "two", "start")?;
        output_of(cluster, "a", &["cleanup", "two"])?;
        wait_runs(cluster, "web", "a")?;

        // A resource that is not installed is not tried a second time.
        let mark = actors.mark()?;
        actors.script("a", "three", "monitor", "because 'no such file'; finish 5")?;
        actors.wait_actions(mark, &ALL, &strs(&over("a", "b")))?;
        wait_runs(cluster, "web", "b")?;
        let failure = wait_failure(cluster, "three is not installed", |failure| {
            failure.resource == "three"
        })?;
        ensure!(failure.outcome == "not installed (5)", "{failure:#?}");

        actors.script("b", "one", "monitor", "because 'bad'; finish 6")?;
        wait_stopped(cluster, "web")?;
        wait_group(cluster, "web", "failed everywhere", |group| {
            group.barred == ["a", "b"]
        })?;
        for asked in ["a", "b"] {
            has_lines(
                &output_of(cluster, asked, &["status"])?,
                &[
                    "  * web * (group): Stopped (failed on a, b)",
                    "    * one * (ocf:rig:actor): Stopped",
                    "  * three monitor on a: not installed (5), at *",
                    "  * one monitor on b: not configured (6), at *",
                ],
            )?;
        }
        result_of(cluster, "a", &["move", "web", "b"])?.refusal(&["no node serves web"])?;
        let begun = boottime();
        result_of(cluster, "a", &["resource", "start", "web"])?.refusal(&[
            "web is enabled but has not started: failed on a, b: see `heartbeat status`",
        ])?;
        ensure!(boottime().since(begun) < SOON, "it waited for nothing");
        ensure!(
            cluster.node("a")?.ns.addresses()?.len() == 2 + 1,
            "an address was left"
        );
        actors.unscript("b", "one", "monitor")?;
        output_of(cluster, "b", &["cleanup", "--on", "b"])?;
        wait_runs(cluster, "web", "b")?;
        actors.never_twice(true)
    })
}

/// A resource that is a program: it runs for as long as its resource does.
#[test]
fn program_that_ends_is_noticed_at_once_and_adopted_by_the_next_agent() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let program = actors.program(
        "worker",
        &format!(
            "#!/bin/sh\necho $$ >{0}.new && mv {0}.new {0}\nwhile :; do sleep 1; done\n",
            actors.path("pids/worker").display()
        ),
    )?;
    let worker = format!(
        "\n[[group.resource]]\nname = \"worker\"\ntype = \"exec\"\nrun = [\"{}\"]\n\
         monitor_interval = \"never\"\n",
        program.display()
    );
    let pid = || -> Result<Pid> {
        let text = fs::read_to_string(actors.path("pids/worker"))?;
        Ok(Pid::from_raw(text.trim().parse()?))
    };
    let lives = |pid: Pid| kill(pid, None).is_ok();
    let groups = group("web", "", &[vip("webip", 101), worker]);
    let long = Options {
        lease: Duration::from_secs(5),
        max_lease: Duration::from_secs(5),
        ..actors.options(groups)
    };
    with_groups(&actors, long, &["web"], |cluster| {
        wait_until(SOON, "the program runs", || Ok(pid().is_ok_and(lives)))?;
        let first = pid()?;
        kill(first, Signal::SIGKILL)?;
        // No monitor runs: the exit itself is noticed.
        wait_until(SOON, "it runs again", || {
            Ok(pid().is_ok_and(|pid| pid != first && lives(pid)))
        })?;
        wait_runs(cluster, "web", "a")?;
        let failure = wait_failure(cluster, "the program ended", |failure| {
            failure.resource == "worker"
        })?;
        ensure!(failure.node == "a", "{failure:#?}");
        // An agent that is back within the lease finds the program, and watches it.
        let second = pid()?;
        cluster.inject("a", Fault::Kill)?;
        cluster.heal("a", Fault::Kill)?;
        wait_agent(cluster, "a")?;
        wait_runs(cluster, "web", "a")?;
        ensure!(pid()? == second && lives(second), "it was started anew");
        kill(second, Signal::SIGKILL)?;
        wait_until(SOON, "it runs once more", || {
            Ok(pid().is_ok_and(|pid| pid != second && lives(pid)))
        })?;
        wait_runs(cluster, "web", "a")?;
        wait_all_active(cluster)?;
        let third = pid()?;
        output_of(cluster, "b", &["standby", "a"])?;
        wait_until(SOON, "it has moved", || {
            Ok(!lives(third) && pid().is_ok_and(lives))
        })?;
        wait_runs(cluster, "web", "b")
    })
}
