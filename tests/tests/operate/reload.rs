//! Reloads: running agents take a changed configuration over, and touch only what changed.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        Actors, MILLISECOND, SOON,
        actors::{actor, group, vip},
        availability::{longest_silence, wait_served},
        groups::{client, group_in, output_of, result_of, wait_runs, with_groups},
        lines::has_lines,
        machine_stalls::MachineStalls,
        shortcuts::{wait_logged, wait_status},
    },
    needs,
    sys::boottime,
    wait::observe,
    wait_until,
};
use nix::sys::signal::Signal;

const QUICK: Duration = Duration::from_millis(500);
const WEB: [&str; 2] = ["one", "two"];
const OLD: &str = "params = { role = \"old\" }";
const NEW: &str = "params = { role = \"new\" }";
const ADDED: &str = "# more";
/// The longest gap for a client of an untouched group.
const UNTOUCHED: Duration = Duration::from_millis(200);
/// The time in which any eligible node would have taken a group.
const LEASES: Duration = Duration::from_secs(2);
const MEMBERS: [&str; 2] = ["a", "b"];

/// Two groups, each of an address and actors.
fn groups() -> String {
    let web = [
        vip("webip", 101),
        actor("one", QUICK, ""),
        actor("two", QUICK, OLD),
    ];
    let other = [vip("otherip", 102), actor("other", QUICK, "")];
    group("web", "", &web) + &group("other", "", &other) + ADDED + "\n"
}

fn third() -> String {
    group(
        "third",
        "",
        &[vip("thirdip", 103), actor("third-one", QUICK, "")],
    )
}

/// The last parts of the addresses of a node beside its own.
fn served(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let addresses = cluster.node(node)?.ns.addresses()?;
    let texts = addresses.iter().map(|(_, address)| address.to_string());
    let mut parts: Vec<_> = texts
        .filter_map(|text| Some(text.strip_prefix("10.77.0.10")?.to_owned()))
        .collect();
    parts.sort();
    Ok(parts)
}

fn wait_served_here(cluster: &Cluster, node: &str, wanted: &[&str]) -> Result<()> {
    let what = format!("{node} has the addresses {wanted:?}");
    wait_until(SOON, &what, || Ok(served(cluster, node)? == wanted))
}

/// Changes the file of each node.
fn reconfigure(cluster: &Cluster, old: &str, new: &str) -> Result<()> {
    MEMBERS
        .iter()
        .try_for_each(|node| cluster.node(node)?.reconfigure(old, new))
}

#[test]
fn reload_touches_only_what_changed() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(
        &actors,
        actors.options(groups()),
        &["web", "other"],
        |cluster| {
            let client_of = |host| client(cluster, host, MILLISECOND);
            let (web, other) = (client_of(101)?, client_of(102)?);
            let stalls = MachineStalls::begin()?;
            wait_served(&web, "a", SOON)?;
            wait_served(&other, "a", SOON)?;
            for node in MEMBERS {
                let done = output_of(cluster, node, &["reload"])?;
                ensure!(done == "nothing has changed\n", "{done}");
            }

            // A parameter of a resource changes: the group restarts in place.
            reconfigure(cluster, OLD, NEW)?;
            let (mark, at) = (actors.mark()?, boottime());
            let done = output_of(cluster, "a", &["reload"])?;
            ensure!(
                done == "reloaded: group web changed: resource two replaced\n",
                "{done}"
            );
            for (asked, differing) in [("a", "b"), ("b", "a")] {
                wait_status(
                    cluster.node(asked)?,
                    "the configurations differ",
                    |status| {
                        let other = status.nodes.iter().find(|node| node.name == differing);
                        other.is_some_and(|other| other.config != status.config)
                    },
                )?;
                let differs = format!("  * Configuration: DIFFERS from that of {differing}");
                has_lines(&output_of(cluster, asked, &["status"])?, &[&differs])?;
            }
            output_of(cluster, "b", &["reload"])?;
            for asked in MEMBERS {
                wait_status(
                    cluster.node(asked)?,
                    "the configurations are the same",
                    |status| {
                        status
                            .nodes
                            .iter()
                            .all(|n| n.witness || n.config == status.config)
                    },
                )?;
                ensure!(!output_of(cluster, asked, &["status"])?.contains("DIFFERS"));
            }
            actors.wait_actions(
                mark,
                &WEB,
                &["a two stop", "a one stop", "a one start", "a two start"],
            )?;
            wait_runs(cluster, "web", "a")?;
            ensure!(actors.actions(mark, &["other"])?.is_empty());
            let gap = longest_silence(&other, at);
            eprintln!(
                "reloaded: {:?} without what changed, {gap:?} without the other",
                longest_silence(&web, at)
            );
            let most = UNTOUCHED + stalls.since(at);
            ensure!(gap < most, "the other was away for {gap:?}");

            // A new group with a new address.
            reconfigure(cluster, ADDED, &format!("{ADDED}\n{}", third()))?;
            let (mark, at) = (actors.mark()?, boottime());
            let all = ["one", "two", "other", "third-one"];
            // The node that must not serve the group reloads first, and waits for the other.
            for node in ["b", "a"] {
                let done = output_of(cluster, node, &["reload"])?;
                ensure!(done == "reloaded: group third added\n", "{done}");
                if node == "b" {
                    wait_status(cluster.node(node)?, "a lacks the group", |status| {
                        group_in(status, "third").is_ok_and(|third| third.lacking == ["a"])
                    })?;
                    let line = "  * third   (group): Stopped (not in the configuration of a)";
                    has_lines(&output_of(cluster, node, &["status"])?, &[line])?;
                    observe(LEASES, || {
                        let actions = actors.actions(mark, &all)?;
                        ensure!(actions.is_empty(), "{actions:?}");
                        Ok(())
                    })?;
                }
            }
            actors.wait_actions(mark, &all, &["a third-one start"])?;
            wait_runs(cluster, "third", "a")?;
            let third_client = client_of(103)?;
            wait_served(&third_client, "a", SOON)?;
            let done = output_of(cluster, "b", &["move", "third", "b"])?;
            ensure!(done.starts_with("third moved from a to b"), "{done}");
            wait_served(&third_client, "b", SOON)?;
            wait_served_here(cluster, "b", &["3"])?;

            // SIGHUP removes the group again.
            let mark = actors.mark()?;
            reconfigure(cluster, &third(), "")?;
            for node in MEMBERS {
                cluster.node_mut(node)?.agent()?.signal(Signal::SIGHUP)?;
            }
            actors.wait_actions(
                mark,
                &["one", "two", "other", "third-one"],
                &["b third-one stop"],
            )?;
            wait_served_here(cluster, "b", &[])?;
            for node in MEMBERS {
                wait_status(
                    cluster.node(node)?,
                    "nothing is said of the third",
                    |status| status.groups.len() == 3 && status.vips.len() == 3,
                )?;
                wait_logged(cluster.node(node)?, "SIGHUP: reloaded: group third removed")?;
            }
            let gaps = (longest_silence(&web, at), longest_silence(&other, at));
            let most = UNTOUCHED + stalls.since(at);
            ensure!(gaps.0.max(gaps.1) < most, "{gaps:?}");
            actors.never_twice(true)
        },
    )
}

#[test]
fn reload_that_is_refused_changes_nothing() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(
        &actors,
        actors.options(groups()),
        &["web", "other"],
        |cluster| {
            let a = cluster.node("a")?;
            let good = fs::read_to_string(a.config())?;
            let before = a.control.status()?.config;
            let mark = actors.mark()?;
            let stays = "the old configuration stays in force";

            fs::write(a.config(), good.replace(OLD, "parms = 1"))?;
            let line = good
                .lines()
                .position(|line| line == OLD)
                .map_or(0, |at| at + 1);
            let place = format!("heartbeat.toml:{line}");
            result_of(cluster, "a", &["reload"])?.refusal(&[&place, "parms"])?;

            let slower = good.replace("interval = \"5000us\"", "interval = \"6000us\"");
            ensure!(slower != good, "no such interval in {good}");
            fs::write(a.config(), &slower)?;
            result_of(cluster, "a", &["reload"])?.refusal(&[
                "[cluster] interval",
                "restart",
                stays,
            ])?;

            // The result of a signal is only logged.
            cluster.node_mut("a")?.agent()?.signal(Signal::SIGHUP)?;
            let a = cluster.node("a")?;
            wait_until(SOON, "the log tells of the refusal", || {
                let log = a.logged()?;
                Ok(log.contains("SIGHUP:") && log.contains("[cluster] interval"))
            })?;
            let status = a.control.status()?;
            ensure!(status.config == before && group_in(&status, "web")?.running);
            ensure!(actors.actions(mark, &["one", "two", "other"])?.is_empty());
            fs::write(a.config(), good)?;
            let done = output_of(cluster, "a", &["reload"])?;
            ensure!(done == "nothing has changed\n", "{done}");
            Ok(())
        },
    )
}
