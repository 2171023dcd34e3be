//! One node serves an address: the best one to which a majority of kernels grants the lease. The
//! address moves when another node becomes the best.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    client::Client,
    config::Family,
    e2e::{
        EventLog, MILLISECOND, SOON, Trial,
        availability::{servers, wait_served, wait_silent},
        python::Script,
        shortcuts::{options, wait_holder, wait_status, with_cluster},
    },
    needs,
    sys::boottime,
    wait_until,
    workdir::WorkDir,
};
use heartbeat_user::control::protocol::EventKind;
use serde_json::Value;

fn with(family: Family) -> Options {
    Options {
        family,
        ..options()
    }
}

/// Starts a client, and waits until the first node serves it.
fn client(cluster: &Cluster) -> Result<Client> {
    let client = cluster.client(MILLISECOND)?;
    wait_served(&client, "a", SOON)?;
    Ok(client)
}

/// Begins a trial, and waits until the first node serves its client.
fn trial(name: &'static str, cluster: &Cluster) -> Result<Trial> {
    let trial = Trial::begin(name, cluster)?;
    wait_served(&trial.client, "a", SOON)?;
    Ok(trial)
}

/// The owner dies, the next in rank takes over, and the owner gets the address back.
fn takeover_and_return(family: Family, fault: Fault) -> Result<()> {
    with_cluster(with(family), |cluster| {
        let mut trial = trial("the owner is cut off and comes back", cluster)?;
        wait_holder(cluster, Some("a"))?;
        let cut_at = trial.strike(cluster, "a", fault)?;
        trial.succeeded(cluster, "a", cut_at)?;
        wait_served(&trial.client, "b", SOON)?;
        ensure!(*servers(&trial.client, boottime().before(100 * MILLISECOND)) == ["b".into()]);
        // The node that was cut off has no majority, so it removes the address as well.
        wait_holder(cluster, Some("b"))?;

        let healed_at = boottime();
        trial.heal(cluster, "a", fault)?;
        wait_served(&trial.client, "a", SOON)?;
        wait_holder(cluster, Some("a"))?;
        cluster.wait_well(SOON, "a")?;
        trial
            .within_a_lease(cluster, healed_at)
            .context("on the way back")?;
        ensure!(
            !servers(&trial.client, cut_at).contains(&"c".into()),
            "c is last in rank"
        );
        trial.finish(cluster).map(drop)
    })
}

#[test]
fn next_in_rank_takes_over_and_gives_back_by_ipv4() -> Result<()> {
    needs!(Cluster);
    takeover_and_return(Family::V4, Fault::Cut)
}

#[test]
fn next_in_rank_takes_over_and_gives_back_by_ipv6() -> Result<()> {
    needs!(Cluster);
    takeover_and_return(Family::V6, Fault::Silent)
}

#[test]
fn address_without_a_majority_is_served_by_nobody() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = client(cluster)?;
        // The owner's own link works, and the client reaches it. Without a majority it stops all
        // the same.
        cluster.inject("b", Fault::Silent)?;
        cluster.inject("c", Fault::Silent)?;
        wait_holder(cluster, None)?;
        wait_silent(&client, SOON)?;
        wait_status(cluster.node("a")?, "it has no quorum", |status| {
            !status.quorum.quorate && status.vips.iter().all(|vip| vip.owner.is_none())
        })?;

        cluster.heal("c", Fault::Silent)?;
        wait_served(&client, "a", SOON)?;
        wait_holder(cluster, Some("a"))?;
        cluster.heal("b", Fault::Silent)?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn stalled_owner_is_replaced_and_returns() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = client(cluster)?;
        cluster.inject("a", Fault::Stop)?;
        wait_served(&client, "b", SOON)?;
        cluster.heal("a", Fault::Stop)?;
        wait_served(&client, "a", SOON)?;
        wait_holder(cluster, Some("a"))?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn owner_that_stops_in_order_hands_over() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let mut trial = trial("the owner ends in order", cluster)?;
        trial.listen(cluster)?;
        let ended_at = boottime();
        ensure!(cluster.node_mut("a")?.stop()?, "the agent failed");
        wait_served(&trial.client, "b", SOON)?;
        wait_holder(cluster, Some("b"))?;
        trial.within_a_lease(cluster, ended_at)?;
        trial.finish(cluster).map(drop)
    })
}

#[test]
fn restarted_agent_removes_the_address_that_a_killed_one_left() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = client(cluster)?;
        cluster.inject("a", Fault::Kill)?;
        wait_served(&client, "b", SOON)?;
        // The killed agent could not remove the address; the next start does. Meanwhile the guard
        // drops its traffic.
        ensure!(cluster.holders()? == ["a", "b"]);
        ensure!(*servers(&client, boottime().before(100 * MILLISECOND)) == ["b".into()]);
        cluster.heal("a", Fault::Kill)?;
        wait_until(SOON, "the log tells of the stale address", || {
            let log = cluster.node("a")?.logged()?;
            Ok(log.contains("removed 10.77.0.100/24 from hb0, where an earlier run had left it"))
        })?;
        wait_served(&client, "a", SOON)?;
        wait_holder(cluster, Some("a"))?;
        cluster.wait_well(SOON, "a")
    })
}

/// Cuts the owner off, and collects announcements until `enough` holds. All must come from the
/// successor.
fn announced(family: Family, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    with_cluster(with(family), |cluster| {
        let vip = cluster.vip().to_string();
        let client = cluster.client_namespace();
        let mut ear = Script::start(client, "announcements.py", &["hb0", &vip])?;
        let mac = |node| -> Result<Value> { Ok(cluster.node(node)?.ns.mac("hb0")?.into()) };
        let (owner, successor) = (mac("a")?, mac("b")?);
        cluster.inject("a", Fault::Cut)?;
        wait_until(SOON, "the successor announces the address", || {
            let mut heard: Vec<Value> = serde_json::from_str(&ear.order("")?)?;
            // The owner may have announced the address until it died.
            heard.retain(|one| one["mac"] != owner);
            all.extend(heard);
            Ok(enough(&all))
        })?;
        for one in &all {
            let honest = one["mac"] == successor && one["from"] == successor;
            ensure!(honest && one["gratuitous"] == true, "{one}");
        }
        Ok(())
    })?;
    Ok(all)
}

#[test]
fn successor_sends_gratuitous_arp() -> Result<()> {
    needs!(Cluster, Scapy);
    let of = |all: &[Value], kind| all.iter().filter(|one| one["kind"] == kind).count();
    let all = announced(Family::V4, |all| {
        of(all, "request").min(of(all, "reply")) >= 3
    })?;
    for one in &all {
        ensure!(one["to"] == "ff:ff:ff:ff:ff:ff", "{one}");
    }
    Ok(())
}

#[test]
fn successor_sends_neighbour_advertisements() -> Result<()> {
    needs!(Cluster, Scapy);
    let all = announced(Family::V6, |all| all.len() >= 3)?;
    for one in &all {
        ensure!(one["to"] == "ff02::1" && one["hop-limit"] == 255, "{one}");
        ensure!(one["checksum"] == true, "{one}");
    }
    Ok(())
}

type Variables = BTreeMap<String, String>;

/// The environments that the recording hook has seen so far.
fn recorded(dir: &Path) -> Result<Vec<Variables>> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "env") {
            let text = fs::read_to_string(path)?;
            let variables = text.lines().filter_map(|line| line.split_once('='));
            seen.push(
                variables
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            );
        }
    }
    Ok(seen)
}

#[test]
fn hooks_get_the_events_and_delay_no_takeover() -> Result<()> {
    needs!(Cluster);
    let dir = WorkDir::new(false)?;
    let to = format!(
        "{}/$HEARTBEAT_NODE-$HEARTBEAT_EVENT-$HEARTBEAT_AT_NS",
        dir.path().display()
    );
    let record = format!("env > {to}.new && mv {to}.new {to}.env");
    let extra = format!(
        r#"
[[hook]]
on = ["peer-down", "peer-up", "takeover", "release"]
exec = ["/bin/sh", "-c", "{record}"]
[[hook]]
on = ["peer-down", "takeover"]
exec = ["/bin/sleep", "1000"]
timeout = "1s"
[[hook]]
on = "takeover"
exec = ["/bin/false"]
[[hook]]
on = "takeover"
exec = ["/nonexistent/hook"]
"#
    );
    let with_hooks = Options { extra, ..options() };
    with_cluster(with_hooks, |cluster| {
        let mut trial = trial("hooks that hang and fail", cluster)?;
        let mut event_log = EventLog::begin(cluster)?;
        let cut_at = trial.strike(cluster, "a", Fault::Silent)?;
        trial.succeeded(cluster, "a", cut_at)?;
        wait_served(&trial.client, "b", SOON)?;

        // Each hook that failed is reported with its own reason.
        for (program, wanted, said) in [
            ("/bin/false", Some(1), "exited with status 1"),
            ("/nonexistent/hook", None, "could not start: "),
            (
                "/bin/sleep",
                None,
                "killed: not done within its timeout of 1000 ms",
            ),
        ] {
            event_log.wait(cluster, "b", SOON, said, |what| {
                matches!(what, EventKind::Hook { on, exec, status, message }
                    if on == "takeover" && exec == program && *status == wanted && message.starts_with(said))
            })?;
        }

        trial.heal(cluster, "a", Fault::Silent)?;
        wait_served(&trial.client, "a", SOON)?;
        let peer_a = |state| [("PEER", "a"), ("PEER_STATE", state)];
        let vip = [
            ("VIP", "service"),
            ("ADDRESS", "10.77.0.100/24"),
            ("INTERFACE", "hb0"),
        ];
        for (node, event, more) in [
            ("a", "release", &vip[..]),
            ("a", "takeover", &vip),
            ("b", "takeover", &vip),
            ("b", "release", &vip),
            ("c", "peer-down", &peer_a("down")),
            ("c", "peer-up", &peer_a("up")),
        ] {
            let about = [("NODE", node), ("EVENT", event), ("CLUSTER", "rig")];
            let wanted: Vec<_> = about.iter().chain(more).collect();
            let told = |seen: &Variables| {
                wanted.iter().all(|(name, value)| {
                    seen.get(&format!("HEARTBEAT_{name}")).map(String::as_str) == Some(value)
                })
            };
            let mut found = None;
            wait_until(SOON, &format!("a hook is told {wanted:?}"), || {
                found = recorded(dir.path())?.into_iter().find(|seen| told(seen));
                Ok(found.is_some())
            })?;
            nothing_else(&found.unwrap_or_default(), &wanted)?;
        }
        trial.finish(cluster).map(drop)
    })
}

/// Checks that a hook got `wanted`, the variables of every hook, and nothing else.
fn nothing_else(seen: &Variables, wanted: &[&(&str, &str)]) -> Result<()> {
    let at: u64 = seen["HEARTBEAT_AT_NS"].parse()?;
    ensure!(at <= boottime().as_nanos());
    ensure!(seen["HEARTBEAT_INSTANCE"].ends_with(&format!("-{}", seen["HEARTBEAT_NODE"])));
    // The shell itself sets the last three.
    let mut known: Vec<String> = ["PATH", "PWD", "SHLVL", "_"].map(str::to_owned).to_vec();
    let names = wanted.iter().map(|(name, _)| *name);
    known.extend(
        names
            .chain(["AT_NS", "AT_UNIX_NS", "INSTANCE", "LOAD"])
            .chain(["PEER_ID", "PEER_LOAD", "PEER_FAILING"])
            .map(|name| format!("HEARTBEAT_{name}")),
    );
    // Those of Pacemaker's alert agents, each by both names.
    let of_alert = |name: &str| name.strip_prefix("CRM_alert_").map(str::to_owned);
    let alert: Vec<String> = seen.keys().filter_map(|name| of_alert(name)).collect();
    ensure!(alert.iter().any(|name| name == "kind"), "{seen:?}");
    for name in alert {
        let (ours, older) = (format!("CRM_alert_{name}"), format!("CRM_notify_{name}"));
        ensure!(seen.get(&ours) == seen.get(&older), "{ours} and {older}");
        known.extend([ours, older]);
    }
    for name in seen.keys() {
        ensure!(known.contains(name), "{name} is not documented");
    }
    Ok(())
}
