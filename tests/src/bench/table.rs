//! The report as a table for humans.

use std::fmt::{Display, Formatter, Result};

use super::report::{
    Acquire, BenchReport, Budget, CpuUse, Ends, Exits, Figure, LeaseEntry, Local, Passage,
    Quantiles, Ratios, RoundTrips, Rtt,
};

/// More than this, and the machine did more than measure.
const IDLE_PERCENT: f64 = 50.0;

impl Display for BenchReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            kernel,
            cores,
            seconds,
            ..
        } = self;
        writeln!(f, "Linux {kernel}, {cores} cores, {seconds} s a phase\n")?;
        self.costs(f)?;
        lease_entries(f, &self.lease_entry_ns)?;
        self.traffic(f)?;
        self.local(f)?;
        round_trips(f, &self.rtt_us)?;
        method(f, &self.rtt_method)?;
        acquire(f, &self.acquire_us, self.rtt_us.spinners)?;
        method(f, &self.acquire_method)?;
        exits(f, &self.exits_us)?;
        method(f, &self.exits_method)?;
        writeln!(f, "{:<42} {:>8} {:>8}", "budget", "at most", "measured")?;
        for budget in &self.budgets {
            write_budget(f, budget)?;
        }
        Ok(())
    }
}

impl BenchReport {
    fn costs(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "{:<42} {:>8} {:>8} {:>8} {:>8} {:>9}",
            "cost per packet in ns", "net", "raw", "baseline", "mean raw", "packets"
        )?;
        writeln!(f, "  CPUs {}", cpu(&self.cost_cpu))?;
        for (figure, cost) in &self.cost_ns {
            let net = match figure {
                Figure::Baseline | Figure::BaselinePaced => "-".to_owned(),
                _ => format!("{:.0}", cost.net_ns),
            };
            writeln!(
                f,
                "  {:<40} {net:>8} {:>8.0} {:>8.0} {:>8.0} {:>9}",
                figure.describe(),
                cost.raw_ns,
                cost.baseline_ns,
                cost.mean_raw_ns,
                cost.packets
            )?;
        }
        method(f, &self.cost_method)
    }

    fn traffic(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "{:<42} {:>8} {:>8} {:>9} {:>9}",
            "ordinary packet, all of its way, in ns", "time", "to bare", "to pass", "packets"
        )?;
        writeln!(f, "  CPUs {}", cpu(&self.traffic_cpu))?;
        for (passage, taken) in &self.traffic_ns {
            let passage: &Passage = passage;
            writeln!(
                f,
                "  {:<40} {:>8.0} {:>8.3} {:>9} {:>9}",
                passage.describe(),
                taken.ns,
                taken.to_bare,
                number(taken.to_pass_only, 3),
                taken.packets
            )?;
        }
        method(f, &self.traffic_method)
    }

    fn local(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "{:<42} {:>8} {:>8} {:>9} {:>9}",
            "local exchange of two packets, in ns", "time", "more", "to none", "exchanges"
        )?;
        writeln!(f, "  CPUs {}", cpu(&self.local_cpu))?;
        for (local, taken) in &self.local_ns {
            let local: &Local = local;
            writeln!(
                f,
                "  {:<40} {:>8.0} {:>8.0} {:>9.3} {:>9}",
                local.describe(),
                taken.ns,
                taken.more_ns,
                taken.to_without,
                taken.exchanges
            )?;
        }
        method(f, &self.local_method)
    }
}

fn lease_entries(f: &mut Formatter<'_>, entry: &LeaseEntry) -> Result {
    let LeaseEntry {
        renewed_first,
        renewed,
        refused_first,
        refused,
        renewed_paced,
    } = entry;
    writeln!(f, "a lease entry adds to the responder, in ns")?;
    for (name, nanos) in [
        ("renewed, the first", renewed_first),
        ("renewed, each of 8", renewed),
        ("refused, the first", refused_first),
        ("refused, each of 8", refused),
        ("renewed, each of 8, 1/ms", renewed_paced),
    ] {
        writeln!(f, "  {name:<40} {nanos:>8.0}")?;
    }
    writeln!(f)
}

fn acquire(f: &mut Formatter<'_>, acquire: &Acquire, spinners: usize) -> Result {
    writeln!(
        f,
        "{:<42} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "free lease -> majority in us", "p50", "p99", "p99.9", "max", "lost"
    )?;
    let Acquire {
        idle: quiet,
        loaded,
        to_kernel_rtt,
    } = acquire;
    for (name, acquired, to_rtt) in [
        (idle(&quiet.cpu).to_owned(), quiet, &to_kernel_rtt.idle),
        (
            format!("{spinners} processes compute"),
            loaded,
            &to_kernel_rtt.loaded,
        ),
    ] {
        let slow = slow(acquired.asker_realtime);
        writeln!(f, "  {name}: CPUs {}{slow}", cpu(&acquired.cpu))?;
        quantiles(f, "lease", &acquired.acquire)?;
        quantiles(f, "kernel", &acquired.kernel_rtt)?;
        ratios(f, "lease / kernel", to_rtt, 1)?;
    }
    Ok(())
}

fn exits(f: &mut Formatter<'_>, exits: &Exits) -> Result {
    let Exits {
        small,
        large,
        large_mib,
        cpu: used,
    } = exits;
    writeln!(
        f,
        "{:<42} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "process killed -> heard of in us", "p50", "p99", "p99.9", "max", "lost"
    )?;
    writeln!(f, "  {}: CPUs {}", idle(used), cpu(used))?;
    for (size, ends) in [
        ("small".to_owned(), small),
        (format!("{large_mib} MiB"), large),
    ] {
        let Ends { seen, told, pidfd } = ends;
        quantiles(f, &format!("{size}: kernel sees it"), seen)?;
        quantiles(f, &format!("{size}: agent, by the kernel"), told)?;
        quantiles(f, &format!("{size}: agent, by a pidfd"), pidfd)?;
    }
    Ok(())
}

fn round_trips(f: &mut Formatter<'_>, rtt: &Rtt) -> Result {
    writeln!(
        f,
        "{:<42} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "round trip in us", "p50", "p99", "p99.9", "max", "lost"
    )?;
    let Rtt { spinners, .. } = rtt;
    let phases = [
        (
            idle(&rtt.idle.cpu).to_owned(),
            &rtt.idle,
            &rtt.kernel_to_userspace.idle,
        ),
        (
            format!("{spinners} processes compute"),
            &rtt.loaded,
            &rtt.kernel_to_userspace.loaded,
        ),
    ];
    for (name, trips, ratios) in phases {
        let RoundTrips {
            kernel,
            userspace,
            userspace_fifo,
            cpu: used,
            prober_realtime,
        } = trips;
        let slow = slow(*prober_realtime);
        writeln!(f, "  {name}: CPUs {}{slow}", cpu(used))?;
        quantiles(f, "kernel", kernel)?;
        quantiles(f, "userspace", userspace)?;
        quantiles(f, "userspace, SCHED_FIFO", userspace_fifo)?;
        self::ratios(f, "kernel / userspace", ratios, 3)?;
    }
    let stretch = &rtt.loaded_p999_to_idle_p50;
    writeln!(
        f,
        "  loaded p99.9 / idle p50: kernel {}, userspace {}, SCHED_FIFO {}",
        number(stretch.kernel, 1),
        number(stretch.userspace, 1),
        number(stretch.userspace_fifo, 1)
    )
}

fn quantiles(f: &mut Formatter<'_>, name: &str, quantiles: &Quantiles) -> Result {
    let Quantiles {
        lost,
        p50,
        p99,
        p999,
        max,
        ..
    } = quantiles;
    let text = |value: &Option<f64>| match value {
        Some(_) => number(*value, 1),
        None => "lost".to_owned(),
    };
    let [p50, p99, p999, max] = [p50, p99, p999, max].map(text);
    writeln!(
        f,
        "    {name:<38} {p50:>8} {p99:>8} {p999:>8} {max:>8} {lost:>6}"
    )
}

fn ratios(f: &mut Formatter<'_>, name: &str, ratios: &Ratios, decimals: usize) -> Result {
    let Ratios {
        p50,
        p99,
        p999,
        max,
    } = ratios;
    let [p50, p99, p999, max] = [p50, p99, p999, max].map(|value| number(*value, decimals));
    writeln!(f, "    {name:<38} {p50:>8} {p99:>8} {p999:>8} {max:>8}")
}

fn slow(realtime: bool) -> &'static str {
    if realtime {
        ""
    } else {
        ", asked without real-time priority"
    }
}

fn write_budget(f: &mut Formatter<'_>, budget: &Budget) -> Result {
    let Budget {
        name,
        at_most,
        unit,
        measured,
        met,
    } = budget;
    let verdict = if *met { "met" } else { "missed" };
    let measured = number(*measured, 1);
    writeln!(
        f,
        "  {name:<40} {at_most:>8} {measured:>8} {unit:<5} {verdict}"
    )
}

fn method(f: &mut Formatter<'_>, lines: &[&str]) -> Result {
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
    writeln!(f)
}

fn idle(used: &CpuUse) -> &'static str {
    if used.busy_percent > IDLE_PERCENT {
        "supposed to be idle, but others keep this machine busy"
    } else {
        "idle"
    }
}

fn cpu(used: &CpuUse) -> String {
    let CpuUse {
        busy_percent,
        stolen_percent,
    } = used;
    format!("{busy_percent:.0} % busy, {stolen_percent:.1} % stolen")
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}
