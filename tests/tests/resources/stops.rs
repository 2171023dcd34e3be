//! Stops that take long or never end. A planned move never starts a group on two nodes, and no
//! process of a resource agent outlives its node's claim to the group.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        Actors, SOON,
        actors::{actor, group, vip},
        groups::{
            output_of, result_of, wait_all_active, wait_failure, wait_group, wait_runs, with_groups,
        },
        hung_file::HungFile,
        lines::has_lines,
        rights::helper_of,
        shortcuts::wait_status,
    },
    needs,
    wait::observe,
    wait_until,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const QUICK: Duration = Duration::from_millis(200);
const TIMES: &str = "start_timeout = \"2s\"\nstop_timeout = \"2s\"\nmonitor_timeout = \"30s\"";

fn web(settings: &str) -> String {
    group(
        "web",
        "",
        &[vip("webip", 101), actor("one", QUICK, settings)],
    )
}

/// Waits until a script has written a process id, and returns it.
fn left(actors: &Actors, name: &str) -> Result<Pid> {
    let path = actors.path("pids").join(name);
    let mut pid = None;
    wait_until(SOON, &format!("{name} is written"), || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        pid = text.strip_suffix('\n').and_then(|text| text.parse().ok());
        Ok(pid.is_some())
    })?;
    pid.map(Pid::from_raw).context("no number")
}

fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn move_during_a_monitor_cancels_the_monitor() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web(TIMES)), &["web"], |cluster| {
        let slow = "sleep 25 & echo $! >\"$OCF_ROOT/pids/slow\"; wait";
        actors.script("a", "one", "monitor", slow)?;
        let slow = left(&actors, "slow")?;
        let began = Instant::now();
        output_of(cluster, "a", &["move", "web", "b"])?;
        let took = began.elapsed();
        eprintln!("moved in {took:?} beside a monitor of 25 s");
        ensure!(took < Duration::from_secs(15), "it took {took:?}");
        wait_until(SOON, "the monitor's child is killed", || Ok(!lives(slow)))?;
        ensure!(!actors.runs("a", "one"), "it still runs on a");
        actors.never_twice(true)
    })
}

#[test]
fn unkillable_stop_blocks_the_group_and_the_agent_stays() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web(TIMES)), &["web"], |cluster| {
        let silent = HungFile::mount(actors.path("silent"))?;
        let sleep = format!("read x <{}", silent.file().display());
        actors.script("a", "one", "stop", &sleep)?;
        let mark = actors.mark()?;
        result_of(cluster, "b", &["move", "web", "b"])?.refusal(&["blocked on a"])?;
        wait_failure(cluster, "the stop timed out", |failure| {
            failure.action == "stop" && failure.outcome == "timed out, and cannot be killed"
        })?;
        has_lines(
            &output_of(cluster, "b", &["status"])?,
            &["  * web * (group): BLOCKED a"],
        )?;
        let why = output_of(cluster, "b", &["explain", "web"])?;
        ensure!(why.contains("BLOCKED there"), "{why}");
        // A stop of the agent does not end the block either. A stop for a restart waits, and can
        // still become a full stop.
        result_of(cluster, "a", &["stop", "--keep"])?.refusal(&["keeps running", "web"])?;
        result_of(cluster, "a", &["stop"])?.refusal(&[
            "keeps running",
            "web",
            "`heartbeat cleanup web`",
        ])?;
        observe(Duration::from_secs(1), || {
            ensure!(!actors.runs("b", "one") && actors.runs("a", "one"));
            Ok(())
        })?;
        actors.no_calls(mark, "b", &[])?;

        drop(silent);
        actors.unscript("a", "one", "stop")?;
        output_of(cluster, "b", &["cleanup", "web"])?;
        wait_status(cluster.node("b")?, "web runs on b", |status| {
            let web = status.groups.iter().find(|group| group.name == "web");
            web.is_some_and(|group| group.running && group.owner.as_deref() == Some("b"))
        })?;
        let status = cluster.node_mut("a")?.agent()?.wait(SOON)?;
        ensure!(status.success(), "{status}");
        ensure!(!cluster.node("a")?.pins.path().exists(), "pins are left");
        actors.never_twice(true)
    })
}

#[test]
fn unkillable_start_is_not_started_elsewhere() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(&actors, actors.options(web(TIMES)), &["web"], |cluster| {
        let silent = HungFile::mount(actors.path("silent"))?;
        // The actor's own process can be killed.
        let sleep = format!("cat {}; :", silent.file().display());
        actors.script("a", "one", "start", &sleep)?;
        actors.end("a", "one")?;
        let mark = actors.mark()?;
        let failure = wait_failure(cluster, "the start timed out", |failure| {
            failure.action == "start"
        })?;
        ensure!(failure.outcome.contains("cannot be killed"), "{failure:#?}");
        ensure!(failure.message.contains("does not end"), "{failure:#?}");
        wait_group(cluster, "web", "is blocked", |group| {
            group.blocked.as_deref() == Some("a")
        })?;
        // A cleanup is refused, since the action is still running.
        result_of(cluster, "b", &["cleanup", "web"])?.refusal(&["web is still blocked on a"])?;
        observe(Duration::from_secs(1), || {
            ensure!(!actors.runs("b", "one"), "it was started beside the first");
            Ok(())
        })?;
        actors.no_calls(mark, "b", &[])?;

        actors.unscript("a", "one", "start")?;
        drop(silent);
        wait_group(cluster, "web", "runs", |group| {
            group.running && group.blocked.is_none()
        })?;
        actors.never_twice(true)
    })
}

#[test]
fn unkillable_monitor_times_out() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let times = "stop_timeout = \"5s\"\nmonitor_timeout = \"1s\"\nmigration_threshold = 1";
    with_groups(&actors, actors.options(web(times)), &["web"], |cluster| {
        let silent = HungFile::mount(actors.path("silent"))?;
        let sleep = format!("read x <{}", silent.file().display());
        actors.script("a", "one", "monitor", &sleep)?;
        let failure = wait_failure(cluster, "the monitor timed out", |failure| {
            failure.action == "monitor"
        })?;
        ensure!(failure.outcome == "timed out", "{failure:#?}");
        ensure!(failure.message.contains("does not end"), "{failure:#?}");
        wait_runs(cluster, "web", "b")?;
        drop(silent);
        actors.never_twice(true)
    })
}

/// Three busy processes: a child in another process group and session, a child in the same, and the
/// actor.
const FAMILY: &str = "rm -f \"$OCF_ROOT/pids/far\" \"$OCF_ROOT/pids/near\" \"$OCF_ROOT/pids/agent\"
setsid sh -c 'echo $$ >\"$OCF_ROOT/pids/far\"; while :; do :; done' &
sh -c 'echo $$ >\"$OCF_ROOT/pids/near\"; while :; do :; done' &
echo $$ >\"$OCF_ROOT/pids/agent\"
while :; do sleep 1; done";

#[test]
fn children_of_an_action_die_with_helper_and_agent_and_daemons_stay() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let daemon = "setsid sleep 600 >/dev/null 2>&1 & echo $! >\"$OCF_ROOT/pids/daemon\"";
    actors.script("a", "one", "start", daemon)?;
    with_groups(&actors, actors.options(web(TIMES)), &["web"], |cluster| {
        let daemon = left(&actors, "daemon")?;
        for victim in ["helper", "agent"] {
            actors.script("a", "one", "monitor", FAMILY)?;
            let family = ["far", "near", "agent"].map(|name| left(&actors, name));
            let family = family.into_iter().collect::<Result<Vec<_>>>()?;
            let agent = cluster.node_mut("a")?.agent()?.pid();
            let helper = Pid::from_raw(helper_of(agent)?.cast_signed());
            match victim {
                "helper" => {
                    kill(helper, Signal::SIGKILL)?;
                    cluster.node_mut("a")?.agent()?.wait(SOON)?;
                }
                _ => cluster.node_mut("a")?.agent()?.kill()?,
            }
            let began = Instant::now();
            wait_until(
                SOON,
                &format!("all that ran under the {victim} ended"),
                || Ok(!family.iter().any(|pid| lives(*pid))),
            )?;
            eprintln!("{victim}: all had ended {:?} later", began.elapsed());
            ensure!(
                lives(daemon),
                "what a start left was killed with the {victim}"
            );
            actors.unscript("a", "one", "monitor")?;
            for name in ["far", "near", "agent"] {
                fs::remove_file(actors.path("pids").join(name))?;
            }
            cluster.start_agent("a")?;
            wait_all_active(cluster)?;
            output_of(cluster, "b", &["move", "web", "a"])?;
        }
        Ok(())
    })
}

#[test]
fn group_runs_only_where_its_software_is_installed() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let service = "\n[[group.resource]]\nname = \"daemon\"\ntype = \"exec\"\n\
                   run = [\"%DIR%/service\"]\n";
    let agent = "\n[[group.resource]]\nname = \"agent\"\ntype = \"ocf:nobody:nothing\"\n";
    let unit = "\n[[group.resource]]\nname = \"unit\"\ntype = \"systemd:no-such-thing\"\n";
    let groups = group("web", "", &[vip("webip", 101), service.to_owned()])
        + &group("lost", "", &[agent.to_owned()])
        + &group("unit", "", &[unit.to_owned()]);
    Cluster::run(actors.options(groups), |cluster| {
        let program = cluster.node("b")?.dir().join("service");
        let text = "#!/bin/sh\nexec sleep 600\n".to_owned();
        fs::write(&program, text)?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, executable)?;
        cluster.start_agents()?;
        wait_runs(cluster, "web", "b")?;
        for name in ["web", "lost", "unit"] {
            wait_group(cluster, name, "is barred where it cannot run", |group| {
                let barred = if name == "web" { 1 } else { 2 };
                group.blocked.is_none() && group.barred.len() == barred
            })?;
        }
        // The software is installed later, and the failure is cleaned up.
        fs::copy(&program, cluster.node("a")?.dir().join("service"))?;
        output_of(cluster, "b", &["cleanup", "web"])?;
        wait_group(cluster, "web", "may run on both", |group| {
            group.barred.is_empty()
        })?;
        output_of(cluster, "b", &["move", "web", "a"])?;
        wait_runs(cluster, "web", "a")?;
        output_of(cluster, "b", &["resource", "stop", "web"])?;
        Ok(())
    })
}

#[test]
fn group_that_failed_everywhere_runs_after_repair_and_reload() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let broken = "run = [\"/bin/false\"]\n";
    let service = format!("\n[[group.resource]]\nname = \"daemon\"\ntype = \"exec\"\n{broken}");
    let whole = group("web", "", &[service]);
    Cluster::run(actors.options(whole.clone()), |cluster| {
        cluster.start_agents()?;
        let fails = |cluster: &Cluster| {
            wait_group(cluster, "web", "failed on both", |group| {
                group.barred.len() == 2 && group.owner.is_none()
            })
        };
        fails(cluster)?;
        let change = |cluster: &Cluster, old: &str, new: &str| -> Result<()> {
            for node in ["a", "b"] {
                cluster.node(node)?.reconfigure(old, new)?;
                output_of(cluster, node, &["reload"])?;
            }
            Ok(())
        };
        let mended = "run = [\"/bin/sleep\", \"600\"]\n";
        change(cluster, broken, mended)?;
        wait_group(cluster, "web", "runs", |group| {
            group.running && group.barred.is_empty()
        })?;
        // The same works by way of a configuration without the resource.
        change(cluster, mended, broken)?;
        fails(cluster)?;
        let other = group("other", "", &[vip("otherip", 102)]);
        let broken_whole = whole.clone();
        change(cluster, &broken_whole, &other)?;
        change(cluster, &other, &whole.replace(broken, mended))?;
        wait_group(cluster, "web", "runs again", |group| {
            group.running && group.barred.is_empty()
        })?;
        output_of(cluster, "a", &["resource", "stop", "web"])?;
        Ok(())
    })
}
