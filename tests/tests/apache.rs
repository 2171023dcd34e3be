//! The tutorial's web server, imported from its old configuration, with the distribution's own Apache and
//! resource agent: one node serves it, whatever happens to the node or to Apache.

use std::{fs, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault,
    e2e::{
        Trial,
        books::{longest_silence, servers},
        lines::has_lines,
        scene::wait_status,
        trial::runs,
        web::{
            GROUP, Lookout, PATIENCE, SERVER, Steps, apache, client, play, runs_on,
            steps::order_kept, tutorial, wait_pages, wait_started,
        },
    },
    enclosure::Inmate,
    skip::rig_runs,
    sys::boottime,
    wait::observe,
    wait_until,
};
use heartbeat_user::control::protocol::{Status, What};
use nix::sys::signal::Signal;

/// How long a stopped agent stands still.
const STOPPED: Duration = Duration::from_secs(5);
/// The most that a resource agent which looks once a second, on a busy machine, may keep a client waiting
/// when all goes as it should.
const TAKES: Duration = Duration::from_secs(10);

/// Whether there is all that `test` needs.
fn apache_runs(test: &str) -> bool {
    if !rig_runs(test) {
        return false;
    }
    let Some(reason) = apache::missing() else {
        return true;
    };
    let _ = writeln!(
        std::io::stderr(),
        "SKIP {test}: {reason}: `cargo xtask setup --test`"
    );
    false
}

/// What `heartbeat WORDS` says on `node`, if it does well.
fn said(cluster: &Cluster, node: &str, words: &[&str]) -> Result<String> {
    cluster.node(node)?.heartbeat(words)?.success()
}

fn other(node: &str) -> &'static str {
    if node == "a" { "b" } else { "a" }
}

/// Waits until none of `processes` is left on `node`.
fn wait_gone(cluster: &Cluster, node: &str, processes: &[Inmate]) -> Result<()> {
    let what = format!("the Apache of {node} is stopped");
    wait_until(PATIENCE, &what, || {
        let now = cluster.node(node)?.apache()?;
        Ok(!now.iter().any(|one| processes.contains(one)))
    })
}

/// Lets something happen to whoever serves, as often as faults are to happen, until the other serves. Then
/// `afterwards` undoes it, given who served, and since when it does not.
fn again_and_again(
    cluster: &mut Cluster,
    name: &'static str,
    happen: impl Fn(&mut Cluster, &mut Trial, &str) -> Result<Boottime>,
    afterwards: impl Fn(&mut Cluster, &mut Trial, &str, &[Inmate]) -> Result<()>,
) -> Result<()> {
    let web = client(cluster, &served_by(cluster)?)?;
    let mut trial = Trial::of(GROUP, name, web, cluster)?;
    let mut all = Vec::new();
    // Each takes its time.
    for _ in 0..runs()?.div_ceil(2) {
        let owner = trial.settle(cluster)?;
        wait_started(cluster, &owner)?;
        let processes = cluster.node(&owner)?.apache()?;
        ensure!(!processes.is_empty(), "{owner} serves without an Apache");
        let at = happen(cluster, &mut trial, &owner)?;
        let gap = trial.succeeded(&owner, at)?;
        ensure!(gap <= TAKES, "{name}: nobody served for {gap:?}");
        let successor = other(&owner);
        wait_server(cluster, &mut trial, successor, "started", at)?;
        all.push(Steps::of(&trial.chronicle, successor, at)?);
        afterwards(cluster, &mut trial, &owner, &processes)?;
        wait_gone(cluster, &owner, &processes)?;
        trial.settle(cluster)?;
        wait_started(cluster, successor)?;
        trial.listen(cluster)?;
    }
    let steps = order_kept(&trial.chronicle, "a")? + order_kept(&trial.chronicle, "b")?;
    ensure!(steps > 0, "nobody told of any step");
    trial.finish(cluster)?;
    let median = Steps::median(&all).context("nothing happened")?;
    let _ = writeln!(std::io::stderr(), "{name}: median: {median}");
    Ok(())
}

/// Waits until `node` tells that its Apache is as `wanted`, after `since`.
fn wait_server(
    cluster: &Cluster,
    trial: &mut Trial,
    node: &str,
    wanted: &str,
    since: Boottime,
) -> Result<()> {
    wait_until(
        PATIENCE,
        &format!("{node} tells: Apache is {wanted}"),
        || {
            trial.chronicle.listen(cluster, node)?;
            let mut told = trial.chronicle.told_by(node);
            Ok(told.any(|event| {
                let late = Boottime::from_nanos(event.at_ns) >= since;
                late && matches!(&event.what, What::Resource { resource, state }
                if resource == SERVER && state == wanted)
            }))
        },
    )
}

fn served_by(cluster: &Cluster) -> Result<String> {
    let status = cluster.node("a")?.control.status()?;
    let group = status.groups.into_iter().find(|group| group.name == GROUP);
    group
        .and_then(|group| group.owner)
        .context("nobody has the group")
}

#[test]
fn the_tutorial_is_served_by_one_node_whatever_happens_to_nodes() -> Result<()> {
    if !apache_runs("the_tutorial_is_served_by_one_node_whatever_happens_to_nodes") {
        return Ok(());
    }
    // It stays where it is when the other comes back: each fault then costs one takeover.
    let sticky = tutorial()?.replacen("[[group]]\n", "[[group]]\nstickiness = \"inf\"\n", 1);
    play(sticky, |cluster| {
        it_is_there(cluster)?;
        planned(cluster)?;
        killed(cluster)?;
        stopped(cluster)?;
        cut(cluster)
    })
}

/// All tools say that it runs on the first node, and the agent finds its parameters good.
fn it_is_there(cluster: &Cluster) -> Result<()> {
    drop(client(cluster, "a")?);
    for node in ["a", "b"] {
        has_lines(
            &said(cluster, node, &["status"])?,
            &[
                "  * web (group): Started a",
                "    * webip     (10.77.0.100/24 on hb0): Started a",
                "    * webserver (ocf:heartbeat:apache): Started a",
            ],
        )?;
        has_lines(
            &said(cluster, node, &["verify"])?,
            &["webip (vip): ok", "webserver (ocf:heartbeat:apache): ok"],
        )?;
    }
    ensure!(cluster.node("b")?.apache()?.is_empty());
    // As the agent's own check finds what is missing.
    let config = cluster.node("b")?.apache_config();
    let away = config.with_extension("away");
    fs::rename(&config, &away)?;
    let verified = cluster.node("b")?.heartbeat(&["verify"])?;
    fs::rename(&away, &config)?;
    ensure!(verified.status.code() == Some(1), "{verified:#?}");
    has_lines(
        &verified.out,
        &[
            "webserver (ocf:heartbeat:apache): NOT usable here",
            "    validate-all: not installed (5): Configuration file /etc/apache2/apache2.conf not found!",
        ],
    )
}

/// What operators do: never do two nodes have an Apache.
fn planned(cluster: &mut Cluster) -> Result<()> {
    let lookout = Lookout::start(cluster)?;
    let begun = boottime();
    again_and_again(
        cluster,
        "Apache moved by an operator",
        |cluster, _, owner| {
            let at = boottime();
            let to = other(owner);
            let done = said(cluster, "a", &["move", GROUP, to])?;
            has_lines(&done, &[&format!("web moved from {owner} to {to} in *")])?;
            Ok(at)
        },
        |cluster, _, _, _| said(cluster, "b", &["unmove", GROUP]).map(drop),
    )?;
    again_and_again(
        cluster,
        "Apache's node put on standby",
        |cluster, _, owner| {
            let at = boottime();
            let done = said(cluster, other(owner), &["standby", owner])?;
            ensure!(
                done == format!("node {owner} is on standby and serves nothing\n"),
                "{done}"
            );
            Ok(at)
        },
        |cluster, _, owner, _| said(cluster, owner, &["online"]).map(drop),
    )?;
    again_and_again(
        cluster,
        "agent of Apache's node stopped in order",
        |cluster, trial, owner| {
            trial.listen(cluster)?;
            let at = boottime();
            ensure!(cluster.node_mut(owner)?.stop()?, "the agent failed");
            Ok(at)
        },
        |cluster, trial, owner, _| trial.heal(cluster, owner, Fault::Kill),
    )?;
    lookout.never_two(begun)
}

/// Its agent is killed: nobody stops Apache until the next agent does, but no client sees it.
fn killed(cluster: &mut Cluster) -> Result<()> {
    again_and_again(
        cluster,
        "agent of Apache's node killed",
        |cluster, trial, owner| trial.strike(cluster, owner, Fault::Kill),
        |cluster, trial, owner, processes| {
            ensure!(
                processes.contains(&cluster.node(owner)?.apache_parent()?),
                "somebody stopped it"
            );
            trial.silent_since_closed(cluster.node(owner)?)?;
            let healed_at = boottime();
            trial.heal(cluster, owner, Fault::Kill)?;
            wait_server(cluster, trial, owner, "stopped", healed_at)
        },
    )
}

/// Its agent stands still, and stops Apache when it wakes.
fn stopped(cluster: &mut Cluster) -> Result<()> {
    again_and_again(
        cluster,
        "agent of Apache's node stopped for 5 s, then continued",
        |cluster, trial, owner| trial.strike(cluster, owner, Fault::Stop),
        |cluster, trial, owner, processes| {
            observe(STOPPED, || Ok(()))?;
            ensure!(
                processes.contains(&cluster.node(owner)?.apache_parent()?),
                "somebody stopped it"
            );
            trial.silent_since_closed(cluster.node(owner)?)?;
            let healed_at = boottime();
            trial.heal(cluster, owner, Fault::Stop)?;
            wait_server(cluster, trial, owner, "stopped", healed_at)
        },
    )
}

/// The node is cut off: it stops Apache while it is.
fn cut(cluster: &mut Cluster) -> Result<()> {
    again_and_again(
        cluster,
        "Apache's node cut off, then healed",
        |cluster, trial, owner| trial.strike(cluster, owner, Fault::Silent),
        |cluster, trial, owner, processes| {
            wait_gone(cluster, owner, processes)?;
            trial.heal(cluster, owner, Fault::Silent)
        },
    )
}

#[test]
fn an_apache_that_fails_is_started_again_or_elsewhere() -> Result<()> {
    if !apache_runs("an_apache_that_fails_is_started_again_or_elsewhere") {
        return Ok(());
    }
    let watched = tutorial()?.replace(
        "monitor_interval = \"1min\"",
        "monitor_interval = \"1s\"\nstart_timeout = \"6s\"\nmonitor_timeout = \"2s\"\nstop_timeout = \"8s\"\n\
         pidfile = \"/run/apache2/apache2.pid\"",
    );
    ensure!(watched.contains("pidfile"), "{watched}");
    play(watched, |cluster| {
        let lookout = Lookout::start(cluster)?;
        let begun = boottime();
        its_parent_is_killed(cluster)?;
        its_workers_hang(cluster)?;
        all_of_it_hangs(cluster)?;
        it_cannot_start(cluster)?;
        lookout.never_two(begun)
    })
}

/// Waits until the failure of Apache counts on `node`, and its agent told of it by `action`.
fn wait_failed(cluster: &Cluster, trial: &mut Trial, node: &str, action: &str) -> Result<()> {
    trial.chronicle.wait(
        cluster,
        node,
        PATIENCE,
        &format!("{action} of Apache failed"),
        |what| matches!(what, What::ResourceFailed { resource, action: a, .. } if resource == SERVER && a == action),
    )?;
    Ok(())
}

/// Forgets what failed, so that the next failure is the first.
fn clean(cluster: &Cluster) -> Result<()> {
    let done = said(cluster, "b", &["cleanup", SERVER])?;
    ensure!(done == "cleaned up `webserver` on a, b\n", "{done}");
    for node in ["a", "b"] {
        let none = |status: &Status| status.failures.is_empty();
        wait_status(cluster.node(node)?, "no failures are left", none)?;
    }
    Ok(())
}

/// That the first node alone serves pages again, and notes for how long nobody did.
fn pages_again(cluster: &Cluster, trial: &mut Trial, at: Boottime) -> Result<()> {
    wait_started(cluster, "a")?;
    wait_pages(&trial.client, "a")?;
    ensure!(*servers(&trial.client, at) == ["a".into()]);
    trial.note(longest_silence(&trial.client, at));
    Ok(())
}

/// The end of the process that the pidfile names is noticed at once, not by a monitor.
fn its_parent_is_killed(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(GROUP, "Apache killed", client(cluster, "a")?, cluster)?;
    let mut noticed = Vec::new();
    for _ in 0..runs()? {
        let before = cluster.node("a")?.apache()?;
        trial.listen(cluster)?;
        let at = boottime();
        cluster
            .node("a")?
            .apache_parent()?
            .signal(Signal::SIGKILL)?;
        let failed = trial.chronicle.wait(
            cluster,
            "a",
            PATIENCE,
            "Apache has failed",
            |what| matches!(what, What::ResourceFailed { resource, .. } if resource == SERVER),
        )?;
        noticed.push(Boottime::from_nanos(failed.at_ns).since(at));
        wait_gone(cluster, "a", &before)?;
        pages_again(cluster, &mut trial, at)?;
        clean(cluster)?;
        trial.chronicle = heartbeat_tests::e2e::Chronicle::begin(cluster)?;
    }
    let _ = writeln!(
        std::io::stderr(),
        "Apache killed: noticed after {noticed:?}"
    );
    trial.finish(cluster).map(drop)
}

/// No page comes, though its parent is well.
fn its_workers_hang(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(
        GROUP,
        "Apache's workers hang",
        client(cluster, "a")?,
        cluster,
    )?;
    let a = cluster.node("a")?;
    let parent = a.apache_parent()?;
    let hanging: Vec<_> = a
        .apache()?
        .into_iter()
        .filter(|one| *one != parent)
        .collect();
    let at = boottime();
    hanging
        .iter()
        .try_for_each(|one| one.signal(Signal::SIGSTOP))?;
    wait_failed(cluster, &mut trial, "a", "monitor")?;
    wait_gone(cluster, "a", &hanging)?;
    pages_again(cluster, &mut trial, at)?;
    has_lines(
        &said(cluster, "b", &["status"])?,
        &["  * webserver monitor on a: timed out*"],
    )?;
    clean(cluster)?;
    trial.finish(cluster).map(drop)
}

/// It cannot be stopped in time either: nobody starts another beside it, until an operator ends it.
fn all_of_it_hangs(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(GROUP, "all of Apache hangs", client(cluster, "a")?, cluster)?;
    let at = boottime();
    cluster.node("a")?.signal_apache(Signal::SIGSTOP)?;
    wait_failed(cluster, &mut trial, "a", "stop")?;
    for node in ["a", "b"] {
        let blocked = |status: &Status| {
            let group = status.groups.iter().find(|group| group.name == GROUP);
            group.is_some_and(|group| group.blocked.as_deref() == Some("a"))
        };
        wait_status(cluster.node(node)?, "the group is blocked", blocked)?;
        has_lines(
            &said(cluster, node, &["status"])?,
            &[
                "  * web (group): BLOCKED a*",
                "  * webserver monitor on a: timed out*",
                "  * webserver stop on a: timed out*",
            ],
        )?;
    }
    ensure!(cluster.node("b")?.apache()?.is_empty());
    cluster.node("a")?.signal_apache(Signal::SIGKILL)?;
    clean(cluster)?;
    pages_again(cluster, &mut trial, at)?;
    trial.finish(cluster).map(drop)
}

/// Killed, with a configuration that it does not start with: the group leaves, until that is repaired.
fn it_cannot_start(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(GROUP, "Apache broken", client(cluster, "a")?, cluster)?;
    let a = cluster.node("a")?;
    let config = a.apache_config();
    let good = fs::read_to_string(&config)?;
    fs::write(&config, format!("{good}\nNoSuchDirective on\n"))?;
    let at = boottime();
    a.apache_parent()?.signal(Signal::SIGKILL)?;
    wait_pages(&trial.client, "b")?;
    trial.note(longest_silence(&trial.client, at));
    // The resource agent looks once a second whether Apache is there, for as long as it may.
    wait_barred(cluster, "timed out, at *")?;

    // Fit again, it gets the group, since it comes first; and has to give it up once more.
    fs::remove_file(&config)?;
    let at = boottime();
    said(cluster, "a", &["cleanup"])?;
    wait_failed(cluster, &mut trial, "a", "start")?;
    wait_barred(cluster, "not installed (5), at *")?;
    wait_pages(&trial.client, "b")?;
    trial.note(longest_silence(&trial.client, at));

    fs::write(&config, good)?;
    clean(cluster)?;
    for node in ["a", "b"] {
        let fit = |status: &Status| {
            let group = status.groups.iter().find(|group| group.name == GROUP);
            group.is_some_and(|group| group.barred.is_empty())
        };
        wait_status(cluster.node(node)?, "it may run on a again", fit)?;
    }
    // A node that just failed to take it is not tried again by itself for a minute.
    let back = boottime();
    said(cluster, "b", &["move", GROUP, "a"])?;
    wait_pages(&trial.client, "a")?;
    trial.note(longest_silence(&trial.client, back));
    wait_started(cluster, "a")?;
    trial.listen(cluster)?;
    for node in ["a", "b"] {
        let steps = order_kept(&trial.chronicle, node)?;
        ensure!(steps > 0, "{node} told of no step");
    }
    trial.finish(cluster).map(drop)
}

/// Waits until all know that Apache could not be started on the first node, for this `outcome`, and that
/// the other serves.
fn wait_barred(cluster: &Cluster, outcome: &str) -> Result<()> {
    wait_started(cluster, "b")?;
    for node in ["a", "b"] {
        let barred = |status: &Status| {
            let group = status.groups.iter().find(|group| group.name == GROUP);
            group.is_some_and(|group| *group.barred == ["a".to_owned()]) && runs_on(status, "b")
        };
        wait_status(cluster.node(node)?, "it has failed on a", barred)?;
        has_lines(
            &said(cluster, node, &["status"])?,
            &[
                "  * web (group): Started b (failed on a)",
                "    * webserver (ocf:heartbeat:apache): Started b",
                &format!("  * webserver start on a: {outcome}"),
            ],
        )?;
    }
    let left = cluster.node("a")?.apache()?;
    ensure!(left.is_empty(), "an Apache is left on a: {left:?}");
    Ok(())
}
