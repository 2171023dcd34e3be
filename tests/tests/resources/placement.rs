//! Groups go to nodes with room: an overloaded node hands one group over, and a drained node all.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault, Options,
    client::Client,
    e2e::{
        EventLog, GRACE, MILLISECOND, Program, SOON,
        actors::{group, vip},
        availability::{longest_silence, servers, wait_served},
        cgroup::Cgroup,
        groups::{client, output_of, result_of, wait_agent, wait_all_active, wait_runs},
        lines::has_lines,
        machine_stalls::MachineStalls,
        shortcuts::{node_in, options, wait_status},
    },
    needs,
    skip::skip,
    sys::boottime,
    wait::observe,
};
use heartbeat_user::control::protocol::{EventKind, GroupEvent, Reason};

const GROUPS: [(&str, u8); 3] = [("one", 101), ("two", 102), ("three", 103)];

/// Three groups, of which only the first may move for load.
fn groups() -> String {
    let one = |(name, host): (&str, u8)| {
        let settings = format!("rebalance = {}", name == "one");
        group(name, &settings, &[vip(&format!("{name}ip"), host)])
    };
    GROUPS.map(one).concat()
}

fn with_cluster(extra: &str, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let options = Options {
        groups: Some(groups()),
        extra: extra.to_owned(),
        ..options()
    };
    Cluster::run(options, |cluster| {
        cluster.start_agents()?;
        wait_all_active(cluster)?;
        for (group, _) in GROUPS {
            wait_runs(cluster, group, "a")?;
        }
        test(cluster)
    })
}

fn clients(cluster: &Cluster) -> Result<Vec<Client>> {
    let start = |(_, host)| client(cluster, host, MILLISECOND);
    let clients: Vec<Client> = GROUPS.into_iter().map(start).collect::<Result<_>>()?;
    for client in &clients {
        wait_served(client, "a", SOON)?;
    }
    Ok(clients)
}

fn rebalanced(reason: &Reason<String>) -> bool {
    matches!(reason, Reason::Rebalanced { .. })
}

/// The groups that `from` handed over for a reason that `counts` accepts: the instant, the group
/// and the new owner.
fn handed_over(
    event_log: &EventLog,
    from: &str,
    counts: fn(&Reason<String>) -> bool,
) -> Vec<(u64, String, String)> {
    let told = event_log
        .reported_by(from)
        .filter_map(|event| match &event.what {
            EventKind::Group {
                group,
                event: GroupEvent::LeaseGivenUp(reason),
            } if counts(reason) => {
                let to = reason.clone().to().unwrap_or_default();
                Some((event.at_ns, group.clone(), to))
            }
            _ => None,
        });
    told.collect()
}

#[test]
fn drained_node_hands_over_one_group_after_the_other() -> Result<()> {
    needs!(Cluster);
    with_cluster("", |cluster| {
        let clients = clients(cluster)?;
        let mut event_log = EventLog::begin(cluster)?;
        let stalls = MachineStalls::begin()?;
        let at = boottime();
        let done = output_of(cluster, "b", &["drain", "a"])?;
        has_lines(&done, &["node a is drained and on standby, after *"])?;
        for node in ["a", "b", "c"] {
            event_log.listen(cluster, node)?;
        }
        let handed = handed_over(&event_log, "a", |why| matches!(why, Reason::Drained { .. }));
        ensure!(handed.len() == GROUPS.len(), "{handed:?}");
        for pair in handed.windows(2) {
            // The group before had arrived at its new owner by then.
            let (_, group, to) = &pair[0];
            let taken = event_log.acquisitions(group);
            let taken = taken.iter().find(|taken| taken.node == *to);
            let taken = taken.with_context(|| format!("{to} did not take {group}"))?;
            ensure!(
                taken.majority <= Boottime::from_nanos(pair[1].0),
                "{} left before {group} had arrived",
                pair[1].1
            );
        }
        for (client, (group, _)) in clients.iter().zip(GROUPS) {
            wait_runs(cluster, group, "b")?;
            wait_served(client, "b", SOON)?;
            let gap = longest_silence(client, at);
            eprintln!("drained: group {group} without answers for {gap:.1?}");
            let most = 2 * options().lease + stalls.since(at);
            ensure!(gap <= most, "{group} was gone for {gap:?}");
            ensure!(servers(client, at).len() <= 2, "{group} went to and fro");
        }
        wait_status(cluster.node("b")?, "a is on standby", |status| {
            node_in(status, "a").is_ok_and(|a| a.agent == "standby")
        })?;
        output_of(cluster, "a", &["online"])?;
        wait_all_active(cluster)?;

        // A group that no other node may have stays.
        for node in ["b", "c"] {
            output_of(cluster, "a", &["standby", node])?;
        }
        for (group, _) in GROUPS {
            wait_runs(cluster, group, "a")?;
        }
        let b = cluster.node("b")?;
        let draining = Program::start(Some(&b.ns), b.command(&["drain", "a"])?)?;
        wait_status(cluster.node("b")?, "a drains", |status| {
            node_in(status, "a").is_ok_and(|a| a.state == "draining")
        })?;
        observe(20 * options().lease, || {
            ensure!(
                cluster.node("a")?.ns.addresses()?.len() >= 2 + 3,
                "it let go"
            );
            Ok(())
        })?;
        // The next agent knows of the drain as well.
        cluster.inject("a", Fault::Kill)?;
        cluster.heal("a", Fault::Kill)?;
        wait_agent(cluster, "a")?;
        wait_status(cluster.node("b")?, "a drains again", |status| {
            node_in(status, "a").is_ok_and(|a| a.state == "draining" || a.agent == "standby")
        })?;
        output_of(cluster, "a", &["online", "b"])?;
        for (group, _) in GROUPS {
            wait_runs(cluster, group, "b")?;
        }
        let done = draining.end(SOON)?.success()?;
        has_lines(&done, &["node a is drained and on standby, after *"])
    })
}

/// Three groups run on a, one of which may move. Under pressure in the control group of a, that one
/// moves to a node with room, and nothing else happens.
#[test]
fn node_under_pressure_hands_over_one_group_once() -> Result<()> {
    needs!(Cluster);
    let Some(pattern) = Cgroup::pattern() else {
        skip("the kernel shows no pressure of control groups");
        return Ok(());
    };
    let cgroups = ["a", "b", "c"].map(|node| Cgroup::new(&pattern, node));
    let [pressed, _b, _c] = cgroups;
    let pressed = pressed?;
    let settings = format!(
        "\n[load]\nsource = \"cgroup\"\ncgroup = \"{pattern}\"\ninterval = \"200ms\"\n\
         half_life = \"500ms\"\n\n[rebalance]\nhigh = 400\nlow = 200\nhold = \"1s\"\n\
         cooldown = \"2s\"\n"
    );
    with_cluster(&settings, |cluster| {
        let clients = clients(cluster)?;
        let mut event_log = EventLog::begin(cluster)?;
        let at = boottime();
        let spinners = pressed.spin(8)?;
        let moved = event_log.wait(cluster, "a", SOON, "a group is handed over", |what| {
            matches!(
                what.of_group(),
                Some(GroupEvent::LeaseGivenUp(Reason::Rebalanced { .. }))
            )
        })?;
        let after = Boottime::from_nanos(moved.at_ns).since(at);
        eprintln!("pressure: a group was handed over after {after:.1?}");
        wait_status(cluster.node("b")?, "a has much to do", |status| {
            let load = |name| node_in(status, name).ok().and_then(|node| node.load);
            load("a") > Some(400) && load("b") < Some(200)
        })?;
        observe(Duration::from_secs(4), || {
            event_log.listen(cluster, "a")?;
            let handed = handed_over(&event_log, "a", rebalanced);
            ensure!(handed.len() == 1, "{handed:?}");
            Ok(())
        })?;
        drop(spinners);
        let moved = handed_over(&event_log, "a", rebalanced).remove(0);
        ensure!(
            moved.1 == "one" && ["b", "c"].contains(&moved.2.as_str()),
            "{moved:?}"
        );
        for (client, (group, _)) in clients.iter().zip(GROUPS) {
            let gap = longest_silence(client, at);
            let there = servers(client, at);
            let wanted = if group == moved.1 { 2 } else { 1 };
            ensure!(there.len() == wanted, "{group} was served by {there:?}");
            ensure!(gap <= GRACE, "{group} was gone for {gap:?}");
        }
        // The group stays where it is when a has room again.
        wait_status(cluster.node("b")?, "a has little to do", |status| {
            node_in(status, "a").is_ok_and(|a| a.load < Some(200))
        })?;
        wait_runs(cluster, &moved.1, &moved.2)?;
        let explained = output_of(cluster, "b", &["explain", &moved.1])?;
        has_lines(
            &explained,
            &[&format!("Group {} is on {}*", moved.1, moved.2)],
        )?;
        result_of(cluster, "b", &["explain", "four"])?.refusal(&["no group is called `four`"])
    })
}

/// Of two nodes that may have the group, the one with less load takes over.
#[test]
fn node_with_the_least_load_takes_over() -> Result<()> {
    needs!(Cluster);
    let settings = "\n[placement]\nstrategy = \"least-loaded\"\n\n[load]\nsource = \"command\"\n\
                    interval = \"100ms\"\nhalf_life = \"0ms\"\n\
                    command = [\"/bin/sh\", \"-c\", \"case %NODE% in a) echo 0;; b) echo 700;; *) \
                    echo 100;; esac\"]\n";
    with_cluster(settings, |cluster| {
        wait_status(cluster.node("c")?, "loads are known", |status| {
            let load = |name| node_in(status, name).ok().and_then(|node| node.load);
            (load("a"), load("b"), load("c")) == (Some(0), Some(700), Some(100))
        })?;
        let explained = output_of(cluster, "b", &["explain", "one"])?;
        let place = |node: &str| explained.find(&format!("* {node}: "));
        ensure!(
            place("a") < place("c") && place("c") < place("b"),
            "{explained}"
        );
        let simulated = output_of(cluster, "b", &["simulate", "--fail", "a"])?;
        has_lines(&simulated, &["  * one: a -> c"])?;
        ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
        for (group, _) in GROUPS {
            wait_runs(cluster, group, "c")?;
        }
        Ok(())
    })
}
