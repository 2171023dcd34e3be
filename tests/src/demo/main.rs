//! `heartbeat-demo`: watch a virtual address move when its owner dies.
//!
//! Three nodes, a switch and a client, each in a network namespace of its own. The client asks the
//! virtual address every 250 us while the owner dies; the demo shows what happened when.
//! `cargo xtask demo` builds everything and runs this as root.

mod article;
mod outcome;
mod output;
mod peers;
mod run;
mod scenario;
mod summary;
mod timeline;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use heartbeat_tests::{Fault, interrupt::exit_code};
use outcome::Outcome;
use output::Output;
use scenario::Scenario;

/// Show a virtual IP moving when its owner dies, in network namespaces on this host.
#[derive(Debug, Parser)]
#[command(name = "heartbeat-demo", version)]
pub(crate) struct Arguments {
    /// Time between two heartbeats
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = duration)]
    interval: Duration,
    /// Silence after which a node counts as dead
    #[arg(long, value_name = "TIME", default_value = "3ms", value_parser = duration)]
    deadline: Duration,
    /// Duration of the right to serve without a renewal
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration)]
    lease: Duration,
    /// The death of the owner
    #[arg(long, value_enum, default_value_t = Fault::Cut)]
    fault: Fault,
    /// Show another story instead: that of docs/start/article.md, or one in which no node dies but
    /// a node is of less use than it looks
    #[arg(long, value_enum, conflicts_with_all = ["fault", "runs"])]
    scenario: Option<Scenario>,
    /// Number of runs, each with a new cluster: 1, or 10 with --peers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Compare with keepalived, Pacemaker, etcd and FRR's bfdd, in turns: outages and owners after
    /// the faults silent, cut, kill and stop. Downloads their packages, and installs nothing
    #[arg(long, conflicts_with_all = ["scenario", "interval", "deadline", "lease", "fault", "keep_logs"])]
    peers: bool,
    /// Compare only this contender: heartbeat-1ms, keepalived-default, ...; may be repeated
    #[arg(long, value_name = "NAME", requires = "peers")]
    only: Vec<String>,
    /// Write the comparison as a chart
    #[arg(long, value_name = "FILE", requires = "peers")]
    svg: Option<PathBuf>,
    /// Print one JSON object last on stdout, and everything else on stderr
    #[arg(long)]
    json: bool,
    /// Leave configuration files and agents' logs behind
    #[arg(long)]
    keep_logs: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let out = Output::new(arguments.json);
    exit_code("demo", show(&arguments, &out), |text| {
        out.line(&out.bad(text));
    })
}

/// Does all runs; true if each ended with a takeover, and the address never had two owners.
fn show(arguments: &Arguments, out: &Output) -> Result<bool> {
    if arguments.peers {
        return peers::show(arguments, out).map(|()| true);
    }
    if let Some(scenario) = arguments.scenario {
        let shown = match scenario {
            Scenario::Article => article::show(arguments, out),
            scenario => scenario::show(scenario, arguments, out),
        };
        return shown.map(|()| true);
    }
    let mut outcomes = Vec::new();
    let runs = arguments.runs.unwrap_or(1);
    for number in 1..=runs {
        let outcome = run::run(arguments, number, out)?;
        timeline::print(&outcome, arguments.fault, runs, out);
        outcomes.push(outcome);
    }
    let summary = summary::Summary::new(arguments, &outcomes);
    summary.print(out);
    if arguments.json {
        println!("{}", serde_json::to_string(&summary)?);
    }
    let good = |outcome: &Outcome| outcome.result.is_ok() && outcome.overlaps.is_empty();
    Ok(outcomes.iter().all(good))
}

/// `500us`, `1ms`, `2s`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let nanos_per_unit = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return Err("write it as in 500us, 1ms or 2s".to_owned()),
    };
    let nanos = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(nanos_per_unit));
    match nanos {
        Some(nanos) if nanos > 0 => Ok(Duration::from_nanos(nanos)),
        _ => Err("it must be a positive number that is not absurdly large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500us"), Ok(Duration::from_micros(500)));
        assert_eq!(duration("3ms"), Ok(Duration::from_millis(3)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        for bad in ["", "3", "ms", "-1ms", "0ms", "1h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
