//! Heartbeats in a node's name that its agent did not send: from processes of any user on the node,
//! or from a container. The kernel signs none of them and lets none out.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    lease::{Ballot, Operation, Slot},
    maps::Local,
    stamp::MAX_JUMP,
    verdict::Verdict,
    wire::NodeId,
};
use heartbeat_tests::{
    Cluster, Fault, Options,
    config::Family,
    e2e::{
        EventLog, SOON,
        kernel::{counter, local, peer_row, senders, slots},
        python::Script,
        shortcuts::{node_in, options, wait_status},
    },
    needs,
    netns::Namespace,
    node::Node,
    wait_until,
};

/// A group without an owner.
const NOBODYS: u32 = 4_242;
/// The row of the first peer. Foreign senders speak for the first node to the second.
const ROW: u32 = 0;
/// Verdicts that the peer must not count against the node: forgeries with its address, and junk.
const BLAMED: [Verdict; 7] = [
    Verdict::BadTag,
    Verdict::UnknownKey,
    Verdict::ReplayedProbe,
    Verdict::UnsolicitedReply,
    Verdict::BadMagic,
    Verdict::Malformed,
    Verdict::UnknownVersion,
];

/// The place of a foreign sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// An unprivileged process on the node.
    Ephemeral,
    /// An unprivileged process on the node that is bound to the heartbeat port.
    HeartbeatPort,
    /// A process of root in a container with a macvlan interface on the link.
    Wire,
}

impl Way {
    const ALL: [Self; 3] = [Self::Ephemeral, Self::HeartbeatPort, Self::Wire];

    fn name(self) -> &'static str {
        match self {
            Self::Ephemeral => "ephemeral",
            Self::HeartbeatPort => "heartbeat-port",
            Self::Wire => "wire",
        }
    }
}

/// Foreign senders beside a node and its kernel.
struct Senders<'a> {
    node: &'a Node,
    peer: &'a Node,
    /// The numbers of the two nodes.
    numbers: (u8, u8),
    container: &'a Namespace,
    family: Family,
}

impl Senders<'_> {
    /// Starts a foreign sender that knows the contents of the agent's heartbeats.
    fn stranger(&self, way: Way, said: Local) -> Result<Script> {
        let (ns, interface) = match way {
            Way::Wire => (self.container, "eth0"),
            Way::Ephemeral | Way::HeartbeatPort => (&self.node.ns, "hb0"),
        };
        let (source, target) = self.numbers;
        let mac = self.peer.ns.mac("hb0")?.context("no MAC address")?;
        let args = [
            ("--way", way.name().to_owned()),
            ("--interface", interface.to_owned()),
            ("--cluster", "rig".to_owned()),
            ("--from", self.family.address(0, source).to_string()),
            ("--to", self.family.address(0, target).to_string()),
            ("--to-mac", mac),
            ("--source-id", source.to_string()),
            ("--target-id", target.to_string()),
            ("--incarnation", said.incarnation.to_string()),
            ("--nonce", said.nonce.to_string()),
        ];
        let args: Vec<&str> = args
            .iter()
            .flat_map(|(name, value)| [*name, value.as_str()])
            .collect();
        Script::start(ns, "stranger.py", &args).with_context(|| format!("{way:?}"))
    }

    /// Lets foreign senders in all places send whatever could do harm. No frame leaves, and no
    /// answer comes.
    fn strangers_get_nothing(&self, said: Local, service: Option<(u32, Slot)>) -> Result<()> {
        let blamed = |node| BLAMED.map(|verdict| counter(node, verdict).ok());
        let (before, dropped) = (blamed(self.peer), self.dropped()?);
        let stamped = peer_row(self.node, ROW)?.last_probe_seq;
        let mut sent = 0;
        for way in Way::ALL {
            let mut stranger = self.stranger(way, said)?;
            let mut orders = harm(self.numbers.0, stamped, service);
            orders.extend(["reply", "junk"].map(str::to_owned));
            for order in &orders {
                sent += stranger.count(order).with_context(|| format!("{way:?}"))?;
            }
            let now = self.dropped()?;
            ensure!(now == dropped + sent, "{way:?}: {now}, {dropped}, {sent}");
            ensure!(stranger.count("heard")? == 0, "{way:?} was answered");
        }
        ensure!(sent > 0 && blamed(self.peer) == before, "{before:?}");
        let known = slots(self.peer)?;
        ensure!(!known.contains_key(&NOBODYS), "{known:#?}");
        let last = peer_row(self.node, ROW)?.last_probe_seq;
        ensure!(last < stamped + MAX_JUMP, "{stamped}, {last}");
        Ok(())
    }

    fn dropped(&self) -> Result<u64> {
        counter(self.node, Verdict::ForeignSocket)
    }
}

/// Commands for a foreign sender in the name of node `number`, whose last probe was `last`.
fn harm(number: u8, last: u64, service: Option<(u32, Slot)>) -> Vec<String> {
    let ballot = |round| Ballot::new(round, NodeId(number.into())).0;
    let ask = |sequence: u64, operation: Operation, group: u32, ballot: u64, micros: u32| {
        format!(
            "send {sequence} {} {group} {ballot} {micros}",
            operation as u8
        )
    };
    let mut orders = vec![
        ask(last + 100, Operation::Prepare, NOBODYS, ballot(7), 60_000),
        ask(last + 101, Operation::Accept, NOBODYS, ballot(7), 60_000),
        ask(
            last + 102,
            Operation::Prepare,
            NOBODYS,
            ballot(Ballot::MAX_ROUND),
            60_000,
        ),
    ];
    if let Some((group, slot)) = service {
        orders.extend([
            ask(last + 103, Operation::Release, group, slot.ballot, 0),
            ask(last + 104, Operation::Renew, group, slot.ballot, 1),
        ]);
    }
    orders.push(ask(
        u64::MAX,
        Operation::Prepare,
        NOBODYS,
        ballot(7),
        60_000,
    ));
    orders
}

/// Lets every user in `ns` bind the heartbeat port.
fn free_the_port(ns: &Namespace) -> Result<()> {
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    ns.enter(|| fs::write(path, "0").with_context(|| format!("cannot write {path}")))
}

/// Makes a container on the node with this name.
fn container(cluster: &Cluster, node: &str) -> Result<Namespace> {
    let container = Namespace::new("container")?;
    let node = cluster.node(node)?;
    node.ns.add_macvlan("hb0", &container, "eth0")?;
    free_the_port(&node.ns)?;
    Ok(container)
}

/// The part of a slot that renewals do not change.
fn frozen(slots: &BTreeMap<u32, Slot>, group: u32) -> Option<Slot> {
    let slot = slots.get(&group)?;
    Some(Slot {
        expires: 0,
        ..*slot
    })
}

/// Foreign senders beside the owner of a lease, then beside its kernel without an agent, then
/// beside the next agent.
fn an_owner_and_strangers(family: Family, mode: &str) -> Result<()> {
    let options = Options {
        family,
        ..options()
    };
    Cluster::run(options, |cluster| {
        for node in cluster.nodes() {
            let link = "interface = \"hb0\"\n";
            node.reconfigure(link, &format!("{link}mode = \"{mode}\"\n"))?;
        }
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        let container = container(cluster, "a")?;
        let check = |cluster: &Cluster| -> Result<()> {
            let (a, b) = (cluster.node("a")?, cluster.node("b")?);
            let senders_of = Senders {
                node: a,
                peer: b,
                numbers: (1, 2),
                container: &container,
                family,
            };
            let group = b.control.status()?.vips[0].group.into();
            let before = frozen(&slots(b)?, group).context("nobody has the lease")?;
            senders_of.strangers_get_nothing(local(a)?, Some((group, before)))?;
            let after = frozen(&slots(b)?, group);
            ensure!(after == Some(before), "{before:?} became {after:?}");
            Ok(())
        };
        let mut event_log = EventLog::begin(cluster)?;
        wait_status(cluster.node("a")?, "the mode is as configured", |status| {
            node_in(status, "a").is_ok_and(|a| a.links[0].xdp_mode.as_deref() == Some(mode))
        })?;
        check(cluster)?;
        cluster.wait_well(SOON, "a")?;
        for name in ["a", "b", "c"] {
            event_log.listen(cluster, name)?;
        }
        event_log.no_down_reports()?;
        let acquired = event_log.acquisitions("service");
        ensure!(acquired.is_empty(), "it moved: {acquired:#?}");
        let a = cluster.node("a")?;
        wait_until(SOON, "the agent tells of the strangers", || {
            Ok(a.logged()?.contains("no socket of this agent sent them"))
        })?;
        let first = senders(a)?;
        ensure!(first.values().copied().eq([0]), "{first:?}");

        cluster.inject("a", Fault::Kill)?;
        wait_status(cluster.node("b")?, "b serves", |status| {
            status.vips[0].owner.as_deref() == Some("b")
        })?;
        check(cluster)?;

        cluster.heal("a", Fault::Kill)?;
        cluster.wait_well(SOON, "a")?;
        let second = senders(cluster.node("a")?)?;
        ensure!(second.values().copied().eq([0]), "{second:?}");
        ensure!(first != second, "the dead agent's socket: {first:?}");
        check(cluster)?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn foreign_sender_on_ipv4_in_native_mode_is_not_signed() -> Result<()> {
    needs!(Cluster);
    an_owner_and_strangers(Family::V4, "native")
}

#[test]
fn foreign_sender_on_ipv4_in_skb_mode_is_not_signed() -> Result<()> {
    needs!(Cluster);
    an_owner_and_strangers(Family::V4, "skb")
}

#[test]
fn foreign_sender_on_ipv6_in_native_mode_is_not_signed() -> Result<()> {
    needs!(Cluster);
    an_owner_and_strangers(Family::V6, "native")
}

#[test]
fn foreign_sender_on_ipv6_in_skb_mode_is_not_signed() -> Result<()> {
    needs!(Cluster);
    an_owner_and_strangers(Family::V6, "skb")
}

#[test]
fn witness_without_an_agent_signs_for_nobody() -> Result<()> {
    needs!(Cluster);
    let options = Options {
        nodes: ["a", "b"].map(str::to_owned).to_vec(),
        witnesses: vec!["w".to_owned()],
        ..options()
    };
    Cluster::run(options, |cluster| {
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        let container = container(cluster, "w")?;
        let (w, a) = (cluster.node("w")?, cluster.node("a")?);
        ensure!(senders(w)?.is_empty());
        let senders_of = Senders {
            node: w,
            peer: a,
            numbers: (3, 1),
            container: &container,
            family: Family::V4,
        };
        for incarnation in [0, 1 << 50] {
            let said = Local {
                incarnation,
                ..local(w)?
            };
            senders_of.strangers_get_nothing(said, None)?;
        }
        cluster.wait_well(SOON, "a")
    })
}
