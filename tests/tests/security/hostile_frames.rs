//! Forged, malformed and replayed frames: they are counted, and have no other effect.
//!
//! Scripts in `fixtures/` make all frames. They share no code with the programs under test.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault,
    client::Client,
    e2e::{
        EventLog, GRACE, MILLISECOND, SOON, attack,
        availability::{longest_silence, wait_served},
        machine_stalls::MachineStalls,
        python::Script,
        shortcuts::{options, with_cluster},
    },
    needs,
    sys::boottime,
    wait::observe,
    wait_until,
};

const TARGET: &str = "a";
/// The node that the attacker pretends to be.
const SOURCE: &str = "b";
/// The number of frames of each kind.
const COUNT: u64 = 25;
/// The longest gap of the client during an attack: far less than any takeover.
const SMALL: Duration = Duration::from_millis(50);

/// Starts an attacker on the client's machine.
fn stranger(cluster: &Cluster) -> Result<Script> {
    attack::stranger(cluster, SOURCE, TARGET)
}

/// Starts an attacker in the switch. It records the frames of `SOURCE`, and sends to `TARGET`.
fn wiretap(cluster: &Cluster) -> Result<Script> {
    attack::wiretap(cluster, SOURCE, TARGET)
}

/// Runs `attack` against a cluster with a client, which must not notice it.
fn unharmed(attack: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    with_cluster(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, TARGET, SOON)?;
        let stalls = MachineStalls::begin()?;
        let mut event_log = EventLog::begin(cluster)?;
        let begun_at = boottime();
        attack(cluster)?;
        cluster.check_agents()?;
        cluster.wait_well(SOON, TARGET)?;
        still_served(&client, &stalls, begun_at)?;
        for node in ["a", "b", "c"] {
            event_log.listen(cluster, node)?;
        }
        event_log.no_down_reports()
    })
}

fn still_served(client: &Client, stalls: &MachineStalls, since: Boottime) -> Result<()> {
    wait_served(client, TARGET, SOON)?;
    let gap = longest_silence(client, since);
    let most = SMALL + stalls.since(since);
    ensure!(gap <= most, "the client had no answer for {gap:?}");
    Ok(())
}

/// Waits until `counter` has grown by exactly `count` since it was `before`.
fn counted(cluster: &Cluster, counter: &str, before: u64, count: u64) -> Result<()> {
    attack::counted(cluster.node(TARGET)?, counter, before, count)
}

/// Checks that no heartbeat reached the attacker.
fn nobody_answered(attacker: &mut Script) -> Result<()> {
    let heard = attacker.count("heard")?;
    ensure!(heard == 0, "{heard} answers came: {}", attacker.err());
    Ok(())
}

/// The frames of the script, and their verdicts.
const FORGERIES: [(&str, &str); 28] = [
    ("wrong-key", "drop_bad_mac"),
    ("wrong-key-reply", "drop_bad_mac"),
    ("wrong-key-vlan", "drop_bad_mac"),
    ("no-key", "drop_bad_mac"),
    ("unknown-key", "drop_unknown_key"),
    ("old-probe", "drop_replayed_probe"),
    ("old-probe-with-leases", "drop_replayed_probe"),
    ("unasked-reply", "drop_unsolicited_reply"),
    ("foreign-cluster", "drop_foreign_cluster"),
    ("wrong-node", "drop_wrong_node"),
    ("wrong-source", "drop_unknown_peer"),
    ("wrong-link", "drop_unknown_peer"),
    ("stranger", "drop_unknown_peer"),
    ("magic", "drop_bad_magic"),
    ("http", "drop_bad_magic"),
    ("version-2", "pass_unknown_version"),
    ("version-0", "pass_unknown_version"),
    ("kind-0", "drop_malformed"),
    ("kind-7", "drop_malformed"),
    ("leases-9", "drop_malformed"),
    ("leases-255", "drop_malformed"),
    ("leases-missing", "drop_malformed"),
    ("trailing", "drop_malformed"),
    ("half", "drop_malformed"),
    ("udp-length-short", "drop_malformed"),
    ("udp-length-long", "drop_malformed"),
    ("ip-length-short", "drop_malformed"),
    ("empty", "drop_truncated"),
];

/// The same for frames that a switch may inspect, repair or refuse: they are put on the wire
/// itself.
const MUTILATIONS: [(&str, &str); 5] = [
    ("cut-short", "drop_truncated"),
    ("cut-to-magic", "drop_truncated"),
    ("fragment-first", "pass_fragment"),
    ("fragment-later", "pass_fragment"),
    ("ip-options", "pass_ip_options"),
];

#[test]
fn forged_and_malformed_frames_are_counted_and_not_answered() -> Result<()> {
    needs!(Cluster, Scapy);
    unharmed(|cluster| {
        let (mut stranger, mut wiretap) = (stranger(cluster)?, wiretap(cluster)?);
        for (cases, sender) in [
            (&FORGERIES[..], &mut stranger),
            (&MUTILATIONS, &mut wiretap),
        ] {
            for (case, counter) in cases {
                let before = cluster.node(TARGET)?.counter(counter)?;
                sender.count(&format!("forge {case} {COUNT}"))?;
                counted(cluster, counter, before, COUNT).with_context(|| format!("case {case}"))?;
            }
        }
        nobody_answered(&mut stranger)
    })
}

#[test]
fn replayed_probes_are_not_answered() -> Result<()> {
    needs!(Cluster, Scapy);
    unharmed(|cluster| {
        let mut wiretap = wiretap(cluster)?;
        for (kind, counter) in [
            ("probe", "drop_replayed_probe"),
            ("reply", "drop_replayed_reply"),
        ] {
            ensure!(wiretap.count(&format!("capture {kind} 40"))? == 40);
            let before = cluster.node(TARGET)?.counter(counter)?;
            wiretap.count("replay 200")?;
            counted(cluster, counter, before, 200)?;
        }
        Ok(())
    })
}

#[test]
fn replayed_replies_do_not_keep_a_dead_node_alive() -> Result<()> {
    needs!(Cluster, Scapy);
    with_cluster(options(), |cluster| {
        let mut wiretap = wiretap(cluster)?;
        ensure!(wiretap.count("capture reply 60")? == 60);
        let before = cluster.node(TARGET)?.counter("drop_replayed_reply")?;
        let mut event_log = EventLog::begin(cluster)?;
        // The replay goes on from before the death until after it, without a pause.
        wiretap.begin("loop")?;
        wait_until(SOON, "replays arrive", || {
            Ok(cluster.node(TARGET)?.counter("drop_replayed_reply")? > before + 10)
        })?;
        cluster.inject(SOURCE, Fault::Cut)?;
        let cut_at = boottime();
        let down = event_log.wait_state(cluster, TARGET, SOURCE, "down", SOON)?;
        let late = Boottime::from_nanos(down.at_ns).since(cut_at);
        ensure!(
            late <= options().timeout + GRACE,
            "declared down after {late:?}"
        );
        // The node stays down, however long the replay goes on.
        let mut event_log = EventLog::begin(cluster)?;
        observe(20 * options().timeout, || cluster.check_agents())?;
        let sent = wiretap.count("stop")?;
        event_log.listen(cluster, TARGET)?;
        ensure!(
            event_log.reported_by(TARGET).next().is_none(),
            "{event_log:#?}"
        );
        counted(cluster, "drop_replayed_reply", before, sent)
    })
}

#[test]
fn flood_of_junk_costs_no_lease() -> Result<()> {
    needs!(Cluster, Scapy);
    unharmed(|cluster| {
        let mut stranger = stranger(cluster)?;
        let dropped = |cluster: &Cluster| -> Result<u64> {
            let status = cluster.node(TARGET)?.control.status()?;
            let counters = ["drop_bad_magic", "drop_bad_mac", "drop_truncated"];
            Ok(counters
                .iter()
                .filter_map(|name| status.counters.get(*name))
                .sum())
        };
        let before = dropped(cluster)?;
        let sent = stranger.count("flood 200000 5")?;
        ensure!(sent > 10_000, "{sent} frames are no flood");
        // A queue in the switch or at the node may have been full for some frames.
        wait_until(SOON, "half of the flood is counted", || {
            Ok(dropped(cluster)? - before >= sent / 2)
        })?;
        nobody_answered(&mut stranger)
    })
}

#[test]
fn control_socket_survives_bad_clients() -> Result<()> {
    needs!(Cluster);
    unharmed(|cluster| {
        let control = cluster.node(TARGET)?.control.clone();
        let connect = || -> Result<UnixStream> {
            let stream = UnixStream::connect(control.socket())?;
            stream.set_read_timeout(Some(SOON))?;
            stream.set_write_timeout(Some(SOON))?;
            Ok(stream)
        };
        for garbage in [
            &b"\n"[..],
            b"hello\n",
            b"{}\n",
            b"{\"command\":\"explode\"}\n",
            b"{\"command\":\"events\",\"after\":-1}\n",
            b"{\"command\":\"ping\",\"node\":\"b\",\"count\":0}\n",
            b"{\"command\":\"ping\",\"node\":\"b\",\"count\":4000000000}\n",
            b"\"status\"\n",
            b"[[[[[[[[\n",
        ] {
            let mut stream = connect()?;
            stream.write_all(garbage)?;
            let mut answer = vec![0; 4096];
            let len = stream.read(&mut answer)?;
            let answer = String::from_utf8_lossy(&answer[..len]);
            ensure!(
                answer.starts_with("{\"answer\":\"error\""),
                "{garbage:?}: {answer}"
            );
            control.status()?;
        }
        // Clients that send no text, no end, or do not read. The agent may close the connection at
        // any moment.
        let mut streams = Vec::new();
        for rude in [
            vec![0xff; 512],
            vec![b'x'; 1 << 20],
            b"{\"command\":\"status\"}\n".repeat(20_000),
        ] {
            let mut stream = connect()?;
            stream.set_write_timeout(Some(200 * MILLISECOND))?;
            let _ = stream.write_all(&rude);
            streams.push(stream);
            control.status()?;
        }
        for _ in 0..100 {
            streams.push(connect()?);
        }
        control.status()?;
        Ok(())
    })
}
