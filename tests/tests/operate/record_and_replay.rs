//! Record and replay: a replay of a recorded run takes the recorded decisions again.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster, Fault,
    e2e::{
        Ended, MILLISECOND, SOON,
        availability::wait_served,
        shortcuts::{heartbeat, options, wait_holder},
    },
    needs,
    node::Node,
    wait_until,
};

const ALL: [&str; 3] = ["a", "b", "c"];

fn record_of(node: &Node) -> PathBuf {
    node.dir().join("run.record")
}

/// Starts all agents, each with its own record.
fn start_recorded(cluster: &mut Cluster) -> Result<()> {
    for name in ALL {
        let node = cluster.node_mut(name)?;
        let launcher = node.dir().join("launcher");
        let record = record_of(node);
        let script = format!(
            "#!/bin/sh\nexec \"$HEARTBEAT_BIN\" \"$@\" --record {}\n",
            record.display()
        );
        fs::write(&launcher, script)?;
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o700))?;
        node.start_by(&launcher)?;
    }
    cluster.wait_well(SOON, "a")
}

fn replay(node: &Node, record: &Path, flags: &[&str]) -> Result<Ended> {
    let path = record.display().to_string();
    node.run(heartbeat(&[&["replay", path.as_str()], flags].concat())?)
}

/// The lines of a replay without the last one, and the last one.
fn split(text: &str) -> (Vec<&str>, &str) {
    let mut lines: Vec<_> = text.lines().collect();
    let last = lines.pop().unwrap_or_default();
    (lines, last)
}

#[test]
fn recorded_takeover_replays_decision_for_decision() -> Result<()> {
    needs!(Cluster);
    play_recorded(|cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        cluster.inject("a", Fault::Cut)?;
        wait_served(&client, "b", SOON)?;
        wait_holder(cluster, Some("b"))?;
        ensure!(cluster.node_mut("b")?.stop()?, "the agent failed");

        let b = cluster.node("b")?;
        let record = record_of(b);
        let whole = replay(b, &record, &[])?.success()?;
        let (decisions, verdict) = split(&whole);
        let down = decisions
            .iter()
            .position(|line| line.contains("node 1: suspect -> down"));
        let start = decisions
            .iter()
            .position(|line| line.contains("group 0: start (lease free"));
        ensure!(start.is_some() && down.is_some(), "no takeover in {whole}");
        let same = format!("the same {} decisions", decisions.len());
        ensure!(verdict.starts_with(&same), "{verdict}");
        ensure!(verdict.ends_with("until the agent ended"), "{verdict}");
        ensure!(replay(b, &record, &["--json"])?.success()?.lines().count() == decisions.len() + 1);
        holds_no_key(b, &record)?;

        let cut = b.dir().join("cut.record");
        let bytes = fs::read(&record)?;
        fs::write(&cut, &bytes[..bytes.len() / 2])?;
        let part = replay(b, &cut, &[])?.success()?;
        let (before, verdict) = split(&part);
        ensure!(decisions.starts_with(&before), "{part}");
        ensure!(
            verdict.contains("truncated within the entry at byte"),
            "{verdict}"
        );

        fs::write(&cut, "no record")?;
        replay(b, &cut, &[])?.refusal(&["not a record of `heartbeat run --record`"])
    })
}

#[test]
fn record_of_a_killed_agent_replays() -> Result<()> {
    needs!(Cluster);
    play_recorded(|cluster| {
        let record = record_of(cluster.node("a")?);
        let start = |cluster: &Cluster| {
            let told = replay(cluster.node("a")?, &record, &[])?.success()?;
            Ok(told.contains("group 0: start"))
        };
        wait_until(SOON, "the start of the group is recorded", || {
            start(cluster)
        })?;
        cluster.inject("a", Fault::Kill)?;
        ensure!(start(cluster)?, "the record of a killed agent is lost");
        Ok(())
    })
}

/// Runs `test` with three recorded agents, of which a serves.
fn play_recorded(test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    Cluster::run(options(), |cluster| {
        start_recorded(cluster)?;
        test(cluster)
    })
}

/// The key is searched for as bytes and as the text of the file.
fn holds_no_key(node: &Node, record: &Path) -> Result<()> {
    let text = fs::read_to_string(node.key())?;
    let bytes = fs::read(record)?;
    let key = text.trim();
    let raw: Vec<u8> = (0..key.len() / 2)
        .filter_map(|at| u8::from_str_radix(key.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    for (what, part) in [("text", key.as_bytes()), ("bytes", &raw)] {
        let found = part.len() >= 8 && bytes.windows(8).any(|window| *window == part[..8]);
        ensure!(!found, "the record holds the key's {what}");
    }
    Ok(())
}
