//! `heartbeat witness`: only the responder, set up by flags instead of a configuration, so that a
//! small host can vote. A witness serves nothing and runs no process.

use std::{collections::HashMap, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use heartbeat_common::{
    maps::MAX_PEERS,
    wire::{ClusterId, DEFAULT_PORT, LinkId, NodeId, VoterSet},
};
use heartbeat_core::membership::Voters;

use super::{count::Count, load, mode::Mode};
use crate::{
    config::{DEFAULT_INSTANCE, DEFAULT_MAX_LEASE, duration::Show, flags, key},
    dataplane::{Setup, SetupLink},
    net::{IpPrefix, Netlink},
};

/// The settings of a witness, which otherwise come from a configuration.
#[derive(Args, Clone, Debug)]
pub struct Witness {
    /// Interface to answer on
    #[arg(long, short, value_parser = flags::interface)]
    iface: String,
    /// The cluster's name
    #[arg(long, value_name = "NAME", value_parser = flags::name)]
    cluster: String,
    /// This witness's node id, 1 to 65535
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..))]
    id: u16,
    /// Id and address of a node to answer; repeat for each node
    #[arg(long, value_name = "ID=ADDRESS", required = true, value_parser = peer)]
    peer: Vec<(NodeId, IpAddr)>,
    /// File with the cluster key
    #[arg(long, value_name = "FILE", default_value = key::DEFAULT_PATH)]
    key: PathBuf,
    /// The cluster's id, if its nodes set one; derived from its name if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cluster_id: Option<u32>,
    /// UDP port of heartbeats
    #[arg(long, default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Name of this witness among others on the host, for `heartbeat unload`
    #[arg(long, value_name = "NAME", default_value = DEFAULT_INSTANCE, value_parser = flags::instance)]
    instance: String,
    /// The cluster's `max_lease`: longest lease to grant, and time without votes after loading
    #[arg(long, value_name = "DURATION", default_value_t = Show(DEFAULT_MAX_LEASE), value_parser = max_lease)]
    max_lease: Show,
    /// The cluster's `config_version`: the peers and this witness are all nodes of that version
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    config_version: u16,
    /// Attach mode
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Address to answer on; the interface's first one of the peers' family if absent
    #[arg(long, value_name = "IP", value_parser = flags::address)]
    address: Option<IpAddr>,
    /// Replace another XDP program on the interface
    #[arg(long)]
    replace: bool,
}

impl Witness {
    /// Loads the responder and leaves it pinned. Prints its place and when it will vote.
    pub fn load(&self) -> Result<()> {
        self.check_peers()?;
        let keys = key::Keys::load(&self.key)?;
        let mut netlink = Netlink::open()?;
        let index = netlink.interface(&self.iface)?.index;
        let address = self.own_address(&netlink.addresses(index)?)?;
        let setup = self.setup(&keys, address);
        load::leave(setup, &load::lock_of(&self.instance), |left| {
            format!(
                "{}: witness {} of cluster {} loaded on {address} in {} mode, answers {}, \
                 votes {}; pinned at {}\n",
                self.iface,
                self.id,
                self.cluster,
                left.mode,
                Count(left.peers, "peer"),
                when(left.abstains),
                left.pins.display()
            )
        })
    }

    /// Checks the peers against each other and against this witness.
    fn check_peers(&self) -> Result<()> {
        ensure!(
            self.peer.len() <= MAX_PEERS,
            "there are {} peers, but no more than {MAX_PEERS} work: split the cluster",
            self.peer.len()
        );
        let wanted = self.family();
        let mut addresses = HashMap::new();
        let mut nodes = HashMap::new();
        for (NodeId(id), address) in &self.peer {
            ensure!(
                *id != self.id,
                "--peer {id}={address}: {id} is this witness's own id: leave it out, or correct \
                 --id"
            );
            if let Some(other) = nodes.insert(*id, *address) {
                bail!(
                    "--peer {id}={address}: {id} is the id of {other} too: give each peer its own"
                );
            }
            if let Some(other) = addresses.insert(*address, *id) {
                bail!(
                    "--peer {id}={address}: {address} is the address of peer {other} too: give \
                     each peer its own"
                );
            }
            ensure!(
                family(*address) == wanted,
                "--peer {id}={address}: this is {}, but the first peer's address is {wanted}: give \
                 the addresses that the peers have on one link",
                family(*address)
            );
        }
        Ok(())
    }

    /// Returns the address to answer on, out of `has`, the addresses of the interface.
    fn own_address(&self, has: &[IpPrefix]) -> Result<IpAddr> {
        let iface = &self.iface;
        let wanted = self.family();
        let address = match self.address {
            Some(address) => {
                ensure!(
                    family(address) == wanted,
                    "--address {address} is {}, but the peers' are {wanted}: give one of the \
                     same family",
                    family(address)
                );
                let there = |prefix: &IpPrefix| prefix.address == address;
                ensure!(
                    has.iter().any(there),
                    "{iface} has no address {address}: add it with `ip address add`, or correct \
                     --address"
                );
                address
            }
            // A link-local address needs an interface beside it, so no peer has one.
            None => has
                .iter()
                .map(|prefix| prefix.address)
                .find(|address| family(*address) == wanted && !is_link_local(*address))
                .with_context(|| {
                    format!(
                        "{iface} has no {wanted} address, which the peers have: add one with \
                         `ip address add`, or correct --iface"
                    )
                })?,
        };
        let same = self.peer.iter().find(|(_, peer)| *peer == address);
        if let Some((NodeId(id), _)) = same {
            bail!(
                "--peer {id}={address}: {address} is this host's own, on {iface}: give the peer's \
                 address"
            );
        }
        Ok(address)
    }

    /// Returns the family of the first peer's address, which all peers share.
    fn family(&self) -> &'static str {
        self.peer
            .first()
            .map_or("IPv4", |(_, address)| family(*address))
    }

    fn setup(&self, keys: &key::Keys, address: IpAddr) -> Setup {
        let link = LinkId(0);
        let peers = self.peer.iter();
        let voters = Voters {
            version: self.config_version,
            nodes: peers
                .clone()
                .map(|(node, _)| *node)
                .chain([NodeId(self.id)])
                .collect(),
        };
        Setup {
            voter_set: VoterSet {
                version: voters.version,
                claiming: 0,
                voters: voters.digest(),
            },
            instance: self.instance.clone(),
            cluster: self
                .cluster_id
                .map_or_else(|| flags::cluster_id(&self.cluster), ClusterId),
            node: NodeId(self.id),
            port: self.port,
            // A witness sends no probes, so no reply can be late.
            timeout: Duration::from_secs(1),
            max_lease: self.max_lease.0,
            guards: Vec::new(),
            replace: self.replace,
            groups: Vec::new(),
            keys: keys.all.clone(),
            key_mark: keys.mark(),
            links: vec![SetupLink {
                id: link,
                interface: self.iface.clone(),
                address,
                mode: self.mode.0,
            }],
            peers: peers
                .map(|(node, address)| (*node, link, *address))
                .collect(),
        }
    }
}

/// Formats the time until the first vote, rounded up to milliseconds. A witness that was loaded
/// before continues to vote.
fn when(abstains: Duration) -> String {
    match abstains.as_micros().div_ceil(1_000) {
        0 => "at once".to_owned(),
        millis => format!("in {millis} ms"),
    }
}

fn peer(text: &str) -> Result<(NodeId, IpAddr), String> {
    let (id, address) = text
        .split_once('=')
        .ok_or("it is not an id and an address; write it as in 1=10.0.0.1")?;
    let id = id
        .parse()
        .ok()
        .filter(|id| *id != 0)
        .ok_or("the id is not a number from 1 to 65535; write the peer's node id")?;
    let address = flags::address(address).map_err(|said| format!("bad address: {said}"))?;
    Ok((NodeId(id), address))
}

fn max_lease(text: &str) -> Result<Show, String> {
    flags::max_lease(text).map(Show)
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Keys;
    use clap::Parser;
    use std::path::Path;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        witness: Witness,
    }

    const GOOD: &str =
        "--iface eth0 --cluster web --id 3 --key /k --peer 1=10.0.1.1 --peer 2=10.0.1.2";

    fn parse(flags: &str) -> Result<Witness, clap::Error> {
        let words = std::iter::once("witness").chain(flags.split(' '));
        Cli::try_parse_from(words).map(|cli| cli.witness)
    }

    fn prefixes(texts: &[&str]) -> Vec<IpPrefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn keys() -> Keys {
        let text = format!("4 {}", "a7".repeat(key::KEY_LEN));
        Keys::parse(&text, Path::new("/k")).unwrap()
    }

    #[test]
    fn required_flags_make_a_setup_with_defaults() {
        let witness = parse(GOOD).unwrap();
        witness.check_peers().unwrap();
        let setup = witness.setup(&keys(), ip("10.0.1.3"));
        assert_eq!((setup.node, setup.port), (NodeId(3), 694));
        assert_eq!(setup.cluster, flags::cluster_id("web"));
        assert_eq!(setup.instance, "default");
        assert_eq!(setup.max_lease, Duration::from_secs(1));
        assert_eq!(setup.keys, keys().all);
        assert_eq!(
            setup.peers,
            [
                (NodeId(1), LinkId(0), ip("10.0.1.1")),
                (NodeId(2), LinkId(0), ip("10.0.1.2"))
            ]
        );
        let link = &setup.links[0];
        assert_eq!((link.id, link.interface.as_str()), (LinkId(0), "eth0"));
        assert_eq!(
            (link.address, link.mode),
            (ip("10.0.1.3"), crate::dataplane::XdpMode::Auto)
        );
    }

    #[test]
    fn optional_flags_override_defaults() {
        let more = "--cluster-id 7 --port 5000 --instance w --max-lease 250ms --mode skb";
        let setup = parse(&format!("{GOOD} {more}"))
            .unwrap()
            .setup(&keys(), ip("10.0.1.3"));
        assert_eq!((setup.cluster, setup.port), (ClusterId(7), 5_000));
        assert_eq!(setup.instance, "w");
        assert_eq!(setup.max_lease, Duration::from_millis(250));
        assert_eq!(setup.links[0].mode, crate::dataplane::XdpMode::Skb);
        assert_eq!(
            parse("--iface eth0 --cluster web --id 3 --peer 1=fd00::1")
                .unwrap()
                .key,
            Path::new(key::DEFAULT_PATH)
        );
    }

    #[test]
    fn bad_flag_is_an_error_with_a_remedy() {
        let cases = [
            ("eth0", "eth/0", "leave out spaces, `/` and `:`"),
            ("web", "a,b", "it is not a usable name; use 1 to 64"),
            ("--id 3", "--id 0", "0 is not in 1..=65535"),
            ("--id 3", "--id 65536", "65536 is not in 1..=65535"),
            ("1=10.0.1.1", "10.0.1.1", "write it as in 1=10.0.0.1"),
            ("1=10.0.1.1", "a=10.0.1.1", "the id is not a number from 1"),
            ("1=10.0.1.1", "0=10.0.1.1", "the id is not a number from 1"),
            ("1=10.0.1.1", "65536=10.0.1.1", "the id is not a number"),
            ("1=10.0.1.1", "1=host", "host names are not looked up"),
            ("1=10.0.1.1", "1=fe80::1", "it is link-local"),
            ("1=10.0.1.1", "1=::ffff:10.0.1.1", "write \"10.0.1.1\""),
            ("--key /k", "--max-lease 2ms", "it is below 3ms"),
            ("--key /k", "--max-lease 61s", "it is above 1min"),
            ("--key /k", "--max-lease 100", "it has no unit"),
            ("--key /k", "--instance A", "lower-case"),
            (
                "--key /k",
                "--mode fast",
                "[possible values: auto, native, skb]",
            ),
            ("--key /k", "--cluster-id 0", "0 is not in 1.."),
            ("--key /k", "--address 0.0.0.0", "it is unspecified"),
            ("--iface eth0 ", "", "--iface <IFACE>"),
            ("--cluster web ", "", "--cluster <NAME>"),
            ("--id 3 ", "", "--id <ID>"),
            (
                " --peer 1=10.0.1.1 --peer 2=10.0.1.2",
                "",
                "--peer <ID=ADDRESS>",
            ),
        ];
        for (from, to, expected) in cases {
            assert!(GOOD.contains(from), "{from}");
            let said = parse(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(
                said.contains(expected),
                "`{to}`: no `{expected}` in\n{said}"
            );
        }
    }

    #[test]
    fn contradicting_peers_are_refused() {
        let cases = [
            (
                "--peer 3=10.0.1.3",
                "--peer 3=10.0.1.3: 3 is this witness's own id: leave it out, or correct --id",
            ),
            (
                "--peer 2=10.0.1.9",
                "--peer 2=10.0.1.9: 2 is the id of 10.0.1.2 too: give each peer its own",
            ),
            (
                "--peer 4=10.0.1.1",
                "--peer 4=10.0.1.1: 10.0.1.1 is the address of peer 1 too: give each peer its own",
            ),
            (
                "--peer 4=fd00::4",
                "--peer 4=fd00::4: this is IPv6, but the first peer's address is IPv4: give the \
                 addresses that the peers have on one link",
            ),
        ];
        for (more, expected) in cases {
            let witness = parse(&format!("{GOOD} {more}")).unwrap();
            assert_eq!(witness.check_peers().unwrap_err().to_string(), expected);
        }
        let many: String = (10..10 + MAX_PEERS)
            .map(|id| format!(" --peer {id}=10.1.{}.{}", id / 250, id % 250 + 1))
            .collect();
        let said = parse(&format!("{GOOD}{many}")).unwrap().check_peers();
        let said = said.unwrap_err().to_string();
        assert!(said.starts_with("there are 1026 peers, but no more than 1024"));
    }

    #[test]
    fn own_address_defaults_to_the_first_of_the_peers_family() {
        let has = prefixes(&["10.0.1.3/24", "10.0.2.3/24", "fe80::3/64", "fd00::3/64"]);
        let own = |flags: &str, has: &[IpPrefix]| {
            let address = parse(flags).unwrap().own_address(has);
            address.map_err(|error| error.to_string())
        };
        let v6 = "--iface eth0 --cluster web --id 3 --peer 1=fd00::1";
        assert_eq!(own(GOOD, &has), Ok(ip("10.0.1.3")));
        assert_eq!(own(v6, &has), Ok(ip("fd00::3")));
        let named = format!("{GOOD} --address 10.0.2.3");
        assert_eq!(own(&named, &has), Ok(ip("10.0.2.3")));

        assert_eq!(
            own(v6, &has[..3]).unwrap_err(),
            "eth0 has no IPv6 address, which the peers have: add one with `ip address add`, or \
             correct --iface"
        );
        assert_eq!(
            own(&format!("{GOOD} --address 10.0.3.3"), &has).unwrap_err(),
            "eth0 has no address 10.0.3.3: add it with `ip address add`, or correct --address"
        );
        assert_eq!(
            own(&format!("{GOOD} --address fd00::3"), &has).unwrap_err(),
            "--address fd00::3 is IPv6, but the peers' are IPv4: give one of the same family"
        );
        assert_eq!(
            own(GOOD, &prefixes(&["10.0.1.2/24"])).unwrap_err(),
            "--peer 2=10.0.1.2: 10.0.1.2 is this host's own, on eth0: give the peer's address"
        );
    }

    #[test]
    fn bad_key_file_fails_before_any_change() {
        let flags = GOOD
            .replace("/k", "/nonexistent/key")
            .replace("eth0", "hb-none0");
        let said = parse(&flags).unwrap().load().unwrap_err().to_string();
        assert!(
            said.starts_with("reading the key file /nonexistent/key: No such file"),
            "{said}"
        );
    }
}
