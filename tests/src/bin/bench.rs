//! `heartbeat-bench`: what heartbeats, leases and the guard cost the kernel, and how long a
//! heartbeat and a lease take; with `--ladder`, what clusters do under load.
//!
//! `cargo xtask bench` builds everything and runs this as root.

use std::{
    fmt::Display,
    io::{Write as _, stderr, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use heartbeat_tests::{
    bench::{
        self, Options,
        children::Role,
        ladder::{self, OURS, PEERS, Rung, Work},
    },
    interrupt::exit_code,
};
use serde::Serialize;

/// The length of a phase, and of a rung, without `--seconds`.
const PHASE: Duration = Duration::from_secs(5);
const RUNG: Duration = Duration::from_secs(8);
/// A smoke test: enough to see that everything can be measured.
const QUICK: Duration = Duration::from_millis(600);
/// The longest useful measurement is an hour; the children end by themselves after it.
const MAX_SECONDS: f64 = 3_600.0;

/// Measure what heartbeats, leases and the guard cost, and how long they take, in network
/// namespaces on this host.
#[derive(Debug, Parser)]
#[command(name = "heartbeat-bench", version)]
struct Arguments {
    /// The duration of each of the eight phases (default 5), or of each rung of the ladder without
    /// SCHED_FIFO tasks (default 8)
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Only see that everything can be measured; the figures mean little
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Run clusters under load that grows rung by rung instead, up to SCHED_FIFO 99 tasks on all
    /// CPUs: gaps of the service, false downs, lost leases. The machine must have nothing else to
    /// do
    #[arg(long)]
    ladder: bool,
    /// A rung of the ladder; may be repeated. All by default
    #[arg(long, value_enum, value_name = "RUNG", requires = "ladder")]
    rung: Vec<Rung>,
    /// Let other products climb the ladder, too: keepalived and FRR's bfdd, each at its fastest
    /// setting
    #[arg(long, requires = "ladder")]
    peers: bool,
    /// A contender on the ladder by its key, instead; may be repeated. Another product needs
    /// `--peers` as well
    #[arg(long, value_name = "KEY", requires = "ladder")]
    contender: Vec<String>,
    /// Print one JSON object last on stdout, and everything else on stderr
    #[arg(long)]
    json: bool,
    /// The task of this child process
    #[arg(long, value_enum, hide = true, requires = "limit_ms")]
    role: Option<Role>,
    /// The latest end of the child
    #[arg(long, hide = true)]
    limit_ms: Option<u64>,
    /// The order of a stressor, as JSON
    #[arg(long, hide = true, value_parser = Work::parse)]
    stress: Option<Work>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_code("benchmark", run(arguments), say)
}

/// Returns whether all was measured.
fn run(arguments: Arguments) -> Result<bool> {
    if let Some(work) = arguments.stress {
        return work.play().map(|()| true);
    }
    if let (Some(role), Some(limit)) = (arguments.role, arguments.limit_ms) {
        return role.play(Duration::from_millis(limit)).map(|()| true);
    }
    let length = |default| match arguments.quick {
        true => QUICK,
        false => arguments.seconds.unwrap_or(default),
    };
    if arguments.ladder {
        let ladder = ladder::run(&arguments.climb(length(RUNG)))?;
        print(arguments.json, &ladder)?;
        return Ok(ladder.is_complete());
    }
    let phase = length(PHASE);
    print(arguments.json, &bench::run(Options { phase })?)?;
    Ok(true)
}

impl Arguments {
    /// The rungs and contenders of the ladder.
    fn climb(&self, length: Duration) -> ladder::Options {
        let rungs = match self.rung.as_slice() {
            [] => Rung::ALL.to_vec(),
            some => some.to_vec(),
        };
        let peers = if self.peers { &PEERS[..] } else { &[] };
        let contenders = match self.contender.as_slice() {
            [] => OURS
                .iter()
                .chain(peers)
                .map(|key| (*key).to_owned())
                .collect(),
            some => some.to_vec(),
        };
        ladder::Options {
            length,
            rungs,
            contenders,
        }
    }
}

/// Prints the report as JSON on stdout and as text on stderr, or as text on stdout. A reader that
/// went away (`| head`) is no error.
fn print(json: bool, report: &(impl Display + Serialize)) -> Result<()> {
    let text = if json {
        say(&report.to_string());
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
    fn rungs_are_named_as_in_the_report() {
        let line = "heartbeat-bench --ladder --rung cpu-io-vm --rung fifo-99";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(arguments.rung, [Rung::CpuIoVm, Rung::Fifo99]);
        let names = serde_json::to_string(&arguments.rung).unwrap();
        assert_eq!(names, r#"["cpu-io-vm","fifo-99"]"#);
        assert!(Arguments::try_parse_from(["heartbeat-bench", "--rung", "idle"]).is_err());
    }

    #[test]
    fn peers_come_after_our_own_settings() {
        let contenders = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            arguments.climb(RUNG).contenders
        };
        assert_eq!(contenders("heartbeat-bench --ladder"), OURS);
        let all = contenders("heartbeat-bench --ladder --peers");
        assert_eq!(
            (&all[..2], &all[2..]),
            (&OURS.map(str::to_owned)[..], &PEERS.map(str::to_owned)[..])
        );
        let chosen = "heartbeat-bench --ladder --peers --contender etcd-2s";
        assert_eq!(contenders(chosen), ["etcd-2s"]);
    }

    #[test]
    fn seconds_are_positive_and_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "NaN", "inf", "1e9", "5s", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
