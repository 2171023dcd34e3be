//! A number by which nodes can tell that their configurations differ.
//!
//! It is made of what must be the same on all nodes, and of nothing that may differ: where a node
//! keeps its files, what its interfaces are called, its hooks and its priority, where its health
//! checks look and where its load comes from, and whether it takes a file from others. Nor does it
//! depend on the order of nodes, groups and constraints in a file.

use std::{hash::Hasher as _, net::IpAddr, time::Duration};

use heartbeat_common::siphash::SipKey;
use siphasher::sip::SipHasher24;

use super::{
    exclusive,
    key::Keys,
    types::{Config, Exec, Execution, Group, Ocf, Policy, Rebalance, Resource, ResourceKind},
};
use heartbeat_core::index::GroupIndex;

impl Config {
    /// Equal on nodes whose configurations agree, and as good as never on others. Not 0.
    ///
    /// It travels in heartbeats, which anybody can read, and covers parameters that may be
    /// passwords: only who has the cluster's `key` can tell what it is made of.
    pub fn digest(&self, key: SipKey) -> u32 {
        let mut hash = SipHasher24::new_with_keys(key.k0, key.k1);
        hash.write(self.canonical().as_bytes());
        let hash = hash.finish();
        let [high, low] = [hash >> 32, hash].map(|half| half as u32);
        (high ^ low).max(1)
    }

    /// The same under each of `keys`, the active one first: what nodes with this configuration say,
    /// whichever of the keys they seal with.
    pub fn digests(&self, keys: &Keys) -> Vec<u32> {
        keys.all.iter().map(|(_, key)| self.digest(*key)).collect()
    }

    /// What must be the same, as a text that is the same if it is. Not for eyes: it has the values
    /// of parameters.
    fn canonical(&self) -> String {
        let mut lines = vec![self.common()];
        lines.extend(self.nodes.iter().map(|node| {
            let (name, role) = (&node.name, node.role.as_str());
            let capacity: Vec<_> = self.capacities(node).collect();
            format!(
                "node {} {name:?} {role} {:?} {capacity:?}",
                node.id.0, node.addresses
            )
        }));
        let groups = self.groups.iter().filter(|group| !group.is_removed());
        lines.extend(groups.map(|group| self.group(group)));
        let name = |group: GroupIndex| self.groups.get(group).map(|group| group.name.as_str());
        lines.extend(self.colocations.iter().map(|one| {
            let (group, with) = (name(one.group), name(one.with));
            format!("colocation {group:?} {with:?} {}", one.score.points())
        }));
        lines.extend(self.orders.iter().map(|order| {
            let (first, then) = (name(order.first), name(order.then));
            format!("order {first:?} {then:?} {}", order.mandatory)
        }));
        // A check's place is its bit in the heartbeats. What it looks at, and how often, may
        // differ.
        lines.extend(self.health.iter().enumerate().map(|(bit, check)| {
            let (name, kind, meaning) = (&check.name, check.kind.name(), check.meaning);
            format!("health {bit} {name:?} {kind} {meaning}")
        }));
        lines.push(self.policy());
        lines.sort_unstable();
        lines.join("\n")
    }

    /// `[cluster]`, and how many links there are.
    fn common(&self) -> String {
        let times = [
            self.interval,
            self.timeout,
            self.agent_stall,
            self.lease,
            self.max_lease,
        ]
        .map(|time| time.as_nanos());
        format!(
            "cluster {:?} {} {} {} {times:?} {} {} {} {}",
            self.cluster,
            self.cluster_id.0,
            self.port,
            self.version,
            self.drift_ppm,
            self.auto_failback,
            self.maintenance,
            self.links.len()
        )
    }

    /// `[placement]` and `[rebalance]`.
    fn policy(&self) -> String {
        let Policy {
            strategy,
            degraded_points,
            rebalance,
        } = &self.placement;
        let rebalance = rebalance.map(
            |Rebalance {
                 high,
                 low,
                 hold,
                 cooldown,
             }| (high, low, hold.as_nanos(), cooldown.as_nanos()),
        );
        format!("placement {strategy} {degraded_points} {rebalance:?}")
    }

    /// Its resources follow each other in the order that matters.
    fn group(&self, group: &Group) -> String {
        let rank: Vec<_> = group.rank.iter().map(|node| node.0).collect();
        let mut locations: Vec<_> = group
            .locations
            .iter()
            .map(|(node, score)| (node.0, score.points()))
            .collect();
        locations.sort_unstable();
        let demand: Vec<_> = self.demands(group).collect();
        let resources: Vec<_> = group
            .resources
            .iter()
            .map(|resource| self.resource(resource))
            .collect();
        let accepts = said("accepts double run", group.accepts_double_run);
        format!(
            "group {:?} {rank:?} {locations:?} {} {} {} {demand:?} {resources:?}{accepts}",
            group.name,
            group.stickiness.points(),
            group.maintenance,
            group.rebalance
        )
    }

    fn resource(&self, resource: &Resource) -> String {
        // All of it, so that what is new is not forgotten here.
        let Resource {
            name,
            kind,
            start_timeout,
            stop_timeout,
            monitor_timeout,
            monitor_interval,
            migration_threshold,
            failure_timeout,
            pidfile,
            exclusive,
            execution,
        } = resource;
        let times = [
            start_timeout,
            stop_timeout,
            monitor_timeout,
            monitor_interval,
            failure_timeout,
        ]
        .map(|time| time.as_ref().map(Duration::as_nanos));
        // What the table of agents says follows from the kind.
        let stated = exclusive::by_table(kind).is_some() != *exclusive;
        let stated = said("otherwise exclusive", stated);
        let kind = self.kind(kind);
        let execution = self::execution(execution);
        format!("{name:?} {kind} {times:?} {migration_threshold} {pidfile:?}{stated}{execution}")
    }

    fn kind(&self, kind: &ResourceKind) -> String {
        match kind {
            ResourceKind::Vip(index) => {
                // The interface is this node's own affair, and so is what a length that is not
                // written comes to there.
                let address = self.vips.get(*index).map(|vip| vip.address);
                let bare: Option<IpAddr> = address.map(|vip| vip.address);
                let full: Option<(IpAddr, u8)> =
                    address.and_then(|vip| Some((vip.address, vip.len?)));
                match full {
                    Some(_) => format!("vip {full:?}"),
                    None => format!("vip {bare:?}"),
                }
            }
            ResourceKind::Ocf(Ocf {
                provider,
                agent,
                params,
                check_level,
            }) => format!("ocf {provider:?} {agent:?} {params:?} {check_level}"),
            ResourceKind::Systemd(unit) => format!("systemd {unit:?}"),
            ResourceKind::Exec(Exec::Service { run, check }) => {
                format!("service {run:?} {check:?}")
            }
            ResourceKind::Exec(Exec::Commands { start, stop, check }) => {
                format!("commands {start:?} {stop:?} {check:?}")
            }
        }
    }
}

/// The settings of a resource's programs; empty for the default, so that nodes of a release without
/// these settings agree as long as no resource uses them.
fn execution(execution: &Execution) -> String {
    let Execution {
        user,
        group,
        environment,
        directory,
        stop_signal,
        limits,
    } = execution;
    if execution.is_default() {
        return String::new();
    }
    let limits = limits
        .iter()
        .map(|limit| (limit.kind.as_str(), limit.value));
    let limits: Vec<_> = limits.collect();
    format!(" as {user:?} {group:?} {environment:?} {directory:?} {stop_signal} {limits:?}")
}

/// `what` if it holds. Nothing else says that it does not: nodes of a release that does not know it
/// yet agree.
fn said(what: &str, holds: bool) -> String {
    match holds {
        true => format!(" {what}"),
        false => String::new(),
    }
}
