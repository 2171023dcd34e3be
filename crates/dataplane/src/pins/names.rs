//! The names of the pins of an interface's links.

use crate::setup::Attached;

/// The name of an interface in the name of a pin. The BPF file system refuses dots (`bpf_lookup` in
/// kernel/bpf/inode.c), which the usual names of VLAN interfaces have. A colon replaces each dot,
/// since no interface has a colon in its name.
fn in_pin(interface: &str) -> String {
    interface.replace('.', ":")
}

/// The pin of an XDP link. The name includes the mode of the link.
pub(crate) fn xdp_pin(interface: &str, attached: Attached) -> String {
    let interface = in_pin(interface);
    match attached {
        Attached::Native => format!("link_xdp_{interface}"),
        Attached::Skb => format!("link_xdpskb_{interface}"),
    }
}

/// The pin of the TC program `name`.
pub(crate) fn tc_pin(name: &str, interface: &str) -> String {
    let interface = in_pin(interface);
    match name {
        "stamp_probe" => format!("link_tc_{interface}"),
        _ => format!("link_{name}_{interface}"),
    }
}

/// The mode of the link with this pin; `None` if its program is not an XDP program.
pub(crate) fn way_of(pin: &str) -> Option<Attached> {
    let mut ways = [Attached::Native, Attached::Skb].into_iter();
    ways.find(|way| pin.starts_with(&xdp_pin("", *way)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pin_has_a_dot_in_its_name_and_no_two_interfaces_share_one() {
        let pins = |interface| {
            [
                xdp_pin(interface, Attached::Native),
                xdp_pin(interface, Attached::Skb),
                tc_pin("stamp_probe", interface),
                tc_pin("guard_egress", interface),
            ]
        };
        assert_eq!(pins("eth0")[0], "link_xdp_eth0");
        let mut all: Vec<_> = ["eth0.5", "eth0_5", "eth0-5", "eth05", "eth0.5."]
            .into_iter()
            .flat_map(pins)
            .collect();
        assert!(all.iter().all(|pin| !pin.contains('.')), "{all:?}");
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:?}");
    }

    #[test]
    fn pin_tells_how_its_link_is_attached() {
        assert_eq!(
            way_of(&xdp_pin("eth0.5", Attached::Skb)),
            Some(Attached::Skb)
        );
        assert_eq!(
            way_of(&xdp_pin("skb_0", Attached::Native)),
            Some(Attached::Native)
        );
        assert_eq!(way_of("link_tc_eth0"), None);
        assert_eq!(way_of("prog_responder"), None);
    }
}
