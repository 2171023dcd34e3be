//! Decisions of operators about resources: taken on any node, they hold for all nodes and last.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Fault, Options,
    e2e::{
        Actors, MILLISECOND, SOON,
        actors::{actor, group, vip},
        availability::{longest_silence, wait_served},
        groups::{
            client, output_of, result_of, wait_agent, wait_all_active, wait_group, wait_runs,
            wait_stopped, with_groups,
        },
        lines::has_lines,
        machine_stalls::MachineStalls,
        shortcuts::wait_status,
    },
    needs,
    sys::boottime,
    wait::observe,
    wait_until,
};

const QUICK: Duration = Duration::from_millis(200);
const ALL: [&str; 3] = ["one", "two", "three"];

fn groups() -> String {
    let mut web = vec![vip("webip", 101)];
    web.extend(ALL.map(|name| actor(name, QUICK, "")));
    group("web", "", &web) + &group("other", "", &[actor("other1", QUICK, "")])
}

#[test]
fn group_stopped_by_an_operator_stays_stopped_until_it_is_started() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(
        &actors,
        actors.options(groups()),
        &["web", "other"],
        |cluster| {
            // A resource is stopped, with those after it, from the other node.
            let mark = actors.mark()?;
            let done = output_of(cluster, "b", &["resource", "stop", "two"])?;
            has_lines(
                &done,
                &["two is stopped, and stays so until `heartbeat resource start`"],
            )?;
            actors.wait_actions(mark, &ALL, &["a three stop", "a two stop"])?;
            has_lines(
                &output_of(cluster, "b", &["resource", "show", "two"])?,
                &[
                    "State: * stopped",
                    "Stopped: * by an operator; `heartbeat resource start`",
                ],
            )?;
            ensure!(actors.runs("a", "one"));

            // The decision outlives a restart of all agents.
            for node in ["a", "b"] {
                ensure!(
                    cluster.node_mut(node)?.stop()?,
                    "the agent of {node} failed"
                );
            }
            for node in ["a", "b"] {
                cluster.heal(node, Fault::Kill)?;
                wait_agent(cluster, node)?;
            }
            wait_until(SOON, "what may run does", || {
                let (one, _) = actors.running_on(&["a", "b"], &["one"]);
                Ok(one.len() == 1)
            })?;
            wait_all_active(cluster)?;
            wait_group(cluster, "web", "serves what it may", |group| group.running)?;
            observe(QUICK, || {
                let (_, two) = actors.running_on(&["a", "b"], &["two", "three"]);
                ensure!(two.is_empty(), "it runs on {two:?}");
                Ok(())
            })?;
            let mark = actors.mark()?;
            let done = output_of(cluster, "b", &["resource", "start", "two"])?;
            ensure!(done.starts_with("two runs on "), "{done}");
            let owner = done
                .trim_end()
                .trim_start_matches("two runs on ")
                .to_owned();
            wait_runs(cluster, "web", &owner)?;
            let starts = [format!("{owner} two start"), format!("{owner} three start")];
            let starts = starts.each_ref().map(String::as_str);
            actors.wait_actions(mark, &ALL, &starts)?;

            // The group is stopped and started in place.
            let mark = actors.mark()?;
            let done = output_of(cluster, "b", &["resource", "restart", "two"])?;
            ensure!(done == format!("two was restarted on {owner}\n"), "{done}");
            let again = ["three stop", "two stop", "two start", "three start"];
            let again = again.map(|deed| format!("{owner} {deed}"));
            actors.wait_actions(mark, &ALL, &again.each_ref().map(String::as_str))?;
            ensure!(actors.actions(mark, &["other1"])?.is_empty());

            // A whole group is stopped; unknown names are refused.
            output_of(cluster, "b", &["resource", "stop", "web"])?;
            wait_stopped(cluster, "web")?;
            for asked in ["a", "b"] {
                has_lines(
                    &output_of(cluster, asked, &["status"])?,
                    &["  * web * (group): Stopped (by an operator)"],
                )?;
            }
            result_of(cluster, "a", &["resource", "restart", "two"])?.refusal(&["runs nowhere"])?;
            for (words, part) in [
                (["resource", "stop", "four"].as_slice(), "called `four`"),
                (&["resource", "restart", "four"], "called `four`"),
                (&["cleanup", "four"], "called `four`"),
                (&["cleanup", "--on", "z"], "no node is called `z`"),
                (&["maintenance", "on", "four"], "no group is called `four`"),
                (&["simulate", "--fail", "z"], "no node is called `z`"),
            ] {
                result_of(cluster, "b", words)?
                    .refusal(&[part])
                    .with_context(|| format!("{words:?}"))?;
            }
            output_of(cluster, "a", &["resource", "start", "web"])?;
            wait_group(cluster, "web", "runs again", |group| group.running)?;
            actors.never_twice(true)
        },
    )
}

#[test]
fn group_in_maintenance_is_not_touched_and_is_served() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(
        &actors,
        actors.options(groups()),
        &["web", "other"],
        |cluster| {
            let client = client(cluster, 101, MILLISECOND)?;
            wait_served(&client, "a", SOON)?;
            let stalls = MachineStalls::begin()?;
            let at = boottime();
            // Maintenance for one group, from the other node; then for all groups.
            for (words, others) in [(["web"].as_slice(), true), (&[], false)] {
                let on: Vec<&str> = ["maintenance", "on"].iter().chain(words).copied().collect();
                let off: Vec<&str> = ["maintenance", "off"]
                    .iter()
                    .chain(words)
                    .copied()
                    .collect();
                let done = output_of(cluster, "b", &on)?;
                ensure!(
                    done.ends_with("nothing is started, stopped or monitored\n"),
                    "{done}"
                );
                wait_group(cluster, "web", "is left alone", |group| group.maintenance)?;
                let except: &[&str] = if others { &["other1"] } else { &[] };
                actors.wait_quiet("a", except, QUICK * 2)?;
                let mark = actors.mark()?;
                actors.end("a", "two")?;
                observe(QUICK * 4, || actors.no_calls(mark, "a", except))?;
                result_of(cluster, "a", &["resource", "restart", "one"])?
                    .refusal(&["group web is in maintenance"])?;
                result_of(cluster, "b", &["resource", "stop", "web"])?
                    .refusal(&["group web is in maintenance"])?;
                output_of(cluster, "a", &off)?;
                actors.wait_actions(
                    mark,
                    &ALL,
                    &["a three stop", "a two start", "a three start"],
                )?;
                wait_runs(cluster, "web", "a")?;
            }
            let gap = longest_silence(&client, at);
            eprintln!("maintenance, twice on and off: {gap:?} without");
            let most = Duration::from_millis(200) + stalls.since(at);
            ensure!(gap < most, "{gap:?} without the address");
            actors.never_twice(true)
        },
    )
}

#[test]
fn node_that_was_away_learns_decisions() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let options = Options {
        ..actors.options(groups())
    };
    with_groups(&actors, options, &["web", "other"], |cluster| {
        let table = output_of(cluster, "b", &["simulate", "--fail", "a"])?;
        has_lines(
            &table,
            &[
                "If node a failed: 2 nodes alive, 2 needed: with quorum",
                "  * web: a -> b",
            ],
        )?;
        let json: serde_json::Value = serde_json::from_str(&output_of(
            cluster,
            "b",
            &["simulate", "--fail", "a", "--json"],
        )?)?;
        ensure!(json["groups"][1]["to"] == "b", "{json}");
        // The node agrees with the decision.
        cluster.inject("a", Fault::Kill)?;
        wait_runs(cluster, "web", "b")?;
        wait_runs(cluster, "other", "b")?;

        let done = output_of(cluster, "b", &["resource", "stop", "other"])?;
        ensure!(done.starts_with("other is stopped"), "{done}");
        output_of(cluster, "b", &["maintenance", "on", "web"])?;
        let mark = actors.mark()?;
        cluster.heal("a", Fault::Kill)?;
        wait_agent(cluster, "a")?;
        wait_group(cluster, "web", "is left alone", |group| group.maintenance)?;
        wait_status(cluster.node("a")?, "it knows what is stopped", |status| {
            status
                .groups
                .iter()
                .any(|group| group.name == "other" && group.stopped)
        })?;
        observe(QUICK * 2, || {
            ensure!(
                !actors
                    .actions(mark, &ALL)?
                    .iter()
                    .any(|deed| deed.contains("start"))
            );
            Ok(())
        })?;
        output_of(cluster, "a", &["maintenance", "off", "web"])?;
        // The better node takes the group back, and nothing that the killed agent left runs on.
        wait_runs(cluster, "web", "a")?;
        wait_until(SOON, "all runs where it should, and nowhere else", || {
            let web = actors.running_on(&["a", "b"], &ALL);
            let other = actors.running_on(&["a", "b"], &["other1"]).1;
            Ok(web.0 == ["a"] && web.1 == ["a"] && other.is_empty())
        })?;
        let status = cluster.node("b")?.control.status()?;
        ensure!(
            !status
                .groups
                .iter()
                .any(|group| group.name == "web" && group.maintenance)
        );
        actors.never_twice(false)
    })
}
