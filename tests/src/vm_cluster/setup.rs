//! The arrangement of a cluster: roles, assumed drift, and the interfaces below the address.

use std::{path::Path, time::Duration};

use super::network::VLAN;
use crate::config::{Family, Shared};

/// The times of every cluster. Emulated machines on a busy host keep them.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
pub(super) const TIMEOUT: Duration = Duration::from_millis(500);
pub(super) const LEASE: Duration = Duration::from_secs(2);
pub(super) const MAX_LEASE: Duration = Duration::from_secs(4);
const AGENT_STALL: Duration = Duration::from_secs(2);

/// The nodes by rank.
pub(super) const NODES: [&str; 3] = ["a", "b", "c"];

/// The default assumption about clocks, in parts per million.
const DRIFT: u32 = 1_000;
/// The assumption that covers each rate that a kernel allows.
pub(super) const WIDE_DRIFT: u32 = 100_000;

/// The interface of the cluster's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cards {
    /// The card itself.
    Plain,
    /// A bond of two cards, of which one is active.
    Bond,
    /// A VLAN on the card.
    Vlan,
    /// A bridge with the card as its port.
    Bridge,
}

/// The arrangement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// Whether the last node is a witness, without an agent.
    pub(super) witness: bool,
    pub(super) drift: u32,
    pub(super) cards: Cards,
}

impl Setup {
    /// Three members with plain cards.
    pub(super) const MEMBERS: Self = Self {
        witness: false,
        drift: DRIFT,
        cards: Cards::Plain,
    };

    /// Three members with other cards.
    pub(super) const fn on(cards: Cards) -> Self {
        Self {
            cards,
            ..Self::MEMBERS
        }
    }

    pub(super) fn is_witness(&self, node: &str) -> bool {
        self.witness && node == NODES[NODES.len() - 1]
    }

    /// The configuration of `node`, which keeps its files in `directory`.
    pub(super) fn file(&self, node: &str, directory: &Path) -> String {
        let names = NODES.iter().map(|&name| name.to_owned());
        let (witnesses, nodes) = names.partition(|name| self.is_witness(name));
        let shared = Shared {
            cluster: "vm".to_owned(),
            nodes,
            witnesses,
            links: 1,
            vlan: (self.cards == Cards::Vlan).then_some(VLAN),
            family: Family::V4,
            interval: INTERVAL,
            timeout: TIMEOUT,
            agent_stall: AGENT_STALL,
            lease: LEASE,
            max_lease: MAX_LEASE,
            settings: format!("auto_failback = false\ndrift = {}\n", self.drift),
            groups: None,
            extra: String::new(),
        };
        shared.file(node, "default", directory)
    }
}

impl Cards {
    /// Commands that arrange the cards of a machine with a plain card `hb0`.
    pub(super) fn arrange(self, address: &str) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Bond => format!(
                "{}\n\
                 echo +hb0 >/sys/class/net/bonding_masters\n\
                 echo active-backup >/sys/class/net/hb0/bonding/mode\n\
                 echo 100 >/sys/class/net/hb0/bonding/miimon\n\
                 echo +card0 >/sys/class/net/hb0/bonding/slaves\n\
                 ip link set card1 down\n\
                 echo +card1 >/sys/class/net/hb0/bonding/slaves\n\
                 {}",
                RENAME,
                up(address)
            ),
            Self::Vlan => format!(
                "ip addr flush dev hb0\n\
                 ip link add link hb0 name hb0.{VLAN} type vlan id {VLAN}\n\
                 ip addr add {address} dev hb0.{VLAN}\n\
                 ip link set hb0.{VLAN} up"
            ),
            Self::Bridge => format!(
                "{}\n\
                 brctl addbr hb0\n\
                 echo 0 >/sys/class/net/hb0/bridge/forward_delay\n\
                 brctl addif hb0 card0\n\
                 ip link set card0 up\n\
                 {}",
                RENAME,
                up(address)
            ),
        }
    }

    /// Commands that make the plain card again.
    pub(super) fn undo(self, address: &str) -> String {
        let back = format!(
            "ip link set card0 down\n\
             ip link set card0 name hb0\n\
             {}",
            up(address)
        );
        match self {
            Self::Plain => String::new(),
            Self::Bond => format!("echo -hb0 >/sys/class/net/bonding_masters\n{back}"),
            Self::Vlan => format!("ip link del hb0.{VLAN}\n{}", up(address)),
            Self::Bridge => format!("ip link set hb0 down\nbrctl delbr hb0\n{back}"),
        }
    }
}

/// Commands that free the name `hb0` for an interface above the card.
const RENAME: &str = "ip addr flush dev hb0\nip link set hb0 down\nip link set hb0 name card0";

fn up(address: &str) -> String {
    format!("ip addr add {address} dev hb0\nip link set hb0 up")
}

#[cfg(test)]
mod tests {
    use heartbeat_user::config::Config;

    use super::*;

    #[test]
    fn configurations_of_all_arrangements_are_accepted() {
        for cards in [Cards::Plain, Cards::Bond, Cards::Vlan, Cards::Bridge] {
            for witness in [false, true] {
                let setup = Setup {
                    witness,
                    ..Setup::on(cards)
                };
                let text = setup.file("b", Path::new("/state"));
                Config::parse(&text, Path::new("x"), None, "b").unwrap();
            }
        }
    }
}
