//! The metrics of groups, resources, addresses and leases.

use std::fmt;

use prometheus_client::metrics::MetricType::{Counter, Gauge, Histogram};

use super::{
    Metric,
    Source::{All, Groups},
    samples::{Samples, Value, seconds},
    tally::{REASONS, STEPS},
};
use crate::control::protocol::{Group, Resource, Vip};

pub(super) static METRICS: &[Metric] = &[
    Metric {
        name: "resources",
        kind: Gauge,
        labels: &[
            "node", "resource", "agent", "group", "managed", "role", "status",
        ],
        help: "1 for the status of the resource on the node that runs it, 0 for the others",
        samples: All(|snapshot, out| {
            let status = &snapshot.status;
            status.groups.iter().try_for_each(|group| {
                let managed = !(group.maintenance || status.maintenance);
                let mut resources = group.resources.iter();
                resources.try_for_each(|resource| resource_status(group, managed, resource, out))
            })
        }),
    },
    Metric {
        name: "resource_failures",
        kind: Gauge,
        labels: &["node", "resource"],
        help: "Failures of the resource that count on the node (fail_count of ha_cluster_exporter)",
        samples: All(|snapshot, out| {
            let groups = snapshot.status.groups.iter();
            let mut resources = groups.flat_map(|group| &group.resources);
            resources.try_for_each(|resource| {
                let node = resource.node.as_deref().unwrap_or_default();
                out.add(&[node, &resource.name], u64::from(resource.failures))
            })
        }),
    },
    Metric {
        name: "resource_failed_actions",
        kind: Counter,
        labels: &["resource", "action"],
        help: "Failed actions on the resource on this node",
        samples: All(|snapshot, out| {
            let mut counts = snapshot.tally.failures.iter();
            counts.try_for_each(|((resource, action), count)| out.add(&[resource, action], *count))
        }),
    },
    Metric {
        name: "maintenance",
        kind: Gauge,
        labels: &[],
        help: "1 while the whole cluster is in maintenance",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.maintenance)),
    },
    Metric {
        name: "group_owner",
        kind: Gauge,
        labels: &["group", "node"],
        help: "1 for the holder of the group's lease, by this node's acceptor; absent while the \
               lease is free",
        samples: All(|snapshot, out| {
            snapshot
                .status
                .groups
                .iter()
                .try_for_each(|group| match &group.owner {
                    Some(owner) => out.add(&[&group.name, owner], true),
                    None => Ok(()),
                })
        }),
    },
    of_groups(
        "group_owned",
        "1 while a node holds the group's lease",
        |group| Some(group.owner.is_some().into()),
    ),
    of_groups(
        "group_running",
        "1 while all resources run that should run",
        |group| Some(group.running.into()),
    ),
    of_groups(
        "group_maintenance",
        "1 while the group is in maintenance",
        |group| Some(group.maintenance.into()),
    ),
    of_groups(
        "group_stopped",
        "1 while an operator has stopped the group on all nodes",
        |group| Some(group.stopped.into()),
    ),
    of_groups(
        "group_blocked",
        "1 while a node could not stop the group, so that no other node starts it",
        |group| Some(group.blocked.is_some().into()),
    ),
    of_groups(
        "group_barred_nodes",
        "Nodes on which resources of the group failed, so that they do not serve it",
        |group| Some(group.barred.len().into()),
    ),
    of_groups(
        "lease_remaining_seconds",
        "Time left of the group's lease in the slot of this node's acceptor; absent while the \
               lease is free",
        |group| {
            group
                .lease
                .as_ref()
                .map(|lease| seconds(lease.remaining_ns))
        },
    ),
    of_groups(
        "lease_votes",
        "Acceptors that granted the group's lease to this node; absent on other nodes",
        |group| group.votes.as_ref().map(|votes| votes.granted.into()),
    ),
    Metric {
        name: "lease_acquisitions",
        kind: Counter,
        labels: &["group", "regained"],
        help: "Leases that this node acquired; regained is true if the lease had run out, and \
               nothing had to stop meanwhile",
        samples: All(|snapshot, out| {
            // A series must begin at 0: otherwise its first step is lost on `increase()`.
            let counts = &snapshot.tally.acquisitions;
            snapshot.status.groups.iter().try_for_each(|group| {
                [(false, "false"), (true, "true")]
                    .iter()
                    .try_for_each(|(regained, label)| {
                        let count = counts.get(&(group.name.clone(), *regained));
                        out.add(&[&group.name, label], count.copied().unwrap_or(0))
                    })
            })
        }),
    },
    Metric {
        name: "lease_losses",
        kind: Counter,
        labels: &["group", "reason"],
        help: "Leases that this node gave up, by reason as in the event lease-given-up",
        samples: All(|snapshot, out| {
            let counts = &snapshot.tally.losses;
            snapshot.status.groups.iter().try_for_each(|group| {
                REASONS.iter().try_for_each(|reason| {
                    let count = counts.get(&(group.name.clone(), *reason));
                    out.add(&[&group.name, reason], count.copied().unwrap_or(0))
                })
            })
        }),
    },
    Metric {
        name: "takeovers",
        kind: Counter,
        labels: &["vip"],
        help: "Takeovers of the address by this node, planned ones included",
        samples: All(|snapshot, out| {
            let counts = &snapshot.tally.takeovers;
            snapshot.status.vips.iter().try_for_each(|vip| {
                let count = counts.get(&vip.name);
                out.add(&[&vip.name], count.copied().unwrap_or(0))
            })
        }),
    },
    Metric {
        name: "takeover_seconds",
        kind: Histogram,
        labels: &[],
        help: "Time of a takeover by this node, from the free lease to the announced address",
        samples: All(|snapshot, out| out.histogram(&[], &snapshot.tally.takeover)),
    },
    Metric {
        name: "takeover_step_seconds",
        kind: Histogram,
        labels: &["step"],
        help: "Time of each step of a takeover: lease (free until a majority granted it), guard \
               (until it is open), address (until it is added), announcement",
        samples: All(|snapshot, out| {
            let mut steps = STEPS.iter().zip(&snapshot.tally.steps);
            steps.try_for_each(|(step, histogram)| out.histogram(&[*step], histogram))
        }),
    },
    Metric {
        name: "vip_held",
        kind: Gauge,
        labels: &["vip", "address", "interface"],
        help: "1 while the address is on this node's interface",
        samples: All(|snapshot, out| {
            snapshot
                .status
                .vips
                .iter()
                .try_for_each(|vip| out.add(&address(vip), vip.held))
        }),
    },
    Metric {
        name: "vip_failed",
        kind: Gauge,
        labels: &["vip", "address", "interface"],
        help: "1 while the last attempt to add or remove the address has failed",
        samples: All(|snapshot, out| {
            let mut vips = snapshot.status.vips.iter();
            vips.try_for_each(|vip| out.add(&address(vip), vip.error.is_some()))
        }),
    },
    Metric {
        name: "guard_open",
        kind: Gauge,
        labels: &["vip", "address", "interface"],
        help: "1 while this node's kernel lets traffic of the address pass",
        samples: All(|snapshot, out| {
            let mut vips = snapshot.status.vips.iter();
            vips.try_for_each(|vip| out.add(&address(vip), vip.guard.open))
        }),
    },
    Metric {
        name: "guard_dropped_packets",
        kind: Counter,
        labels: &["vip", "address", "interface", "direction"],
        help: "Packets to (in) and from (out) the address that this node's kernel dropped while it \
               did not hold the lease",
        samples: All(|snapshot, out| {
            snapshot.status.vips.iter().try_for_each(|vip| {
                let [name, ip, interface] = address(vip);
                out.add(&[name, ip, interface, "in"], vip.guard.dropped_in)?;
                out.add(&[name, ip, interface, "out"], vip.guard.dropped_out)
            })
        }),
    },
];

/// A gauge with one sample for each group.
const fn of_groups(
    name: &'static str,
    help: &'static str,
    value: fn(&Group) -> Option<Value>,
) -> Metric {
    Metric {
        name,
        kind: Gauge,
        labels: &["group"],
        help,
        samples: Groups(value),
    }
}

/// The values of the labels that name an address.
fn address(vip: &Vip) -> [&str; 3] {
    [&vip.name, &vip.address, &vip.interface]
}

/// Adds a sample for each status of a resource.
fn resource_status(
    group: &Group,
    managed: bool,
    resource: &Resource,
    out: &mut Samples<'_, '_>,
) -> fmt::Result {
    const STATUSES: [&str; 4] = ["active", "inactive", "failed", "blocked"];
    let status = match &*resource.state {
        "failed" => "failed",
        "blocked" => "blocked",
        "stopped" | "unknown" => "inactive",
        _ => "active",
    };
    let node = resource.node.as_deref().unwrap_or_default();
    let managed = if managed { "true" } else { "false" };
    let labels = [
        node,
        &resource.name,
        &resource.kind,
        &group.name,
        managed,
        &resource.state,
    ];
    out.state(&labels, &STATUSES, status)
}
