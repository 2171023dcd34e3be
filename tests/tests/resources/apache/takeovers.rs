//! The node of the web server fails or is drained: the other node takes over.

use std::{fs, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault,
    e2e::{
        Trial,
        lines::has_lines,
        trial::runs,
        web::{
            ApacheWatch, GROUP, PATIENCE, SERVER, Steps, client, steps::order_kept, tutorial,
            wait_started, with_cluster,
        },
    },
    needs,
    sandbox::SandboxProcess,
    sys::boottime,
    wait::observe,
    wait_until,
};
use heartbeat_user::control::protocol::EventKind;

use super::{output_of, wait_gone};

/// The time for which an agent is stopped.
const STOPPED: Duration = Duration::from_secs(5);
/// The longest gap for a client on a busy machine, with a resource agent that polls each second.
const TAKES: Duration = Duration::from_secs(10);

fn other(node: &str) -> &'static str {
    if node == "a" { "b" } else { "a" }
}

/// Repeats a fault of the serving node until the other node serves. Then `afterwards` undoes it; it
/// gets the former owner, and the instant since which it does not serve.
fn again_and_again(
    cluster: &mut Cluster,
    name: &'static str,
    happen: impl Fn(&mut Cluster, &mut Trial, &str) -> Result<Boottime>,
    afterwards: impl Fn(&mut Cluster, &mut Trial, &str, &[SandboxProcess]) -> Result<()>,
) -> Result<()> {
    let web = client(cluster, &served_by(cluster)?)?;
    let mut trial = Trial::of(GROUP, name, web, cluster)?;
    let mut all = Vec::new();
    // Each run is long, so there are half as many.
    for _ in 0..runs()?.div_ceil(2) {
        let owner = trial.settle(cluster)?;
        wait_started(cluster, &owner)?;
        let processes = cluster.node(&owner)?.apache()?;
        ensure!(!processes.is_empty(), "{owner} serves without an Apache");
        let at = happen(cluster, &mut trial, &owner)?;
        let gap = trial.another_serves(&owner, at)?;
        ensure!(gap <= TAKES, "{name}: nobody served for {gap:?}");
        let successor = other(&owner);
        wait_server(cluster, &mut trial, successor, "started", at)?;
        all.push(Steps::of(&trial.event_log, successor, at)?);
        afterwards(cluster, &mut trial, &owner, &processes)?;
        wait_gone(cluster, &owner, &processes)?;
        trial.settle(cluster)?;
        wait_started(cluster, successor)?;
        trial.listen(cluster)?;
    }
    let steps = order_kept(&trial.event_log, "a")? + order_kept(&trial.event_log, "b")?;
    ensure!(steps > 0, "nobody told of any step");
    trial.finish(cluster)?;
    let median = Steps::median(&all).context("nothing happened")?;
    let _ = writeln!(std::io::stderr(), "{name}: median: {median}");
    Ok(())
}

/// Waits until `node` reports that its Apache is as `wanted`, after `since`.
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
            trial.event_log.listen(cluster, node)?;
            let mut told = trial.event_log.reported_by(node);
            Ok(told.any(|event| {
                let late = Boottime::from_nanos(event.at_ns) >= since;
                late && matches!(&event.what, EventKind::Resource { resource, state, .. }
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
fn apache_is_served_by_one_node_through_node_faults() -> Result<()> {
    needs!(Cluster, Apache);
    // The group stays where it is when the other node comes back, so each fault costs one takeover.
    let sticky = tutorial()?.replacen("stickiness = 0\n", "stickiness = \"inf\"\n", 1);
    with_cluster(sticky, |cluster| {
        it_is_there(cluster)?;
        planned(cluster)?;
        killed(cluster)?;
        stopped(cluster)?;
        cut(cluster)
    })
}

/// All commands say that Apache runs on the first node, and the agent accepts its parameters.
fn it_is_there(cluster: &Cluster) -> Result<()> {
    drop(client(cluster, "a")?);
    for node in ["a", "b"] {
        has_lines(
            &output_of(cluster, node, &["status"])?,
            &[
                "  * web (group): Started a",
                "    * webip     (10.77.0.100/24 on hb0): Started a",
                "    * webserver (ocf:heartbeat:apache): Started a",
            ],
        )?;
        has_lines(
            &output_of(cluster, node, &["verify"])?,
            &["webip (vip): ok", "webserver (ocf:heartbeat:apache): ok"],
        )?;
    }
    ensure!(cluster.node("b")?.apache()?.is_empty());
    // The agent's own check finds the missing file.
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
            "    validate-all: not installed (5): Configuration file /etc/apache2/apache2.conf not \
             found!",
        ],
    )
}

/// Planned moves by operators: never do two nodes run Apache.
fn planned(cluster: &mut Cluster) -> Result<()> {
    let lookout = ApacheWatch::start(cluster)?;
    let begun = boottime();
    again_and_again(
        cluster,
        "Apache moved by an operator",
        |cluster, _, owner| {
            let at = boottime();
            let to = other(owner);
            let done = output_of(cluster, "a", &["move", GROUP, to])?;
            has_lines(&done, &[&format!("web moved from {owner} to {to} in *")])?;
            Ok(at)
        },
        |cluster, _, _, _| output_of(cluster, "b", &["unmove", GROUP]).map(drop),
    )?;
    again_and_again(
        cluster,
        "Apache's node put on standby",
        |cluster, _, owner| {
            let at = boottime();
            let done = output_of(cluster, other(owner), &["standby", owner])?;
            ensure!(
                done == format!("node {owner} is on standby and serves nothing\n"),
                "{done}"
            );
            Ok(at)
        },
        |cluster, _, owner, _| output_of(cluster, owner, &["online"]).map(drop),
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

/// The agent is killed: Apache runs on until the next agent stops it, but no client reaches it.
fn killed(cluster: &mut Cluster) -> Result<()> {
    again_and_again(
        cluster,
        "agent of Apache's node killed",
        |cluster, trial, owner| trial.strike(cluster, owner, Fault::Kill),
        |cluster, trial, owner, processes| {
            ensure!(
                processes.contains(&cluster.node(owner)?.apache_parent()?),
                "an agent stopped it"
            );
            trial.silent_since_closed(cluster.node(owner)?)?;
            let healed_at = boottime();
            trial.heal(cluster, owner, Fault::Kill)?;
            wait_server(cluster, trial, owner, "stopped", healed_at)
        },
    )
}

/// The agent is stopped, and stops Apache when it resumes.
fn stopped(cluster: &mut Cluster) -> Result<()> {
    again_and_again(
        cluster,
        "agent of Apache's node stopped for 5 s, then continued",
        |cluster, trial, owner| trial.strike(cluster, owner, Fault::Stop),
        |cluster, trial, owner, processes| {
            observe(STOPPED, || Ok(()))?;
            ensure!(
                processes.contains(&cluster.node(owner)?.apache_parent()?),
                "an agent stopped it"
            );
            trial.silent_since_closed(cluster.node(owner)?)?;
            let healed_at = boottime();
            trial.heal(cluster, owner, Fault::Stop)?;
            wait_server(cluster, trial, owner, "stopped", healed_at)
        },
    )
}

/// The node is cut off, and stops its Apache meanwhile.
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
