//! The text of a first configuration.

use std::fmt::Write as _;

use super::{Init, Named};
use crate::config::key;

/// Returns the file for these settings. All nodes can have the same file: the host's name tells
/// which node it is.
pub(super) fn text(init: &Init, cluster: &str, interface: &str) -> String {
    let mut text = String::from(
        "# Written by `heartbeat init`. All settings: heartbeat.toml(5), docs/reference/config.md\n",
    );
    let _ = write!(text, "[cluster]\nname = \"{cluster}\"\n");
    if init.key.as_os_str() != key::DEFAULT_PATH {
        let _ = writeln!(text, "key = {:?}", init.key);
    }
    let _ = write!(text, "\n[[link]]\ninterface = \"{interface}\"\n");
    let members = init.members.iter().map(|node| (node, false));
    let witnesses = init.witnesses.iter().map(|node| (node, true));
    for ((Named { name, value }, witness), id) in members.chain(witnesses).zip(1..) {
        let _ = write!(text, "\n[[node]]\nname = \"{name}\"\nid = {id}\n");
        if witness {
            text += "role = \"witness\"\n";
        }
        let _ = writeln!(text, "addresses = [\"{value}\"]");
    }
    for Named { name, value } in &init.vips {
        let _ = write!(
            text,
            "\n[[vip]]\nname = \"{name}\"\naddress = \"{value}\"\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Role};

    fn init() -> Init {
        let node = |text| super::super::node(text).unwrap();
        Init {
            members: vec![node("a=10.0.0.1"), node("b=10.0.0.2")],
            witnesses: vec![node("w=10.0.0.3")],
            vips: vec![super::super::vip("service=10.0.0.100/24").unwrap()],
            key: key::DEFAULT_PATH.into(),
            ..Init::default()
        }
    }

    #[test]
    fn file_has_the_nodes_and_addresses_in_their_order() {
        let text = text(&init(), "web", "eth0");
        let config = Config::parse(&text, "x.toml".as_ref(), Some("b"), "b").unwrap();
        assert_eq!(config.cluster, "web");
        assert_eq!(config.links[0].interface, "eth0");
        let nodes = config.nodes.iter();
        let nodes: Vec<_> = nodes
            .map(|node| (node.name.as_str(), node.id.0, node.role))
            .collect();
        let expected = [
            ("a", 1, Role::Member),
            ("b", 2, Role::Member),
            ("w", 3, Role::Witness),
        ];
        assert_eq!(nodes, expected);
        assert_eq!(config.groups.iter().count(), 1);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn key_at_another_place_is_in_the_file() {
        let usual = text(&init(), "web", "eth0");
        assert!(!usual.contains("key ="), "{usual}");
        let elsewhere = Init {
            key: "/srv/key".into(),
            ..init()
        };
        let text = text(&elsewhere, "web", "eth0");
        let config = Config::parse(&text, "x.toml".as_ref(), Some("a"), "a").unwrap();
        assert_eq!(config.key, std::path::Path::new("/srv/key"));
    }
}
