//! The rig itself, without agents: what the other tests take for granted.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use heartbeat_tests::{
    Cluster, Fault, Options, client::Client, config::Family, skip::rig_runs, wait_until,
};

const SOON: Duration = Duration::from_secs(5);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A cluster whose virtual address was put on `owner` by hand.
fn cluster(family: Family, owner: &str) -> Result<Cluster> {
    let cluster = Cluster::new(Options {
        family,
        ..Options::default()
    })?;
    cluster
        .node(owner)?
        .ns
        .add_address("hb0", cluster.vip(), family.prefix_len())?;
    Ok(cluster)
}

fn wait_served(client: &Client, owner: &str) -> Result<()> {
    wait_until(SOON, &format!("{owner} serves"), || {
        Ok(client.steady(100 * MILLISECOND).as_deref() == Some(owner))
    })
}

fn wait_silent(client: &Client) -> Result<()> {
    wait_until(SOON, "nobody answers", || {
        Ok(client.with_records(|records| {
            let last = &records[records.len().saturating_sub(100)..];
            last.len() == 100 && last.iter().all(|record| record.answer.is_none())
        }))
    })
}

#[test]
fn the_owner_answers_and_faults_silence_it_until_healed() -> Result<()> {
    if !rig_runs("the_owner_answers_and_faults_silence_it_until_healed") {
        return Ok(());
    }
    for family in Family::ALL {
        let mut cluster = cluster(family, "b")?;
        assert_eq!(cluster.holders()?, ["b"]);
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "b")?;
        for fault in [Fault::Cut, Fault::Silent] {
            cluster.inject("b", fault)?;
            wait_silent(&client)?;
            cluster.heal("b", fault)?;
            wait_served(&client, "b")?;
        }
    }
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    if !rig_runs("nothing_is_left_behind") {
        return Ok(());
    }
    let paths = {
        let cluster = cluster(Family::V4, "a")?;
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a")?;
        let mut paths: Vec<_> = cluster
            .nodes()
            .iter()
            .map(|node| node.pins.path().to_owned())
            .collect();
        // As if an agent had been killed, where a BPF file system is mounted.
        let _ = paths.iter().try_for_each(fs::create_dir_all);
        paths.push(cluster.dir().to_owned());
        paths
    };
    for path in paths {
        assert!(!Path::exists(&path), "{} is left", path.display());
    }
    Ok(())
}
