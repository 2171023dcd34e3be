//! All measurements as JSON, and the budgets of the project that they cover.
//!
//! Keys are only ever added. A budget that is missed is stated, never an error.

use std::time::Duration;

use serde::Serialize;

pub use super::{
    acquire::Acquisitions,
    cost::Cost,
    cpu::CpuUse,
    exits::{Ends, Exits},
    figure::Figure,
    local::{Local, PerExchange},
    quantiles::Quantiles,
    rtt::RoundTrips,
    throughput::{Passage, PerPacket},
};
use super::{
    cost::{Costs, Measured},
    local::{self, Locals},
    rtt::ratio,
    throughput::{Passages, Throughput},
};

/// The methods of measurement, one line each, for readers without this code.
const COST_METHOD: [&str; 3] = [
    "live frames through veth, native XDP; the kernel's own statistics (run_time_ns / run_cnt)",
    "median of short windows that take turns; 1/ms: one frame per ms, caches as others left them",
    "net = raw - a program that only passes, on frames as dense, and as long but for lease entries",
];
const TRAFFIC_METHOD: [&str; 3] = [
    "one thread sends to a socket without a reader; both stacks and the programs run on its own \
     CPU",
    "median of short windows that take turns; ratios are within each round",
    "veth itself does more for any arriving XDP program: the ratio to one that only passes leaves \
     that out",
];
const LOCAL_METHOD: [&str; 3] = [
    "one thread plays ping-pong over lo: two packets, each of them judged where it is sent and \
     received",
    "median of short windows that take turns; ratios and differences are within each round",
    "no VIP, another address, the VIP: what the guard at the sockets finds",
];
const ACQUIRE_METHOD: [&str; 3] = [
    "one of three voters contends once per 2 ms; its own kernel and the far one are the majority",
    "from a free lease until both granted it: prepare, accept, and the system calls of an agent's \
     pulse",
    "kernel: a probe without leases, in turns with it; from TC egress to XDP ingress",
];
const EXITS_METHOD: [&str; 3] = [
    "from SIGKILL to a process until the agent's tokio thread has heard of it",
    "kernel: the program on sched_process_exit, seen by it and told through its ring buffer",
    "pidfd: ready once the process is wholly gone, its memory freed; processes and ways take turns",
];
const RTT_METHOD: [&str; 3] = [
    "each responder is asked once per ms, in turns, over one veth pair; stamped by the asking \
     kernel",
    "kernel: from TC egress to XDP ingress, the responder's own time included",
    "userspace: from driver transmit to stack receive (SO_TIMESTAMPING); lost counts as the \
     longest",
];

#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    pub kernel: String,
    pub cores: usize,
    /// Of each phase.
    pub seconds: f64,
    pub cost_method: [&'static str; 3],
    pub cost_ns: Costs,
    pub cost_cpu: CpuUse,
    pub lease_entry_ns: LeaseEntry,
    pub traffic_method: [&'static str; 3],
    pub traffic_ns: Passages,
    pub traffic_cpu: CpuUse,
    pub local_method: [&'static str; 3],
    pub local_ns: Locals,
    pub local_cpu: CpuUse,
    pub rtt_method: [&'static str; 3],
    pub rtt_us: Rtt,
    pub acquire_method: [&'static str; 3],
    pub acquire_us: Acquire,
    pub exits_method: [&'static str; 3],
    pub exits_us: Exits,
    pub budgets: Vec<Budget>,
}

/// The additional time of the responder for each lease entry of a probe, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseEntry {
    /// The first one.
    pub renewed_first: f64,
    /// Each of eight.
    pub renewed: f64,
    pub refused_first: f64,
    pub refused: f64,
    /// Each of eight, one probe per millisecond.
    pub renewed_paced: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Acquire {
    pub idle: Acquisitions,
    pub loaded: Acquisitions,
    /// The same quantile of the other responder, as a multiple of the kernel's.
    pub to_kernel_rtt: Phases<Ratios>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Rtt {
    /// Processes that only compute, in the loaded phase.
    pub spinners: usize,
    pub idle: RoundTrips,
    pub loaded: RoundTrips,
    /// Below 1 the kernel is faster.
    pub kernel_to_userspace: Phases<Ratios>,
    pub kernel_to_userspace_fifo: Phases<Ratios>,
    pub loaded_p999_to_idle_p50: ByResponder<Option<f64>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Phases<T> {
    pub idle: T,
    pub loaded: T,
}

#[derive(Clone, Debug, Serialize)]
pub struct ByResponder<T> {
    pub kernel: T,
    pub userspace: T,
    pub userspace_fifo: T,
}

/// Of two sets of quantiles.
#[derive(Clone, Debug, Serialize)]
pub struct Ratios {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

/// A promise of the design and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Budget {
    pub name: &'static str,
    pub at_most: f64,
    pub unit: &'static str,
    /// `None` if too much was lost for this quantile.
    pub measured: Option<f64>,
    pub met: bool,
}

impl BenchReport {
    pub(super) fn new(
        (kernel, cores): (String, usize),
        phase: Duration,
        cost: Measured,
        (traffic, local): (Throughput, local::Measured),
        rtt_us: Rtt,
        acquire_us: Acquire,
        exits_us: Exits,
    ) -> Self {
        let Measured {
            costs: cost_ns,
            cpu: cost_cpu,
        } = cost;
        let Throughput {
            passages: traffic_ns,
            cpu: traffic_cpu,
        } = traffic;
        Self {
            budgets: budgets(&cost_ns, &rtt_us),
            lease_entry_ns: LeaseEntry::new(&cost_ns),
            kernel,
            cores,
            seconds: phase.as_secs_f64(),
            cost_method: COST_METHOD,
            cost_ns,
            cost_cpu,
            traffic_method: TRAFFIC_METHOD,
            traffic_ns,
            traffic_cpu,
            local_method: LOCAL_METHOD,
            local_ns: local.locals,
            local_cpu: local.cpu,
            rtt_method: RTT_METHOD,
            rtt_us,
            acquire_method: ACQUIRE_METHOD,
            acquire_us,
            exits_method: EXITS_METHOD,
            exits_us,
        }
    }
}

impl LeaseEntry {
    fn new(costs: &Costs) -> Self {
        let each = |with: Figure, without: Figure, entries: u32| {
            (costs[&with].net_ns - costs[&without].net_ns) / f64::from(entries)
        };
        let none = Figure::ProbeToReply;
        Self {
            renewed_first: each(Figure::ProbeToReplyRenew1, none, 1),
            renewed: each(Figure::ProbeToReplyRenew8, none, 8),
            refused_first: each(Figure::ProbeToReplyRefused1, none, 1),
            refused: each(Figure::ProbeToReplyRefused8, none, 8),
            renewed_paced: each(
                Figure::ProbeToReplyRenew8Paced,
                Figure::ProbeToReplyPaced,
                8,
            ),
        }
    }
}

impl Acquire {
    pub(super) fn new(idle: Acquisitions, loaded: Acquisitions) -> Self {
        let ratios = |of: &Acquisitions| Ratios::new(&of.acquire, &of.kernel_rtt);
        Self {
            to_kernel_rtt: Phases {
                idle: ratios(&idle),
                loaded: ratios(&loaded),
            },
            idle,
            loaded,
        }
    }
}

impl Rtt {
    pub(super) fn new(spinners: usize, idle: RoundTrips, loaded: RoundTrips) -> Self {
        let stretch = |of: fn(&RoundTrips) -> &Quantiles| ratio(of(&loaded).p999, of(&idle).p50);
        Self {
            spinners,
            kernel_to_userspace: Phases {
                idle: Ratios::new(&idle.kernel, &idle.userspace),
                loaded: Ratios::new(&loaded.kernel, &loaded.userspace),
            },
            kernel_to_userspace_fifo: Phases {
                idle: Ratios::new(&idle.kernel, &idle.userspace_fifo),
                loaded: Ratios::new(&loaded.kernel, &loaded.userspace_fifo),
            },
            loaded_p999_to_idle_p50: ByResponder {
                kernel: stretch(|trips| &trips.kernel),
                userspace: stretch(|trips| &trips.userspace),
                userspace_fifo: stretch(|trips| &trips.userspace_fifo),
            },
            idle,
            loaded,
        }
    }
}

impl Ratios {
    fn new(over: &Quantiles, under: &Quantiles) -> Self {
        Self {
            p50: ratio(over.p50, under.p50),
            p99: ratio(over.p99, under.p99),
            p999: ratio(over.p999, under.p999),
            max: ratio(over.max, under.max),
        }
    }
}

/// The budgets of the design that this benchmark covers.
fn budgets(costs: &Costs, rtt: &Rtt) -> Vec<Budget> {
    let net = |figure| costs.get(&figure).map(|cost| cost.net_ns);
    let nanos = |name, at_most, figure| Budget::new(name, at_most, "ns", net(figure));
    let stretch = rtt.loaded_p999_to_idle_p50.kernel;
    vec![
        nanos("xdp_probe_to_reply", 500.0, Figure::ProbeToReply),
        nanos("drop_junk_bad_magic", 50.0, Figure::JunkBadMagic),
        nanos("drop_junk_unknown_peer", 50.0, Figure::JunkUnknownPeer),
        nanos("drop_junk_bad_mac", 50.0, Figure::JunkBadTag),
        Budget::new("kernel_rtt_loaded_p999_to_idle_p50", 10.0, "times", stretch),
    ]
}

impl Budget {
    fn new(name: &'static str, at_most: f64, unit: &'static str, measured: Option<f64>) -> Self {
        Self {
            name,
            at_most,
            unit,
            measured,
            met: measured.is_some_and(|measured| measured <= at_most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_without_a_figure_is_not_met() {
        assert!(Budget::new("a", 50.0, "ns", Some(50.0)).met);
        assert!(!Budget::new("a", 50.0, "ns", Some(50.1)).met);
        assert!(!Budget::new("a", 50.0, "ns", None).met);
    }
}
