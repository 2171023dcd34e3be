//! `heartbeat-demo`: watch a virtual address move when its owner dies.
//!
//! Three nodes, a switch and a client, each in a network namespace of its own. The client asks the
//! virtual address every 250 us while the owner dies; the demo shows what happened when.
//! `cargo xtask demo` builds everything and runs this as root.

mod article;
mod outcome;
mod output;
mod run;
mod scenario;
mod summary;
mod timeline;

use std::{process::ExitCode, time::Duration};

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
    /// How long the right to serve lasts without renewal
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration)]
    lease: Duration,
    /// How the owner dies
    #[arg(long, value_enum, default_value_t = Fault::Cut)]
    fault: Fault,
    /// Show another story instead: that of docs/start/article.md, or one in which nobody dies but a
    /// node is of less use than it looks
    #[arg(long, value_enum, conflicts_with_all = ["fault", "runs"])]
    scenario: Option<Scenario>,
    /// How often, each time with a fresh cluster
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
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
    if let Some(scenario) = arguments.scenario {
        let shown = match scenario {
            Scenario::Article => article::show(arguments, out),
            scenario => scenario::show(scenario, arguments, out),
        };
        return shown.map(|()| true);
    }
    let mut outcomes = Vec::new();
    for number in 1..=arguments.runs {
        let outcome = run::run(arguments, number, out)?;
        timeline::print(&outcome, arguments.fault, arguments.runs, out);
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
