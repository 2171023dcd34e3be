//! Disks and files that do not answer: only threads on which nothing depends wait for them.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        MILLISECOND, SOON,
        availability::wait_served,
        disk::Disk,
        groups::output_of,
        shortcuts::{options, wait_holder, wait_status, with_cluster},
    },
    needs,
    wait::observe,
    wait_until,
};
use heartbeat_user::control::protocol::{EventKind, GroupEvent, Request, Response};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

/// A time longer than `agent_stall`.
fn long() -> Duration {
    4 * options().agent_stall
}

/// Whether node a has given the address up since its agent started.
fn gave_up(cluster: &Cluster) -> Result<bool> {
    let events = cluster.node("a")?.control.events(0)?.events;
    let latest = events.iter().rev().map(|event| &event.what);
    let mut since_start = latest.take_while(|what| !matches!(what, EventKind::Started));
    Ok(since_start.any(|what| matches!(what.of_group(), Some(GroupEvent::LeaseGivenUp(_)))))
}

/// Checks that node a serves on for a while, and that its agent is not stalled.
fn serves_on(cluster: &mut Cluster) -> Result<()> {
    observe(long(), || {
        ensure!(cluster.holders()? == ["a"]);
        let status = cluster.node("b")?.control.status()?;
        let a = status.nodes.iter().find(|node| node.name == "a");
        ensure!(a.is_some_and(|a| a.state == "up"), "{a:?}");
        Ok(())
    })?;
    cluster.node("a")?.control.status()?;
    ensure!(
        !gave_up(cluster)?,
        "{:#?}",
        cluster.node("a")?.control.events(0)?
    );
    Ok(())
}

#[test]
fn owner_with_a_hung_disk_serves_and_confirms_nothing_unwritten() -> Result<()> {
    needs!(Cluster, Disk);
    Cluster::run(options(), |cluster| {
        let disk = Disk::mount(&cluster.node("a")?.dir().join("state"))?;
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;

        // A decision from another node holds at once.
        let frozen = disk.freeze()?;
        output_of(cluster, "b", &["maintenance", "on"])?;
        serves_on(cluster)?;
        output_of(cluster, "b", &["maintenance", "off"])?;
        serves_on(cluster)?;

        // A decision on this node is not confirmed, and delays nothing.
        let slow = ["not written to the state directory within 3 s"];
        let a = cluster.node("a")?;
        a.heartbeat(&["maintenance", "on"])?.refusal(&slow)?;
        ensure!(!a.control.status()?.maintenance);
        serves_on(cluster)?;
        // The decision is in force once it is written.
        drop(frozen);
        wait_status(cluster.node("c")?, "all is left alone", |status| {
            status.maintenance
        })?;
        output_of(cluster, "a", &["maintenance", "off"])?;

        let frozen = disk.freeze()?;
        let a = cluster.node("a")?;
        a.heartbeat(&["standby", "a"])?.refusal(&slow)?;
        serves_on(cluster)?;
        drop(frozen);
        wait_holder(cluster, Some("b"))?;
        output_of(cluster, "a", &["online", "a"])?;
        cluster.wait_well(2 * SOON, "a")
    })
}

/// Waits until a process reads a named pipe, and returns the writing end.
fn open_once_read(pipe: &Path) -> Result<File> {
    let mut writer = None;
    wait_until(SOON, "the file is being read", || {
        let opened = File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(pipe);
        // The error ENXIO means that no process reads the pipe.
        writer = opened.ok();
        Ok(writer.is_some())
    })?;
    writer.context("nobody reads it")
}

#[test]
fn reload_of_a_file_that_hangs_stops_nothing() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let config = cluster.node("a")?.config();
        let text = fs::read(&config)?;
        // The reader of a named pipe waits for a writer.
        fs::remove_file(&config)?;
        mkfifo(&config, Mode::S_IRUSR | Mode::S_IWUSR)?;
        cluster.node_mut("a")?.agent()?.signal(Signal::SIGHUP)?;
        let mut writer = open_once_read(&config)?;
        match cluster.node("a")?.control.ask(&Request::Reload)? {
            Response::Error { message } if message.contains("a reload is under way for") => {}
            other => bail!("{other:?}"),
        }
        serves_on(cluster)?;
        writer.write_all(&text)?;
        drop(writer);
        wait_until(SOON, "the reload has ended", || {
            Ok(cluster
                .node("a")?
                .logged()?
                .contains("SIGHUP: nothing has changed"))
        })?;
        fs::remove_file(&config)?;
        fs::write(&config, &text)?;
        output_of(cluster, "a", &["reload"]).context("after it")?;
        ensure!(!gave_up(cluster)?);
        Ok(())
    })
}
