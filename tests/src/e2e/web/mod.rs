//! The web server of tutorials on Corosync and Pacemaker: an address and an Apache, converted by
//! `heartbeat import`, on nodes with sandboxes.

pub mod apache;
pub mod client;
pub mod steps;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_user::control::protocol::Status;

use super::{Program, SOON, shortcuts::wait_status};
use crate::{
    Cluster, Options, client::Client, config::interface, e2e::heartbeat, wait_until,
    workdir::WorkDir,
};
pub use apache::ApacheWatch;
pub use steps::Steps;

/// The configuration in the documentation of `import`.
const COROSYNC: &str = include_str!("../../../../crates/import/tests/fixtures/tutorial.conf");
const CRM: &str = include_str!("../../../../crates/import/tests/fixtures/tutorial.crm");
pub const GROUP: &str = "web";
pub const ADDRESS: &str = "webip";
pub const SERVER: &str = "webserver";
/// The longest wait for Apache. Its resource agent polls each second.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The group that `heartbeat import` makes of the tutorial, with this rig's addresses.
pub fn tutorial() -> Result<String> {
    let dir = WorkDir::new(false)?;
    let here = |text: &str| {
        text.replace("192.168.1.", "10.77.0.")
            .replace("eth0", &interface(0))
            .replace("node1", "a")
            .replace("node2", "b")
    };
    let corosync = dir.path().join("corosync.conf");
    let crm = dir.path().join("cluster.crm");
    fs::write(&corosync, here(COROSYNC))?;
    fs::write(&crm, here(CRM))?;
    let mut import = heartbeat(&["import", "--corosync"])?;
    import.arg(corosync).arg("--crm").arg(crm);
    let imported = Program::run(None, import, SOON)?.success()?;
    let (_, group) = imported.split_once("[[group]]\n").context("no group")?;
    // An operator may rename the group while nothing serves it.
    let (first, rest) = group.split_once('\n').context("a group of one line")?;
    ensure!(first.starts_with("name = "), "{imported}");
    // The values of the imported [defaults].
    Ok(format!(
        "[[group]]\nname = \"{GROUP}\"\nstickiness = 0\n{rest}"
    ))
}

/// Runs `test` with two nodes and a witness, once `groups` runs on the first.
pub fn with_cluster(groups: String, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let options = Options {
        nodes: ["a", "b"].map(str::to_owned).to_vec(),
        witnesses: vec!["w".to_owned()],
        groups: Some(groups),
        ..super::shortcuts::options()
    };
    Cluster::run(options, |cluster| {
        for name in ["a", "b"] {
            cluster.node_mut(name)?.furnish()?;
        }
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        wait_started(cluster, "a")?;
        test(cluster)
    })
}

/// Starts a client of pages, and waits until `node` serves it.
pub fn client(cluster: &Cluster, node: &str) -> Result<Client> {
    let client = Client::of_pages(cluster.client_namespace(), cluster.vip())?;
    wait_pages(&client, node)?;
    Ok(client)
}

/// Waits until `node` serves pages, one after the other.
pub fn wait_pages(client: &Client, node: &str) -> Result<()> {
    wait_until(PATIENCE, &format!("{node} serves pages"), || {
        Ok(client.steady(10 * client::PERIOD).as_deref() == Some(node))
    })
}

/// Whether the whole group runs on `owner`, by `status`.
pub fn runs_on(status: &Status, owner: &str) -> bool {
    let group = status.groups.iter().find(|group| group.name == GROUP);
    group.is_some_and(|group| {
        let started = |resource: &heartbeat_user::control::protocol::Resource| {
            resource.state == "started" && resource.node.as_deref() == Some(owner)
        };
        group.running
            && group.owner.as_deref() == Some(owner)
            && group.resources.iter().all(started)
    })
}

/// Waits until both nodes know that the whole group runs on `owner`.
pub fn wait_started(cluster: &Cluster, owner: &str) -> Result<()> {
    for name in ["a", "b"] {
        let node = cluster.node(name)?;
        let known = |status: &Status| runs_on(status, owner);
        wait_status(node, &format!("all of {GROUP} runs on {owner}"), known)?;
    }
    Ok(())
}
