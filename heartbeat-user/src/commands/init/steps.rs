//! The commands that bring a first configuration to the other nodes and start the cluster.

use std::{fmt::Write as _, net::IpAddr, path::Path};

use crate::config::{Config, Node, Role};

/// Returns the commands, as lines for a shell.
pub(super) fn next(path: &Path, config: &Config) -> String {
    let mut text = String::from("\ncopy both files to the other nodes:\n");
    let key = config.key.as_path();
    let directories: Vec<String> = [path.parent(), key.parent()]
        .into_iter()
        .flatten()
        .map(|directory| directory.display().to_string())
        .collect();
    let mut directories = directories;
    directories.dedup();
    let peers = config.peers().filter(|peer| peer.role == Role::Member);
    for peer in peers {
        let Some(address) = peer.addresses.first() else {
            continue;
        };
        let _ = writeln!(
            text,
            "  ssh root@{address} mkdir -p {}",
            directories.join(" ")
        );
        for file in [path, key] {
            let (file, to) = (file.display(), host(*address));
            let _ = writeln!(text, "  scp -p {file} root@{to}:{file}");
        }
    }
    let witnesses = config
        .nodes
        .iter()
        .filter(|node| node.role == Role::Witness);
    for witness in witnesses {
        text += &witness_steps(witness, config);
    }
    text += "then, on each node that serves:\n  heartbeat check\n  \
             systemctl enable --now heartbeat-xdp\n";
    let _ = writeln!(
        text,
        "and wait until all of them vote:\n  heartbeat wait --votes {}",
        config.nodes.len()
    );
    text
}

fn witness_steps(witness: &Node, config: &Config) -> String {
    let Some(address) = witness.addresses.first() else {
        return String::new();
    };
    let key = config.key.display();
    let mut text = format!("on the witness {}, with the key in {key}:\n", witness.name);
    let _ = write!(
        text,
        "  heartbeat witness --iface INTERFACE --cluster {} --id {} --address {address}",
        config.cluster, witness.id.0
    );
    let others = config.nodes.iter().filter(|node| node.id != witness.id);
    for other in others {
        if let Some(address) = other.addresses.first() {
            let _ = write!(text, " --peer {}={address}", other.id.0);
        }
    }
    text.push('\n');
    text
}

/// The address as scp takes it.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_name_each_other_node_and_the_witness() {
        let text = "[cluster]\nname = \"web\"\n[[link]]\ninterface = \"eth0\"\n\
                    [[node]]\nname = \"a\"\nid = 1\naddresses = [\"2001:db8::1\"]\n\
                    [[node]]\nname = \"b\"\nid = 2\naddresses = [\"2001:db8::2\"]\n\
                    [[node]]\nname = \"w\"\nid = 3\nrole = \"witness\"\n\
                    addresses = [\"2001:db8::3\"]\n\
                    [[vip]]\nname = \"v\"\naddress = \"2001:db8::64/64\"\n";
        let path = Path::new("/etc/heartbeat/heartbeat.toml");
        let config = Config::parse(text, path, Some("a"), "a").unwrap();
        let steps = next(path, &config);
        for line in [
            "  ssh root@2001:db8::2 mkdir -p /etc/heartbeat",
            "  scp -p /etc/heartbeat/key root@[2001:db8::2]:/etc/heartbeat/key",
            "  heartbeat witness --iface INTERFACE --cluster web --id 3 --address 2001:db8::3 \
             --peer 1=2001:db8::1 --peer 2=2001:db8::2",
            "  heartbeat wait --votes 3",
        ] {
            assert!(
                steps.lines().any(|is| is == line),
                "no `{line}` in\n{steps}"
            );
        }
        assert!(!steps.contains("root@2001:db8::1 "), "{steps}");
    }
}
