//! `[cluster]`: identity and timing of the cluster.

use std::{path::PathBuf, time::Duration};

use heartbeat_common::wire::DEFAULT_PORT;

use super::{
    Check::{IfSet, Line, Prose},
    Fallback::{Follows, Is, Required, Without},
    LEASES,
    Reload::{AcceptConfiguration, AutoFailback, Maintenance, Nodes, Restart},
    TIMING, settings,
};
use crate::{
    key,
    readers::{COUNT, Flag, Number, PPM, Text, Time, number, text},
    values,
};

/// The instance of agents whose configuration names none.
pub const DEFAULT_INSTANCE: &str = "default";
/// The longest lease that acceptors grant, unless the cluster's own is longer.
pub const DEFAULT_MAX_LEASE: Duration = Duration::from_secs(1);

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The lengths of leases. The shortest is three of the shortest intervals; for the longest, an
/// acceptor abstains after it was loaded.
pub(crate) const LENGTHS: Time = Time {
    low: Duration::from_millis(3),
    high: MINUTE,
};

settings! {
    /// Identity and timing of the cluster.
    "[cluster]" of ();

    /// Name of the cluster. Heartbeats carry a 32-bit id made from it (FNV-1a), so that clusters on
    /// one network do not receive each other.
    NAME: Text<String> = text(values::name, values::NAME) => {
        name: "name", default: Required, example: r#""web""#,
        reload: Restart, digest: true, check: Prose;
        |config, _| config.cluster.clone()
    }

    /// The id in heartbeats, for the case that two clusters' names make the same.
    ID: Number<u32> = number(1, u32::MAX, COUNT) => {
        name: "id", default: Follows("made from the name"), example: "4242",
        reload: Restart, digest: true, check: Prose;
        |config, _| config.cluster_id.0
    }

    /// The [[node]] that this host is.
    NODE: Text<String> = text(values::name, "the name of a [[node]]") => {
        name: "node", example: r#""a""#,
        default: Follows("the node with the host's name, in full or up to its first dot"),
        reload: Restart, digest: false, check: Prose;
        |config, _| config.local().name.clone()
    }

    /// Tells agents on one host apart, in the names of BPF pins, socket and lock.
    INSTANCE: Text<String> = text(values::instance, values::INSTANCE) => {
        name: "instance", default: Is(|| DEFAULT_INSTANCE.to_owned()),
        reload: Restart, digest: false, check: Prose;
        |config, _| config.instance.clone()
    }

    /// File with the cluster key, the same on all nodes. `heartbeat keygen` makes it. Its mode is
    /// 0600.
    KEY: Text<PathBuf> = text(values::key_path, values::PATH) => {
        name: "key", default: Is(|| PathBuf::from(key::DEFAULT_PATH)),
        reload: Restart, digest: false, check: IfSet;
        |config, _| config.key.clone()
    }

    /// UDP port of heartbeats.
    PORT: Number<u16> = number(1, u16::MAX, COUNT) => {
        name: "port", default: Is(|| DEFAULT_PORT),
        reload: Restart, digest: true, check: Prose;
        |config, _| config.port
    }

    /// Number of the list of [[node]]s below. Raise it by one with each change of that list, which
    /// is of one node at a time: see docs/operate/nodes.md.
    CONFIG_VERSION: Number<u16> = number(1, u16::MAX, COUNT) => {
        name: "config_version", default: Is(|| 1),
        reload: Nodes, digest: true, check: IfSet;
        |config, _| config.version
    }

    /// Time from one probe to the next.
    INTERVAL: Time = Time { low: MILLISECOND, high: Duration::from_secs(10) } => {
        name: "interval", default: Is(|| Duration::from_millis(10)),
        reload: Restart, digest: true, check: Line(TIMING);
        |config, _| config.interval
    }

    /// Silence after which a link is down: at least two intervals.
    TIMEOUT: Time = Time { low: Duration::from_millis(2), high: MINUTE } => {
        name: "timeout", default: Follows("three intervals"), example: r#""30ms""#,
        reload: Restart, digest: true, check: Line(TIMING);
        |config, _| config.timeout
    }

    /// A peer whose kernel answers, but whose agent has not ticked for this long, counts as
    /// stalled. A node whose own control task hangs for this long gives up its groups. At least the
    /// timeout.
    AGENT_STALL: Time = Time { low: Duration::from_millis(10), high: Duration::from_secs(3_600) } => {
        name: "agent_stall", default: Follows("2s, or the timeout if that is longer"),
        example: r#""2s""#, reload: Restart, digest: true, check: Line(TIMING);
        |config, _| config.agent_stall
    }

    /// The right to serve a VIP is a lease that a majority of the nodes' kernels grant. It is
    /// renewed each interval, and lasts this long without a renewal: when the node that serves
    /// fails, the others wait until then. At least three intervals, to outlive two lost renewals.
    LEASE: Time = LENGTHS => {
        name: "lease", default: Follows("six intervals"), example: r#""60ms""#,
        reload: Restart, digest: true, check: Line(LEASES);
        |config, _| config.lease
    }

    /// The longest lease that this node's kernel grants. A freshly loaded kernel program does not
    /// vote for so long, since it may have forgotten its votes. At least the lease, and the same on
    /// all nodes. To shorten it, first shorten the lease on all nodes. An agent that ends for a
    /// restart asks for so long a lease: the next agent has to be there by then.
    MAX_LEASE: Time = LENGTHS => {
        name: "max_lease", default: Follows("1s, or the lease if that is longer"),
        example: r#""1s""#, reload: Restart, digest: true, check: Line(LEASES);
        |config, _| config.max_lease
    }

    /// How much a node's clock may differ in rate from true time. A node counts its lease as
    /// shorter by twice that, so that it has stopped serving when another may begin.
    DRIFT: Number<u32> = number(1, 100_000, PPM) => {
        name: "drift", default: Is(|| 1_000),
        reload: Restart, digest: true, check: Line(LEASES);
        |config, _| config.drift_ppm
    }

    /// Whether a group goes back to a better-ranked node once that is fit again. `true` is the same
    /// as stickiness = 0, and `false` as stickiness = "inf", for all groups that do not say
    /// otherwise.
    AUTO_FAILBACK: Flag = Flag => {
        name: "auto_failback", example: "true",
        default: Without(
            "groups of addresses alone go back, which takes milliseconds; all others stay \
             (stickiness = 999999), since they are stopped and started for it, until [rebalance] \
             moves them"
        ),
        reload: AutoFailback, digest: true, check: Prose;
        |config, _| config.auto_failback
    }

    /// Whether the agents leave all resources alone: they start, stop and monitor none.
    MAINTENANCE: Flag = Flag => {
        name: "maintenance", default: Is(|| false), example: "true",
        reload: Maintenance, digest: true, check: Prose;
        |config, _| config.maintenance
    }

    /// Whether `heartbeat reload --all` on another node may replace this file. The file names
    /// programs that run as root, so with `true` each holder of the cluster's key is root here: see
    /// "Configurations from other nodes" in docs/operate/security.md.
    ACCEPT_CONFIGURATION: Flag = Flag => {
        name: "accept_configuration", default: Is(|| false), example: "true",
        reload: AcceptConfiguration, digest: false, check: IfSet;
        |config, _| config.accept_configuration
    }
}
