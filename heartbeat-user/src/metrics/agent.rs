//! The metrics of this node's agent: its pulse, its clock, its health and its restrictions.

use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::{Metric, Source::All, samples::seconds};

pub(super) static METRICS: &[Metric] = &[
    Metric {
        name: "build_info",
        kind: Gauge,
        labels: &["version", "cluster", "instance", "node"],
        help: "1, with the agent's version and names",
        samples: All(|snapshot, out| {
            let status = &snapshot.status;
            let names = [
                &status.version,
                &status.cluster,
                &status.instance,
                &status.node,
            ];
            out.add(&names.map(String::as_str), true)
        }),
    },
    Metric {
        name: "uptime_seconds",
        kind: Gauge,
        labels: &[],
        help: "Time since the start of the agent",
        samples: All(|snapshot, out| out.add(&[], seconds(snapshot.status.uptime_ns))),
    },
    Metric {
        name: "setting_seconds",
        kind: Gauge,
        labels: &["setting"],
        help: "The settings interval, timeout and lease",
        samples: All(|snapshot, out| {
            let status = &snapshot.status;
            out.add(&["interval"], seconds(status.interval_ns))?;
            out.add(&["timeout"], seconds(status.timeout_ns))?;
            out.add(&["lease"], seconds(status.lease_ns))
        }),
    },
    Metric {
        name: "pulse_ticks",
        kind: Counter,
        labels: &[],
        help: "Ticks of the pulse",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.pulse.ticks)),
    },
    Metric {
        name: "pulse_missed_ticks",
        kind: Counter,
        labels: &[],
        help: "Ticks that the pulse left out, because it came late by an interval or more",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.pulse.missed_ticks)),
    },
    Metric {
        name: "pulse_late_ticks",
        kind: Counter,
        labels: &[],
        help: "Ticks that were late by half an interval or more",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.pulse.late_ticks)),
    },
    Metric {
        name: "pulse_max_lateness_seconds",
        kind: Gauge,
        labels: &[],
        help: "The greatest lateness of a tick since the start of the agent",
        samples: All(|snapshot, out| out.add(&[], seconds(snapshot.status.pulse.max_lateness_ns))),
    },
    Metric {
        name: "pulse_overruns",
        kind: Counter,
        labels: &[],
        help: "Rounds of the pulse that took longer than the reserved CPU time",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.pulse.overruns)),
    },
    Metric {
        name: "pulse_scheduling",
        kind: Gauge,
        labels: &["policy"],
        help: "1 for the pulse's scheduling policy: deadline, fifo or other (not real-time)",
        samples: All(|snapshot, out| {
            let policies = ["deadline", "fifo", "other"];
            out.state(&[], &policies, &snapshot.status.pulse.scheduling)
        }),
    },
    Metric {
        name: "memory_locked",
        kind: Gauge,
        labels: &[],
        help: "1 if the agent's memory is never paged out",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.pulse.memory_locked)),
    },
    Metric {
        name: "local_stalls",
        kind: Counter,
        labels: &[],
        help: "False alarms withheld: this node was itself late, and counted the silence of its \
               peers anew instead of deciding that they are down",
        samples: All(|snapshot, out| {
            out.add(&[], snapshot.status.pulse.local_stalls.local_stall_count)
        }),
    },
    Metric {
        name: "local_stall_seconds",
        kind: Counter,
        labels: &[],
        help: "Duration of all local stalls together",
        samples: All(|snapshot, out| {
            out.add(
                &[],
                seconds(snapshot.status.pulse.local_stalls.local_stall_ns),
            )
        }),
    },
    Metric {
        name: "send_errors",
        kind: Counter,
        labels: &[],
        help: "Probes that the network stack refused to send",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.pulse.send_errors)),
    },
    Metric {
        name: "ring_buffer_losses",
        kind: Counter,
        labels: &["ring"],
        help: "Deadlines and votes for which a ring buffer from the kernel had no room; the agent \
               read them later from the maps",
        samples: All(|snapshot, out| {
            let pulse = &snapshot.status.pulse;
            out.add(&["events"], pulse.events_lost)?;
            out.add(&["votes"], pulse.votes_lost)
        }),
    },
    Metric {
        name: "stolen_cpus",
        kind: Gauge,
        labels: &[],
        help: "Time of this host's CPUs that the hypervisor took in the last second, in CPUs",
        samples: All(|snapshot, out| {
            out.add(&[], seconds(snapshot.status.pulse.steal_ms * 1_000_000))
        }),
    },
    Metric {
        name: "clock_source",
        kind: Gauge,
        labels: &["source"],
        help: "1, with the kernel's clock source: tsc, kvm-clock, arch_sys_counter and the like \
               cost nanoseconds, hpet and acpi_pm microseconds",
        samples: All(|snapshot, out| match &snapshot.clock_source {
            Some(source) => out.add(&[source], true),
            None => Ok(()),
        }),
    },
    Metric {
        name: "health_check",
        kind: Gauge,
        labels: &["check", "type", "failure"],
        help: "1 while the health check of this node is well, 0 while it fails; absent before its \
               first result",
        samples: All(|snapshot, out| {
            let checks = snapshot.status.health.iter();
            let mut known = checks.filter(|check| check.state != "unknown");
            known.try_for_each(|check| {
                let labels = [&*check.name, &check.kind, &check.failure];
                out.add(&labels, check.state == "well")
            })
        }),
    },
    Metric {
        name: "socket_guard_attached",
        kind: Gauge,
        labels: &[],
        help: "1 while the guard at the sockets is attached; absent where no address is guarded",
        samples: All(|snapshot, out| match &snapshot.status.socket_guard {
            Some(guard) => out.add(&[], guard.attached),
            None => Ok(()),
        }),
    },
    Metric {
        name: "confinement",
        kind: Gauge,
        labels: &["part"],
        help: "1 if the kernel enforces this restriction of the agent: seccomp, landlock",
        samples: All(|snapshot, out| match &snapshot.status.confinement {
            Some(confinement) => {
                out.add(&["seccomp"], confinement.seccomp)?;
                out.add(&["landlock"], confinement.landlock.is_some())
            }
            None => Ok(()),
        }),
    },
    Metric {
        name: "witness_commands",
        kind: Counter,
        labels: &[],
        help: "Commands of witnesses that this agent refused: a witness never sends any by mistake",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.witness_commands)),
    },
];
