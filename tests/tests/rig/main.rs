//! The test rig itself, without agents: what the other tests take for granted.

use std::{fs, net::UdpSocket, path::Path, time::Duration};

use anyhow::Result;
use heartbeat_tests::{Cluster, Fault, Options, client::Client, config::Family, needs, wait_until};

const SOON: Duration = Duration::from_secs(5);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Builds a cluster, and adds the virtual address on `owner` by hand.
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
fn owner_answers_and_faults_silence_it_until_healed() -> Result<()> {
    needs!(Cluster);
    for family in Family::ALL {
        let mut cluster = cluster(family, "b")?;
        assert_eq!(cluster.holders()?, ["b"]);
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "b")?;
        for fault in [Fault::Cut, Fault::Silent, Fault::Deaf, Fault::Mute] {
            cluster.inject("b", fault)?;
            wait_silent(&client)?;
            cluster.heal("b", fault)?;
            wait_served(&client, "b")?;
        }
    }
    Ok(())
}

/// A broadcast socket of node number `index`.
fn speaker(cluster: &Cluster, index: usize) -> Result<UdpSocket> {
    let socket = cluster.nodes()[index]
        .ns
        .enter(|| Ok(UdpSocket::bind("0.0.0.0:7701")?))?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(50 * MILLISECOND))?;
    Ok(socket)
}

/// Whether a broadcast of `from` reaches `to`. It needs no reply and no neighbour entry.
fn reaches(from: &UdpSocket, to: &UdpSocket, word: &[u8]) -> Result<bool> {
    let everybody = Family::V4.address(0, u8::MAX);
    from.send_to(word, (everybody, 7_701))?;
    let mut buffer = [0; 16];
    while let Ok((len, _)) = to.recv_from(&mut buffer) {
        if buffer[..len] == *word {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn one_way_faults_leave_the_other_way_open_until_both_are_healed() -> Result<()> {
    needs!(Cluster);
    let mut cluster = Cluster::new(Options::default())?;
    let (b, c) = (speaker(&cluster, 1)?, speaker(&cluster, 2)?);
    let ways =
        || Ok::<_, anyhow::Error>([reaches(&b, &c, b"b to c")?, reaches(&c, &b, b"c to b")?]);
    assert_eq!(ways()?, [true, true]);
    for (fault, expected) in [(Fault::Deaf, [true, false]), (Fault::Mute, [false, true])] {
        cluster.inject("b", fault)?;
        assert_eq!(ways()?, expected, "{fault:?}");
        // A second injection changes nothing.
        cluster.inject("b", fault)?;
        cluster.heal("b", fault)?;
        assert_eq!(ways()?, [true, true], "{fault:?} is healed");
    }
    cluster.inject("b", Fault::Deaf)?;
    cluster.inject("b", Fault::Mute)?;
    assert_eq!(ways()?, [false, false]);
    cluster.heal("b", Fault::Deaf)?;
    assert_eq!(ways()?, [false, true]);
    cluster.heal("b", Fault::Mute)?;
    assert_eq!(ways()?, [true, true]);
    Ok(())
}

#[test]
fn namespaces_processes_and_files_of_a_cluster_are_removed() -> Result<()> {
    needs!(Cluster);
    let paths = {
        let cluster = cluster(Family::V4, "a")?;
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a")?;
        let mut paths: Vec<_> = cluster
            .nodes()
            .iter()
            .map(|node| node.pins.path().to_owned())
            .collect();
        // The state that a killed agent leaves where a BPF file system is mounted.
        let _ = paths.iter().try_for_each(fs::create_dir_all);
        paths.push(cluster.dir().to_owned());
        paths
    };
    for path in paths {
        assert!(!Path::exists(&path), "{} is left", path.display());
    }
    Ok(())
}
