//! `heartbeat-soak`: a cluster under faults that come by chance, for minutes.
//!
//! `cargo xtask soak` builds everything and runs this as root.

use std::{
    io::{Write as _, stderr, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use heartbeat_tests::{
    interrupt::exit_code,
    soak::{self, Plan},
    sys::boottime,
};

/// A week.
const MAX_MINUTES: f64 = 7.0 * 24.0 * 60.0;

/// Let faults happen to a cluster in network namespaces on this host, and see that what must hold
/// does.
#[derive(Debug, Parser)]
#[command(name = "heartbeat-soak", version)]
struct Arguments {
    /// Duration; may be a fraction
    #[arg(long, value_name = "N", default_value = "10", value_parser = minutes)]
    minutes: Duration,
    /// Seed of the faults: the same number gives the same faults; random if absent
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print one JSON object last on stdout, and everything else on stderr
    #[arg(long)]
    json: bool,
    /// Leave configuration files and agents' logs behind
    #[arg(long)]
    keep_logs: bool,
}

fn main() -> ExitCode {
    exit_code("soak", run(&Arguments::parse()), say)
}

/// True if all held.
fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(|| boottime().as_nanos());
    say(&format!("seed {seed}"));
    let report = soak::run(&Plan {
        length: arguments.minutes,
        seed,
        keep_logs: arguments.keep_logs,
    })?;
    let text = if arguments.json {
        say(&report.to_string());
        serde_json::to_string(&report)?
    } else {
        report.to_string()
    };
    // A reader that went away (`| head`) is no error.
    let _ = writeln!(stdout(), "{text}");
    Ok(report.is_good())
}

fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

fn minutes(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= MAX_MINUTES => {
            Ok(Duration::from_secs_f64(minutes * 60.0))
        }
        _ => Err(format!("it must be a number above 0, up to {MAX_MINUTES}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
