//! Agents that are killed while resources start, run and stop. The next agent finds what runs.

use std::time::Duration;

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        Actors, Program, SOON,
        actors::{actor, group, vip},
        availability::{longest_silence, wait_served},
        groups::{client, output_of, wait_agent, wait_all_active, wait_runs, with_groups},
        machine_stalls::MachineStalls,
    },
    needs,
    sys::boottime,
    wait::observe,
    wait_until,
};

const QUICK: Duration = Duration::from_millis(200);
const ALL: [&str; 3] = ["one", "two", "three"];

fn web() -> String {
    let mut resources = vec![vip("webip", 101)];
    resources.extend(ALL.map(|name| actor(name, QUICK, "")));
    // Infinite stickiness: only the faults of the test move the group.
    group("web", "stickiness = \"inf\"", &resources)
}

/// Waits until the whole group runs on one node and nothing of it elsewhere, in fact and by the
/// status. Returns the node.
fn wait_once(cluster: &mut Cluster, actors: &Actors) -> Result<String> {
    let mut last = (Vec::new(), Vec::new());
    let mut owner = String::new();
    let waited = wait_until(SOON, "it runs on one node alone", || {
        cluster.check_agents()?;
        last = actors.running_on(&["a", "b"], &ALL);
        owner = last.0.first().cloned().unwrap_or_default();
        Ok(last.0.len() == 1 && last.0 == last.1)
    });
    waited.map_err(|error| error.context(format!("all of it, and some of it, ran on {last:?}")))?;
    wait_runs(cluster, "web", &owner)?;
    wait_all_active(cluster)?;
    Ok(owner)
}

#[test]
fn agent_killed_at_any_step_leaves_the_group_running_once() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web()), &["web"], |cluster| {
        // The action and the resource during which the agent is killed. Without one, all resources
        // run.
        for (action, resource) in [
            ("", ""),
            ("start", "one"),
            ("start", "three"),
            ("stop", "three"),
            ("stop", "one"),
            ("start", "two"),
        ] {
            let owner = wait_once(cluster, &actors)?;
            let other = if owner == "a" { "b" } else { "a" };
            let slow = |node: &str| actors.script(node, resource, action, "sleep 3");
            let mark = actors.mark()?;
            let victim = match action {
                "" => owner.as_str(),
                "start" => other,
                _ => owner.as_str(),
            };
            if !action.is_empty() {
                slow(victim)?;
                // The command is not awaited, since it never ends.
                let node = cluster.node(&owner)?;
                let _moving =
                    Program::start(Some(&node.ns), node.command(&["move", "web", other])?)?;
                actors.wait_call(mark, victim, resource, action)?;
            }
            cluster.inject(victim, Fault::Kill)?;
            // The next agent starts at once, or after another node has taken over.
            if resource != "two" {
                let survivor = if victim == "a" { "b" } else { "a" };
                wait_runs(cluster, "web", survivor)?;
            }
            if !action.is_empty() {
                actors.unscript(victim, resource, action)?;
            }
            cluster.heal(victim, Fault::Kill)?;
            wait_agent(cluster, victim)?;
            let now = wait_once(cluster, &actors)?;
            actors.never_twice(false)?;
            eprintln!("killed {victim} in {action} {resource}: from {owner} to {now}");
        }
        // A requested move may have waited for the killed agent: it is over by now, too.
        observe(Duration::from_secs(4), || cluster.check_agents())?;
        // An action of a killed agent does not go on: the last one that began would have ended by
        // now.
        let owner = wait_once(cluster, &actors)?;
        observe(Duration::from_secs(3), || {
            let now = actors.running_on(&["a", "b"], &ALL);
            ensure!(now.1 == [owner.as_str()], "it ran on {now:?}");
            Ok(())
        })
    })
}

#[test]
fn agent_back_before_its_lease_ends_keeps_the_group() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let long = Options {
        lease: Duration::from_secs(5),
        max_lease: Duration::from_secs(5),
        ..actors.options(web())
    };
    with_groups(&actors, long, &["web"], |cluster| {
        let client = client(cluster, 101, Duration::from_millis(1))?;
        wait_served(&client, "a", SOON)?;
        let stalls = MachineStalls::begin()?;
        let (mark, at) = (actors.mark()?, boottime());
        cluster.inject("a", Fault::Kill)?;
        // A resource that ended meanwhile is started, with those that come after it.
        actors.end("a", "two")?;
        cluster.heal("a", Fault::Kill)?;
        wait_agent(cluster, "a")?;
        actors.wait_actions(
            mark,
            &ALL,
            &["a three stop", "a two start", "a three start"],
        )?;
        wait_runs(cluster, "web", "a")?;
        let gap = longest_silence(&client, at);
        eprintln!("killed and back within the lease: {gap:?} without");
        let most = Duration::from_secs(1) + stalls.since(at);
        ensure!(gap < most, "{gap:?} without the address");
        output_of(cluster, "b", &["status"])?;
        actors.never_twice(true)
    })
}
