//! The hosts of a page: the nodes of a cluster, each with files and processes of its own, and a
//! client.
//!
//! On the page each host has a kernel of its own; here they share one. So the `heartbeat` that a
//! host finds is a script which gives it an instance and directories that differ from those of the
//! others, `scp` copies between the hosts' directories, and `systemctl start` starts the agent or
//! HAProxy, as no systemd runs there. All else is what the page says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{Cluster, e2e::actors::program, node::Node};

/// A host that votes and serves nothing.
pub(super) const WITNESS: &str = "witness";
/// A host outside of the cluster.
pub const CLIENT: &str = "client";
/// The page's network and interface, and the rig's.
const NAMES: [(&str, &str); 2] = [("10.0.0.", "10.77.0."), ("eth0", "hb0")];

/// The page's text as the rig takes it.
pub(super) fn to_rig(text: &str) -> String {
    let replace = |text: String, (page, rig): (&str, &str)| text.replace(page, rig);
    NAMES.into_iter().fold(text.to_owned(), replace)
}

/// The rig's text as it would be on the page's hosts.
pub(super) fn to_page(text: &str) -> String {
    let replace = |text: String, (page, rig): (&str, &str)| text.replace(rig, page);
    NAMES.into_iter().fold(text.to_owned(), replace)
}

/// The directory of the host's programs that take precedence over those of the system.
pub(super) fn programs(node: &Node) -> PathBuf {
    node.dir().join("bin")
}

/// The configuration with what a shared kernel needs, as `heartbeat` on this host reads it.
pub(super) fn fitted(node: &Node) -> PathBuf {
    node.dir().join("fitted.toml")
}

/// Gives each node its files, and the programs that stand in for a network of machines.
pub(super) fn furnish(cluster: &mut Cluster, binary: &Path, haproxy: &Path) -> Result<()> {
    let root = cluster.dir().to_owned();
    let names: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| node.name.clone())
        .collect();
    for name in names {
        let node = cluster.node_mut(&name)?;
        node.furnish()?;
        let directory = programs(node);
        fs::create_dir(&directory)?;
        program(&directory.join("heartbeat"), &heartbeat(node, binary))?;
        program(&directory.join("scp"), &scp(&root))?;
        program(&directory.join("systemctl"), &systemctl(node, haproxy))?;
    }
    Ok(())
}

fn heartbeat(node: &Node, binary: &Path) -> String {
    let (name, instance) = (&node.name, node.pins.instance());
    let (dir, fitted, binary) = (
        node.dir().display(),
        fitted(node).display().to_string(),
        binary.display(),
    );
    format!(
        "#!/bin/sh\nfile=/etc/heartbeat/heartbeat.toml\n\
         if [ -e $file ]; then\n\tsed '/^\\[cluster\\]/a node = \"{name}\"\\ninstance = \
         \"{instance}\"' $file > {fitted}.$$\n\tprintf '\\n[paths]\\nrun = \"{dir}/run\"\\nstate = \
         \"{dir}/state\"\\n' >> {fitted}.$$\n\tmv {fitted}.$$ {fitted}\n\texport \
         HEARTBEAT_CONFIG={fitted}\nfi\n\
         [ \"$1\" != witness ] || set -- \"$@\" --instance {instance}\nexec {binary} \"$@\"\n"
    )
}

/// `scp [-p] FILE … HOST:PATH`.
fn scp(root: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         [ \"$1\" != -p ] || shift\n\
         for last; do :; done\n\
         to={}/${{last%%:*}}/own${{last#*:}}\n\
         while [ $# -gt 1 ]; do cp -p \"$1\" \"$to\" || exit; shift; done\n",
        root.display()
    )
}

/// `systemctl start heartbeat-xdp` and `systemctl start haproxy`: done when the service is ready.
fn systemctl(node: &Node, haproxy: &Path) -> String {
    let (log, haproxy) = (node.log(), haproxy.display());
    format!(
        "#!/bin/sh\n\
         case \"$*\" in\n\
         \"start heartbeat-xdp\")\n\
         \tsetsid heartbeat run >> {} 2>&1 < /dev/null &\n\
         \tfor try in $(seq 200); do\n\
         \t\theartbeat status > /dev/null 2>&1 && exit\n\
         \t\tsleep 0.1\n\
         \tdone\n\
         \techo \"heartbeat did not start\" >&2; exit 1;;\n\
         \"start haproxy\") exec {haproxy} -D -f /etc/haproxy/haproxy.cfg;;\n\
         *) echo \"there is no systemd: $*\" >&2; exit 1;;\n\
         esac\n",
        log.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_page_and_of_the_rig_are_exchanged() {
        let page = "ip link set eth0 down; ping 10.0.0.1";
        assert_eq!(to_rig(page), "ip link set hb0 down; ping 10.77.0.1");
        assert_eq!(to_page(&to_rig(page)), page);
    }
}
