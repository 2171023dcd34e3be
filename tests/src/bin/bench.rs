//! `heartbeat-bench`: what heartbeats, leases and the guard cost the kernel, and how long a
//! heartbeat and a lease take.
//!
//! `cargo xtask bench` builds everything and runs this as root.

use std::{
    io::{Write as _, stderr, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use heartbeat_tests::{
    bench::{self, BenchReport, Options, children::Role},
    interrupt::exit_code,
};

/// A smoke test: enough to see that everything can be measured.
const QUICK: Duration = Duration::from_millis(600);
/// Nobody wants to measure for longer than an hour; the children end by themselves in time.
const MAX_SECONDS: f64 = 3_600.0;

/// Measure what heartbeats, leases and the guard cost, and how long they take, in network
/// namespaces on this host.
#[derive(Debug, Parser)]
#[command(name = "heartbeat-bench", version)]
struct Arguments {
    /// How long each of the eight phases measures
    #[arg(long, value_name = "N", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// Only see that everything can be measured; the figures mean little
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Print one JSON object last on stdout, and everything else on stderr
    #[arg(long)]
    json: bool,
    /// What this process is a child for
    #[arg(long, value_enum, hide = true, requires = "limit_ms")]
    role: Option<Role>,
    /// When the child ends at the latest
    #[arg(long, hide = true)]
    limit_ms: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_code("benchmark", run(&arguments).map(|()| true), say)
}

fn run(arguments: &Arguments) -> Result<()> {
    if let (Some(role), Some(limit)) = (arguments.role, arguments.limit_ms) {
        return role.play(Duration::from_millis(limit));
    }
    let phase = if arguments.quick {
        QUICK
    } else {
        arguments.seconds
    };
    let report = bench::run(Options { phase })?;
    if arguments.json {
        say(&report.to_string());
    }
    print(arguments.json, &report)
}

/// A reader that went away (`| head`) is no error.
fn print(json: bool, report: &BenchReport) -> Result<()> {
    let text = if json {
        serde_json::to_string(report)?
    } else {
        report.to_string()
    };
    let _ = writeln!(stdout(), "{}", text.trim_end());
    Ok(())
}

fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MAX_SECONDS => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!(
            "it must be a number above 0 and up to {MAX_SECONDS}"
        )),
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
    fn seconds_are_positive_and_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "NaN", "inf", "1e9", "5s", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
