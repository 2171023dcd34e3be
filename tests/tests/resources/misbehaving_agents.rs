//! Resource agents that hang, lie, flood their output, or keep it open. Only their group suffers.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster,
    e2e::{
        Actors, EventLog, SOON,
        actors::{actor, group, vip},
        availability::{wait_served, wait_silent},
        groups::{client, output_of, result_of, wait_failure, wait_group, wait_runs, with_groups},
        lines::has_lines,
        machine_stalls::MachineStalls,
    },
    needs,
    sys::boottime,
    wait::observe,
    wait_until,
};
use nix::{sys::signal::kill, unistd::Pid};

const QUICK: Duration = Duration::from_millis(200);
const TIMES: &str = "start_timeout = \"1s\"\nstop_timeout = \"1s\"\nmonitor_timeout = \"1s\"";
const ALL: [&str; 2] = ["one", "two"];

fn web() -> String {
    let mut resources = vec![vip("webip", 101)];
    resources.extend(ALL.map(|name| actor(name, QUICK, TIMES)));
    group("web", "", &resources)
}

/// Hangs with a child that hangs. Both ignore SIGTERM, and write their process ids to files.
const HANG: &str = "trap '' TERM
sh -c 'trap \"\" TERM; echo $$ >\"$OCF_ROOT/pids/child\"; while :; do sleep 1; done' &
echo $$ >\"$OCF_ROOT/pids/hangs\"
while :; do sleep 1; done";

/// Waits until the hung script and its child have been killed.
fn wait_killed(actors: &Actors) -> Result<()> {
    for file in ["hangs", "child"] {
        let path = actors.path("pids").join(file);
        wait_until(SOON, &format!("`{file}` of the agent is killed"), || {
            let Ok(text) = fs::read_to_string(&path) else {
                return Ok(false);
            };
            let Ok(pid) = text.trim().parse() else {
                return Ok(false);
            };
            Ok(kill(Pid::from_raw(pid), None).is_err())
        })?;
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Checks that no node was reported as down, and that no agent stalled unless the machine did.
fn all_were_well(
    cluster: &Cluster,
    mut event_log: EventLog,
    machine: &MachineStalls,
    since: Boottime,
) -> Result<()> {
    for node in ["a", "b"] {
        event_log.listen(cluster, node)?;
        let pulse = cluster.node(node)?.control.status()?.pulse;
        let stood = machine.since(since);
        ensure!(
            pulse.local_stalls.local_stall_count == 0 || stood > Duration::ZERO,
            "{node} stood still: {pulse:?}"
        );
    }
    event_log.no_down_reports()
}

#[test]
fn hung_stop_blocks_the_group_until_an_operator_repairs_it() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web()), &["web"], |cluster| {
        let (machine, since) = (MachineStalls::of_the_machine()?, boottime());
        let event_log = EventLog::begin(cluster)?;
        let client = client(cluster, 101, Duration::from_millis(1))?;
        wait_served(&client, "a", SOON)?;
        // Node b has probed all resources by then.
        wait_until(SOON, "all calls on b have ended", || {
            let calls = actors.calls()?;
            let on_b = || calls.iter().filter(|call| call.node == "b");
            Ok(on_b().count() == ALL.len() && on_b().all(|call| call.end.is_some()))
        })?;
        let mark = actors.mark()?;
        actors.script("a", "two", "stop", HANG)?;
        result_of(cluster, "b", &["move", "web", "b"])?
            .refusal(&["blocked on a", "`heartbeat cleanup`"])?;
        wait_killed(&actors)?;
        wait_group(cluster, "web", "is blocked on a", |group| {
            group.blocked.as_deref() == Some("a") && group.owner.as_deref() == Some("a")
        })?;
        let failure = wait_failure(cluster, "the stop failed", |failure| {
            failure.action == "stop"
        })?;
        ensure!(
            failure.outcome == "timed out" && failure.code.is_none(),
            "{failure:#?}"
        );
        for asked in ["a", "b"] {
            has_lines(
                &output_of(cluster, asked, &["status"])?,
                &[
                    "  * web * (group): BLOCKED a",
                    "    * two * (ocf:rig:actor): BLOCKED a",
                    "  * two stop on a: timed out, at *",
                ],
            )?;
        }
        wait_silent(&client, SOON)?;
        // The node keeps the lease, and the resources before the hung one run on.
        observe(Duration::from_secs(1), || {
            ensure!(!actors.runs("b", "one") && actors.runs("a", "one"));
            Ok(())
        })?;
        actors.no_calls(mark, "b", &[])?;

        // A cleanup alone does not help: the stop is tried again, hangs again, and is reported
        // again.
        let before = actors.mark()?;
        result_of(cluster, "b", &["cleanup", "two"])?.refusal(&[
            "web is still blocked on a: stop of two on a failed again: timed out: not done after",
        ])?;
        actors.wait_call(before, "a", "two", "stop")?;
        wait_killed(&actors)?;
        wait_group(cluster, "web", "is blocked again", |group| {
            group.blocked.as_deref() == Some("a")
        })?;
        actors.unscript("a", "two", "stop")?;
        let done = output_of(cluster, "b", &["cleanup", "two"])?;
        has_lines(&done, &["cleaned up `two` on a, b", "  web runs on *"])?;
        wait_group(cluster, "web", "goes on", |group| group.blocked.is_none())?;
        wait_until(SOON, "it runs again", || {
            Ok(cluster
                .node("a")?
                .control
                .status()?
                .groups
                .iter()
                .any(|g| g.name == "web" && g.running))
        })?;
        all_were_well(cluster, event_log, &machine, since)?;
        actors.never_twice(true)
    })
}

#[test]
fn misbehaving_resource_agents_disturb_no_heartbeat() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web()), &["web"], |cluster| {
        let (machine, since) = (MachineStalls::of_the_machine()?, boottime());
        let event_log = EventLog::begin(cluster)?;
        // How a start misbehaves, its script, and the outcome that is reported.
        for (what, script, outcome) in [
            ("hangs", HANG, "timed out"),
            ("lies", "finish 0", ""),
            (
                "shouts",
                "head -c 8000000 /dev/zero | tr '\\0' x; head -c 8000000 /dev/zero | tr '\\0' \
                 '\\n' >&2; because loud; finish 1",
                "error (1)",
            ),
            (
                "has no terminal",
                "read -r line </dev/tty || { because 'no terminal'; finish 4; }",
                "insufficient privileges (4)",
            ),
            ("is killed", "kill -9 $$", "killed by signal 9"),
        ] {
            let from = "a";
            actors.script("b", "two", "start", script)?;
            let moved = result_of(cluster, from, &["move", "web", "b"])?;
            wait_runs(cluster, "web", "a")?;
            if what == "hangs" {
                wait_killed(&actors)?;
            }
            let failure = wait_failure(cluster, what, |failure| {
                failure.node == "b" && failure.resource == "two"
            })?;
            eprintln!(
                "{what}: {} {}: {}",
                failure.action, failure.outcome, failure.message
            );
            if outcome.is_empty() {
                ensure!(failure.action == "monitor", "{failure:#?}");
            } else {
                ensure!(moved.status.code() == Some(1), "{what}: {moved:#?}");
                ensure!(failure.outcome == outcome, "{what}: {failure:#?}");
            }
            output_of(cluster, "a", &["cleanup"])?;
            wait_group(cluster, "web", "may run on b again", |group| {
                group.barred.is_empty()
            })?;
        }
        // A script whose child keeps the output open is not awaited.
        actors.script(
            "b",
            "two",
            "start",
            "sleep 60 & echo $! >\"$OCF_ROOT/pids/left\"; because forked",
        )?;
        output_of(cluster, "a", &["move", "web", "b"])?;
        wait_runs(cluster, "web", "b")?;
        all_were_well(cluster, event_log, &machine, since)?;
        actors.never_twice(true)
    })
}
