//! The log: lines on standard error, as journald and a terminal like them.

use std::io::{IsTerminal as _, Write as _, stderr};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::clock;

/// Variable that sets the level: error, warn, info (the default), debug or trace.
pub const LEVEL_VARIABLE: &str = "HEARTBEAT_LOG";

#[derive(Debug)]
struct StandardError {
    /// journald takes the priority from the line's start (sd-daemon(3)) and adds the time itself.
    journal: bool,
}

/// Makes standard error the log. Call once, at the start.
pub fn start() {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !stderr().is_terminal();
    let level = std::env::var(LEVEL_VARIABLE)
        .ok()
        .and_then(|level| level.parse().ok());
    if log::set_boxed_logger(Box::new(StandardError { journal })).is_ok() {
        log::set_max_level(level.unwrap_or(LevelFilter::Info));
    }
}

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (level, message) = (record.level(), record.args());
        // A log that cannot be written is no reason to fail.
        let _ = if self.journal {
            writeln!(stderr(), "<{}>{message}", priority(level))
        } else {
            writeln!(stderr(), "[{}] {level:<5} {message}", clock::now())
        };
    }

    fn flush(&self) {}
}

/// syslog's numbers.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
