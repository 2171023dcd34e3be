//! Limits: full and hung disks, readers that do not read, exhausted descriptors, queues and CPUs,
//! wrong clocks.

mod clocks;
mod descriptors;
mod disk_full;
mod disk_hangs;
mod ladder;
mod output;
mod queue;
mod real_time_hogs;
mod rings;
mod soak;

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster,
    client::{Client, Record},
    e2e::{EventLog, ownership::overlaps, shortcuts::options},
    needs,
    node::Node,
};

/// The nodes of an ordinary cluster.
const ALL: [&str; 3] = ["a", "b", "c"];

/// Runs `test` with a cluster whose agents do not run yet, or skips it.
fn unstarted(test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), test)
}

/// Writes a shell script that starts an agent: the binary is `$HEARTBEAT_BIN`, its arguments are
/// `"$@"`.
fn launcher(node: &Node, script: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = node.dir().join("launcher");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    Ok(path)
}

/// Checks that no node served while another held the lease, since `event_log` and `client` began.
fn never_two_at_once(cluster: &Cluster, event_log: &mut EventLog, client: &Client) -> Result<()> {
    for name in ALL {
        event_log.listen(cluster, name)?;
    }
    let acquisitions = event_log.acquisitions("service");
    client.with_records(|records| {
        let answers = records.iter().flat_map(Record::answers);
        let twice = overlaps(answers, &acquisitions);
        ensure!(twice.is_empty(), "two served at once: {twice:#?}");
        Ok(())
    })
}
