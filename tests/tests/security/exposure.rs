//! The parts of a running agent that other users can see: its maps, files, pins and memory.

use std::{
    collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path, process::Command,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    maps::{LAYOUT_VERSION, PIN_ROOT},
    verdict::Verdict,
};
use heartbeat_tests::{
    e2e::{
        Program, SOON,
        shortcuts::{options, with_cluster},
    },
    needs,
    node::Node,
    sys::boottime,
};
use serde_json::Value;

/// The most memory that an agent may use.
const MEMORY_KIB: u64 = 32 * 1024;

/// The output of `bpftool map dump pinned` for a map of `node`.
fn dump(node: &Node, map: &str) -> Result<String> {
    let mut command = Command::new("bpftool");
    command.args(["map", "dump", "pinned"]);
    command.arg(node.pins.path().join(map));
    Program::run(None, command, SOON)?.success()
}

/// The values of a map. bpftool prints them as JSON if the map has BTF.
fn values(node: &Node, map: &str) -> Result<Vec<Value>> {
    let dumped = dump(node, map)?;
    let entries: Vec<Value> = serde_json::from_str(&dumped)
        .with_context(|| format!("{map} has no named fields: {dumped}"))?;
    Ok(entries
        .into_iter()
        .map(|mut entry| entry["value"].take())
        .collect())
}

#[test]
fn maps_have_named_fields_with_sane_values() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let asked_at = boottime().as_nanos();
        let status = a.control.status()?;
        let peers = values(a, "peers")?;
        let now = boottime().as_nanos();
        // Rows for two peers, for the node itself, which asks its own acceptor, and for 8 more
        // nodes.
        ensure!(peers.len() == 3 + 8, "{peers:#?}");
        ensure!(peers[2]["answered"].as_u64() > Some(0), "{:#}", peers[2]);
        for row in &peers[..2] {
            let field = |name: &str| {
                let value = row[name].as_u64();
                value.with_context(|| format!("no field {name} in {row:#}"))
            };
            let second = 1_000_000_000;
            ensure!(
                (asked_at - second..now).contains(&field("last_reply_at")?),
                "{row:#}"
            );
            ensure!(
                (asked_at - second..now).contains(&field("last_probe_at")?),
                "{row:#}"
            );
            ensure!(
                (asked_at - second..now).contains(&field("last_asked_at")?),
                "{row:#}"
            );
            ensure!((1..second).contains(&field("rtt_ns")?), "{row:#}");
            ensure!(
                field("replies")? > 0 && field("replies")? <= field("probes_left")?,
                "{row:#}"
            );
            ensure!(
                field("last_reply_seq")? <= field("last_probe_seq")?,
                "{row:#}"
            );
            ensure!(
                field("answered")? > 0 && field("asked_incarnation")? > 0,
                "{row:#}"
            );
            ensure!(field("incarnation")? > 0 && field("state")? == 2, "{row:#}");
            ensure!(
                row["rtt_ring"]
                    .as_array()
                    .is_some_and(|ring| ring.len() == 16),
                "{row:#}"
            );
        }
        let config = &values(a, "config")?[0];
        ensure!(
            (&config["node"], &config["port"]) == (&1.into(), &694.into()),
            "{config:#}"
        );
        ensure!(
            config["timeout_ns"] == options().timeout.as_nanos() as u64
                && config["layout_version"] == LAYOUT_VERSION,
            "{config:#}"
        );
        let local = &values(a, "local")?[0];
        ensure!(
            local["incarnation"].as_u64() > Some(0)
                && (
                    &local["state"],
                    &local["config_version"],
                    &local["claiming_version"]
                ) == (&2.into(), &1.into(), &1.into()),
            "{local:#}"
        );
        ensure!(values(a, "links")?[0]["link"] == 0);
        let rows: BTreeSet<_> = values(a, "allow")?
            .iter()
            .map(|slot| slot["row"].as_u64())
            .collect();
        ensure!(rows == BTreeSet::from([0, 1, 2].map(Some)), "{rows:?}");

        // There is one value for each verdict and CPU, in the order of the verdicts.
        let counters: Value = serde_json::from_str(&dump(a, "counters")?)?;
        let recorded = counters[Verdict::Recorded as usize]["values"].as_array();
        let recorded = recorded
            .into_iter()
            .flatten()
            .filter_map(|cpu| cpu["value"].as_u64());
        ensure!(
            recorded.sum::<u64>() >= status.counters["recorded"],
            "{counters:#}"
        );
        Ok(())
    })
}

#[test]
fn key_is_readable_only_in_the_map_of_keys() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let key = fs::read_to_string(a.key())?;
        let (_, digits) = key.trim().split_once(' ').context("no key")?;
        let halves = [&digits[..16], &digits[16..]];
        // The key is searched for as text, as bytes, and as two numbers in either byte order.
        let mut forms = Vec::new();
        for half in halves {
            let number = u64::from_str_radix(half, 16)?;
            let pairs: Vec<&str> = (0..8).map(|i| &half[2 * i..2 * i + 2]).collect();
            forms.extend([half.to_owned(), pairs.join(" ")]);
            for number in [number, number.swap_bytes()] {
                forms.extend([format!("{number}"), format!("{number:x}")]);
            }
        }
        let shows = |text: &str| forms.iter().any(|form| text.contains(form.as_str()));
        ensure!(
            shows(&dump(a, "keys")?),
            "the test does not know a key when it sees one"
        );
        for map in [
            "config",
            "links",
            "allow",
            "senders",
            "local",
            "peers",
            "watch",
            "counters",
            "leases",
            "guard",
            "vips",
            "processes",
        ] {
            ensure!(!shows(&dump(a, map)?), "{map} shows the key");
        }
        ensure!(!shows(&a.logged()?), "the log shows the key");
        for command in [["status", "--json"].as_slice(), &["check"], &["events"]] {
            ensure!(
                !shows(&a.heartbeat(command)?.success()?),
                "{command:?} shows the key"
            );
        }
        Ok(())
    })
}

#[test]
fn files_and_pins_of_an_agent_are_for_root_alone() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let mode = |path: &Path| -> Result<u32> { Ok(fs::metadata(path)?.mode() & 0o7777) };
        ensure!(mode(Path::new(PIN_ROOT))? == 0o700);
        ensure!(mode(a.pins.path())? == 0o700);
        let mut pins = BTreeSet::new();
        for entry in fs::read_dir(a.pins.path())? {
            let path = entry?.path();
            ensure!(
                mode(&path)? == 0o600,
                "{} is {:o}",
                path.display(),
                mode(&path)?
            );
            pins.insert(
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        for pin in [
            "config",
            "keys",
            "links",
            "allow",
            "senders",
            "local",
            "peers",
            "watch",
            "events",
            "leases",
            "votes",
            "guard",
            "vips",
            "counters",
            "processes",
            "exits",
            "prog_responder",
            "prog_stamp_probe",
            "prog_guard_ingress",
            "prog_guard_egress",
            "link_xdp_hb0",
            "link_tc_hb0",
            "link_guard_egress_hb0",
        ] {
            ensure!(pins.contains(pin), "no {pin} in {pins:?}");
        }
        ensure!(mode(a.control.socket())? == 0o600);
        ensure!(mode(&a.control.socket().with_extension("lock"))? == 0o600);
        Ok(())
    })
}

#[test]
fn memory_of_an_agent_is_small() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        for node in cluster.nodes() {
            let pid = node.control.status()?.pid;
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let resident = resident.and_then(|text| text.split_whitespace().next());
            let resident: u64 = resident.context("no VmRSS")?.parse()?;
            ensure!(
                resident < MEMORY_KIB,
                "{} has {resident} KiB in memory",
                node.name
            );
        }
        Ok(())
    })
}
