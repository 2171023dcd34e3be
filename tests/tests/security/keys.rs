//! The cluster's key: it is replaced while heartbeats go on, and never shown.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    siphash::SipKey,
    wire::{Incarnation, NodeId},
};
use heartbeat_tests::{
    Cluster, Options,
    config::{Family, interface},
    e2e::{
        EventLog, MILLISECOND, Program, SOON,
        availability::{longest_silence, wait_served},
        flood,
        groups::{output_of, result_of},
        heartbeat,
        machine_stalls::MachineStalls,
        shortcuts::{node_in, options, start_first_by, wait_status, with_cluster},
    },
    kernel::frames::FrameSpec,
    needs,
    node::Node,
    sys::boottime,
    wait_until,
};
use heartbeat_user::{
    config::flags,
    control::protocol::{EventKind, GroupEvent},
};
use nix::sys::signal::Signal;

const MEMBERS: [&str; 2] = ["a", "b"];
const WITNESS: &str = "w";
/// The key of the rig.
const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Two members and a witness without an agent. Heartbeats have the shortest interval; the deadlines
/// leave room for a busy machine.
fn fast() -> Options {
    Options {
        nodes: MEMBERS.map(str::to_owned).to_vec(),
        witnesses: vec![WITNESS.to_owned()],
        interval: MILLISECOND,
        timeout: 50 * MILLISECOND,
        agent_stall: 500 * MILLISECOND,
        lease: 100 * MILLISECOND,
        max_lease: 200 * MILLISECOND,
        ..Options::default()
    }
}

/// The probes of each member to each other node, and those without a reply, including those under
/// way.
fn probes(cluster: &Cluster) -> Result<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    for member in MEMBERS {
        let status = cluster.node(member)?.control.status()?;
        let links = status.nodes.iter().flat_map(|node| &node.links);
        for row in links.filter_map(|link| link.peer.as_ref()) {
            let answered = row.replies + row.late_replies;
            all.push((row.probes, row.probes.saturating_sub(answered)));
        }
    }
    Ok(all)
}

/// Copies the key file of the first member to `node`, as `scp -p` does, and reloads it there.
fn take_over(cluster: &Cluster, node: &str) -> Result<()> {
    let (from, to) = (cluster.node(MEMBERS[0])?.key(), cluster.node(node)?.key());
    if from != to {
        fs::copy(&from, &to)?;
    }
    if node != WITNESS {
        let done = output_of(cluster, node, &["reload"])?;
        ensure!(done.starts_with("reloaded: sending with key "), "{done}");
        return Ok(());
    }
    let w = cluster.node(WITNESS)?;
    let name = w.pins.path().file_name().and_then(|name| name.to_str());
    let mut witness = heartbeat(&[
        "witness",
        "--iface",
        &interface(0),
        "--cluster",
        "rig",
        "--id",
        "3",
    ])?;
    witness.args([
        "--instance",
        name.unwrap_or_default(),
        "--max-lease",
        "200ms",
        "--key",
    ]);
    witness.arg(&to);
    for id in [1, 2] {
        witness.args(["--peer", &format!("{id}={}", Family::V4.address(0, id))]);
    }
    let loaded = Program::run(Some(&w.ns), witness, SOON)?.success()?;
    ensure!(loaded.contains("votes at once"), "{loaded}");
    Ok(())
}

/// Waits until the status of `asked` says whether `node` has the same keys.
fn wait_keys(cluster: &Cluster, asked: &str, node: &str, same: bool) -> Result<()> {
    let what = format!("the keys of {node} are known");
    wait_status(cluster.node(asked)?, &what, |status| {
        node_in(status, node).is_ok_and(|node| node.same_keys == Some(same))
    })
}

/// One step of a rotation: the file changes, and all nodes reload it one after the other.
fn step(cluster: &mut Cluster, number: u8) -> Result<()> {
    let mode = |node: &Node| -> Result<u32> {
        Ok(fs::metadata(node.key())?.permissions().mode() & 0o7777)
    };
    let done = output_of(cluster, "a", &["keygen", "--rotate"])?;
    ensure!(done.starts_with(&format!("step {number} of 3: ")), "{done}");
    ensure!(mode(cluster.node("a")?)? == 0o600);
    let early = |cluster: &Cluster, why: &str| {
        result_of(cluster, "a", &["keygen", "--rotate"])?.refusal(&["not yet", why, "--force"])
    };
    early(cluster, "this node: run `heartbeat reload`")?;
    take_over(cluster, "a")?;
    // The next step waits for each node that has not reloaded yet.
    wait_keys(cluster, "a", WITNESS, number == 2)?;
    if number != 2 {
        early(cluster, "node w: has other keys")?;
    }
    early(cluster, "node b: ")?;
    take_over(cluster, WITNESS)?;
    take_over(cluster, "b")?;
    for member in MEMBERS {
        for node in ["a", "b", WITNESS] {
            wait_keys(cluster, member, node, true)?;
        }
        let status = cluster.node(member)?.control.status()?;
        let other = node_in(&status, if member == "a" { "b" } else { "a" })?;
        ensure!(other.config == status.config, "{other:?}");
    }
    let first = cluster
        .node("a")?
        .control
        .status()?
        .keys
        .context("no keys")?
        .seals;
    wait_status(cluster.node("a")?, "b seals with the same key", |status| {
        node_in(status, "b").is_ok_and(|b| b.key == Some(first))
    })?;
    cluster.check_agents()
}

/// A probe to the first member in the name of the second, signed with the first key.
fn under_the_old_key() -> Result<Vec<u8>> {
    let spec = FrameSpec::probe(2, 0, 1).with(|spec| {
        spec.from = Family::V4.address(0, 2);
        spec.to = Family::V4.address(0, 1);
        spec.header.cluster = flags::cluster_id("rig");
        spec.header.destination = NodeId(1);
        spec.header.incarnation = Incarnation(1);
        spec.header.key_id = 1;
        spec.key = Some(SipKey::from_bytes(KEY));
    });
    spec.frame()
}

#[test]
fn key_of_a_live_cluster_is_replaced_without_a_missed_heartbeat() -> Result<()> {
    needs!(Cluster);
    with_cluster(fast(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        for member in MEMBERS {
            for node in ["a", "b", WITNESS] {
                wait_keys(cluster, member, node, true)?;
            }
        }
        let port = format!("a-{}", interface(0));
        let stranger = |cluster: &Cluster, counter: &str| -> Result<()> {
            let before = cluster.node("a")?.counter(counter)?;
            flood::send(cluster.switch().namespace(), &port, &[under_the_old_key()?])?;
            wait_until(SOON, counter, || {
                Ok(cluster.node("a")?.counter(counter)? == before + 1)
            })
        };
        // Only its age makes the acceptor refuse it.
        stranger(cluster, "drop_replayed_probe")?;
        let mut event_log = EventLog::begin(cluster)?;
        // A reply after the timeout counts as missed. That may happen only while the machine stands
        // still.
        let machine = MachineStalls::of_the_machine()?;
        let (before, at) = (probes(cluster)?, boottime());
        refused(cluster)?;
        for number in 1..=3 {
            step(cluster, number)?;
        }
        let mut after = Vec::new();
        let answered = wait_until(SOON, "all probes are answered", || {
            after = probes(cluster)?;
            let late = machine.since(at).as_millis() as u64;
            Ok(after
                .iter()
                .zip(&before)
                .all(|((_, is), (_, was))| *is <= was + late))
        });
        answered
            .with_context(|| format!("probes, unanswered: {before:?} before, {after:?} after"))?;
        let sent: u64 = after
            .iter()
            .zip(&before)
            .map(|(is, was)| is.0 - was.0)
            .sum();

        let mut suspicions = 0;
        for member in MEMBERS {
            event_log.listen(cluster, member)?;
            let counters = cluster.node(member)?.control.status()?.counters;
            for counter in ["drop_bad_mac", "drop_unknown_key", "stamp_refused"] {
                ensure!(
                    counters[counter] == 0,
                    "{member}: {counter}: {}",
                    counters[counter]
                );
            }
            for event in event_log.reported_by(member) {
                ensure!(
                    !matches!(
                        event.what.of_group(),
                        Some(GroupEvent::LeaseGivenUp(_) | GroupEvent::LeaseAcquired { .. })
                    ),
                    "{event:?}"
                );
                suspicions +=
                    u32::from(matches!(&event.what, EventKind::Link { to, .. } if to == "suspect"));
            }
            let rekeyed = event_log
                .reported_by(member)
                .filter(|event| matches!(event.what, EventKind::Keys(_)));
            ensure!(rekeyed.count() == 3);
        }
        event_log.no_down_reports()?;
        let gap = longest_silence(&client, at);
        eprintln!(
            "key replaced in {:?}: 0 of {sent} probes missed, {suspicions} overdue for a moment, \
             the client waited for {gap:?} at most",
            boottime().since(at)
        );
        let most = fast().lease + machine.since(at);
        ensure!(gap < most, "the client had no answer for {gap:?}");
        stranger(cluster, "drop_unknown_key")
    })
}

/// A key file that is bad, or that would lose heartbeats, changes nothing.
fn refused(cluster: &Cluster) -> Result<()> {
    let a = cluster.node("a")?;
    let keys = a.control.status()?.keys;
    let (old, new) = (
        fs::read_to_string(a.key())?,
        "2 f0e1d2c3b4a5968778695a4b3c2d1e0f\n",
    );
    for (file, why) in [
        (
            new.to_owned(),
            "key 1 is in use and is not in the new key file",
        ),
        (format!("{new}{old}"), "node b: it does not accept key 2"),
        (format!("{old}2 short\n"), "the key is not 32 hex digits"),
    ] {
        fs::write(a.key(), file)?;
        let stays = "the old configuration stays in force";
        result_of(cluster, "a", &["reload"])?.refusal(&[why, stays])?;
    }
    fs::write(a.key(), old)?;
    ensure!(output_of(cluster, "a", &["reload"])? == "nothing has changed\n");
    ensure!(a.control.status()?.keys == keys);
    Ok(())
}

/// All forms in which the key might be written: bytes, digits, and the words that the programs use.
fn traces_of(key: [u8; 16]) -> Vec<Vec<u8>> {
    let SipKey { k0, k1 } = SipKey::from_bytes(key);
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut texts = vec![hex.to_uppercase(), hex, format!("{:?}", &key[..8])];
    for word in [k0, k1] {
        texts.extend([
            format!("{word}"),
            format!("{word:x}"),
            format!("{word:X}"),
            format!("{:016x}", word.swap_bytes()),
        ]);
    }
    let mut traces: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    traces.extend([key.to_vec(), key[..8].to_vec(), key[8..].to_vec()]);
    traces
}

fn shows_no_key(what: &str, text: &[u8]) -> Result<()> {
    for trace in traces_of(KEY) {
        let found = text.windows(trace.len()).any(|part| part == trace);
        ensure!(
            !found,
            "{what} has the key: {:?}",
            String::from_utf8_lossy(&trace)
        );
    }
    Ok(())
}

fn core_dumps(dir: &Path) -> Result<Vec<String>> {
    let names =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names
        .into_iter()
        .filter(|name| name.starts_with("core"))
        .collect())
}

#[test]
fn key_is_in_nothing_that_an_agent_leaves_behind() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let dir = cluster.dir().join("dumps");
        fs::create_dir(&dir)?;
        let script = format!(
            "ulimit -c unlimited\ncd {} && HEARTBEAT_LOG=trace exec \"$HEARTBEAT_BIN\" \"$@\"",
            dir.display()
        );
        start_first_by(cluster, &script)?;
        wait_keys(cluster, "a", "b", true)?;
        wait_keys(cluster, "a", "c", true)?;
        let a = cluster.node("a")?;
        let good = fs::read_to_string(a.key())?;
        let mut shown = Vec::new();
        for bad in [
            format!("{good}{good}"),
            good.replace("0f", "0"),
            good.replace('1', "x"),
        ] {
            fs::write(a.key(), bad)?;
            for command in ["reload", "check"] {
                let ended = a.heartbeat(&[command])?;
                ensure!(!ended.status.success(), "{ended:?}");
                shown.push((command.to_owned(), ended.out + &ended.err));
            }
        }
        fs::write(a.key(), &good)?;
        for command in [
            &["check"][..],
            &["status"],
            &["status", "--json"],
            &["events", "--json"],
            &["keygen", "--rotate"],
            &["reload"],
        ] {
            let ended = a.heartbeat(command)?;
            shown.push((command.join(" "), ended.success()?));
        }
        let pid = cluster.node_mut("a")?.agent()?.pid();
        for file in ["environ", "cmdline"] {
            shown.push((
                file.to_owned(),
                String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}"))?).into_owned(),
            ));
        }
        cluster.node_mut("a")?.agent()?.signal(Signal::SIGHUP)?;
        wait_until(SOON, "the signal is obeyed", || {
            Ok(cluster.node("a")?.logged()?.contains("SIGHUP"))
        })?;

        // Other programs dump core here; the agent does not.
        let mut other = Command::new("/bin/sh");
        other.arg("-c").arg(format!(
            "ulimit -c unlimited; cd {}; kill -ABRT $$",
            dir.display()
        ));
        let dumps = other.status()?.core_dumped();
        for name in core_dumps(&dir)? {
            fs::remove_file(dir.join(name))?;
        }
        let agent = cluster.node_mut("a")?.agent()?;
        agent.signal(Signal::SIGABRT)?;
        let ended = agent.wait(SOON)?;
        ensure!(
            ended.signal() == Some(Signal::SIGABRT as i32) && !ended.core_dumped(),
            "{ended:?}"
        );
        ensure!(core_dumps(&dir)?.is_empty());
        eprintln!("another process left a core dump: {dumps}");

        let log = cluster.node("a")?.logged()?;
        ensure!(
            log.contains("debug") || log.contains("DEBUG"),
            "no details in the log: {log}"
        );
        shown.push(("the log".to_owned(), log));
        for (what, text) in &shown {
            shows_no_key(what, text.as_bytes())?;
        }
        // The search does find a key.
        ensure!(shows_no_key("the key file", good.as_bytes()).is_err());
        Ok(())
    })
}
