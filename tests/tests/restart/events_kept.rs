//! The events of a node outlive its agent, and other nodes can ask for them.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        SOON,
        shortcuts::{options, wait_logged, with_cluster},
    },
    needs,
};
use heartbeat_user::control::protocol::{Event, EventKind};

/// The events that `heartbeat events --json ARGS` prints on `node`.
fn printed(cluster: &Cluster, node: &str, args: &[&str]) -> Result<Vec<Event>> {
    let args = [&["events", "--json"], args].concat();
    let text = cluster.node(node)?.heartbeat(&args)?.success()?;
    let events = text.lines().map(serde_json::from_str);
    Ok(events.collect::<Result<_, _>>()?)
}

fn starts(events: &[Event]) -> Vec<u64> {
    let starts = events
        .iter()
        .filter(|event| event.what == EventKind::Started);
    starts.map(|event| event.number).collect()
}

fn is_rising(events: &[Event]) -> bool {
    events.windows(2).all(|two| two[0].number < two[1].number)
}

#[test]
fn events_outlive_a_stop_a_kill_and_a_torn_file() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let first = printed(cluster, "a", &[])?;
        cluster.node_mut("a")?.stop()?;
        cluster.start_agent("a")?;
        cluster.wait_well(SOON, "a")?;
        let second = printed(cluster, "a", &[])?;
        ensure!(second.starts_with(&first), "{first:#?} {second:#?}");
        ensure!(
            starts(&second).len() == 2 && is_rising(&second),
            "{second:#?}"
        );

        let a = cluster.node_mut("a")?;
        a.agent()?.kill()?;
        a.forget_agent();
        let instance = a.pins.path().file_name().context("no instance")?;
        let path = a.dir().join("state").join(instance).join("events.jsonl");
        let text = fs::read(&path)?;
        fs::write(&path, &text[..text.len() - 3])?;
        cluster.start_agent("a")?;
        cluster.wait_well(SOON, "a")?;
        wait_logged(cluster.node("a")?, "events.damaged")?;
        let third = printed(cluster, "a", &[])?;
        ensure!(third.starts_with(&first), "{first:#?} {third:#?}");
        ensure!(starts(&third).len() == 3 && is_rising(&third), "{third:#?}");
        let last = third.last().context("no event")?.number;
        let before = second.last().context("no event")?.number;
        ensure!(last > before, "{last} after {before}");
        Ok(())
    })
}

#[test]
fn events_of_another_node_are_told_by_its_agent_and_not_without() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let there = printed(cluster, "a", &[])?;
        let asked = printed(cluster, "b", &["--node", "a"])?;
        ensure!(asked.starts_with(&there), "{there:#?} {asked:#?}");
        let last = printed(cluster, "b", &["--node", "a", "-n", "1"])?;
        ensure!(last.len() == 1, "{last:#?}");
        let own = printed(cluster, "b", &["--node", "b"])?;
        ensure!(own == printed(cluster, "b", &[])?, "{own:#?}");
        cluster.node_mut("a")?.stop()?;
        let b = cluster.node("b")?;
        b.heartbeat(&["events", "--node", "a"])?
            .refusal(&["no events of node a", "agent of node a not reached"])
    })
}
