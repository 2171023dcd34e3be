//! A firewall that passes heartbeats and closes the agents' TCP port. Groups are served, and the
//! status and the commands name the port.

use anyhow::{Result, ensure};
use heartbeat_common::wire::DEFAULT_PORT;
use heartbeat_tests::{
    Cluster,
    e2e::{
        SOON,
        lines::has_lines,
        shortcuts::{node_in, options, wait_status},
    },
    needs, wait_until,
};

const NODES: [&str; 3] = ["a", "b", "c"];

/// Closes the agents' port of `node` for other hosts.
fn close_port(cluster: &Cluster, node: &str) -> Result<()> {
    let rule = format!(
        "add table inet closed; add chain inet closed in {{ type filter hook input priority 0; }}; \
         add rule inet closed in iifname hb0 tcp dport {DEFAULT_PORT} drop"
    );
    cluster.node(node)?.tool("nft", [&rule]).map(drop)
}

fn open_port(cluster: &Cluster, node: &str) -> Result<()> {
    let rule = "delete table inet closed";
    cluster.node(node)?.tool("nft", [rule]).map(drop)
}

#[test]
fn closed_tcp_port_stops_no_service_and_is_named_by_status_log_and_commands() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        for node in NODES {
            close_port(cluster, node)?;
        }
        cluster.start_agents()?;
        // Heartbeats suffice for an address: the lease tells its owner.
        for node in NODES {
            wait_status(
                cluster.node(node)?,
                "a serves, by the heartbeats alone",
                |status| {
                    let service = status.groups.iter().find(|group| group.name == "service");
                    service
                        .is_some_and(|group| group.running && group.owner.as_deref() == Some("a"))
                },
            )?;
        }
        let b = cluster.node("b")?;
        wait_status(b, "a does not answer by TCP", |status| {
            node_in(status, "a").is_ok_and(|a| a.unanswered_ns.is_some())
        })?;
        let shown = b.heartbeat(&["status"])?.success()?;
        let line =
            format!("    * its agent has not answered on TCP port {DEFAULT_PORT} for *firewall*");
        has_lines(&shown, &[&line])?;
        ensure!(
            shown.contains("service (10.77.0.100/24 on hb0): Started a"),
            "{shown}"
        );
        let logged = format!("TCP port {DEFAULT_PORT} is closed");
        wait_until(SOON, "the log names the port", || {
            Ok(b.logged()?.contains(&logged))
        })?;
        let port = format!("TCP port {DEFAULT_PORT}");
        b.heartbeat(&["move", "service", "b"])?
            .refusal(&[&port, "firewall"])?;

        for node in NODES {
            open_port(cluster, node)?;
        }
        wait_status(cluster.node("b")?, "all agents answer again", |status| {
            status.nodes.iter().all(|node| node.unanswered_ns.is_none())
        })
    })
}
