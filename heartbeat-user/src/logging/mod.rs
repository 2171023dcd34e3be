//! The log: lines on standard error, as journald and a terminal like them.
//!
//! Whoever reads them may be slow, hang, or be gone, and the disk that they go to may be full. The agent waits for none
//! of that: it would stand still, and give up what it serves, for the sake of a line. Lines that cannot be
//! written are lost, and counted where the next one can.

mod foreign;
mod queue;
mod stream;

use std::{
    fmt::Arguments,
    io::{IsTerminal as _, Stderr, stderr},
    sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::errno::Errno;

use crate::clock;
pub use foreign::{clean, one_line, one_line_of, page};
use queue::Queue;
use stream::Stream;

/// Variable that sets the level: error, warn, info (the default), debug or trace.
pub const LEVEL_VARIABLE: &str = "HEARTBEAT_LOG";
/// How long the last lines may take when the process ends. A reader that takes longer is not there.
const FAREWELL: Duration = Duration::from_secs(1);

/// journald takes the priority from the line's start (sd-daemon(3)) and adds the time itself.
static JOURNAL: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("JOURNAL_STREAM").is_some() && !stderr().is_terminal());
/// Where lines go as long as there is no thread that writes them.
static DIRECT: LazyLock<Mutex<Stream<Stderr>>> =
    LazyLock::new(|| Mutex::new(Stream::new(stderr())));
static QUEUE: OnceLock<Queue> = OnceLock::new();

#[derive(Debug)]
struct StandardError;

/// Makes standard error the log. Call once, at the start.
pub fn start() {
    let level = std::env::var(LEVEL_VARIABLE)
        .ok()
        .and_then(|level| level.parse().ok());
    if log::set_boxed_logger(Box::new(StandardError)).is_ok() {
        log::set_max_level(level.unwrap_or(LevelFilter::Info));
    }
}

/// Whether journald reads the log.
pub fn is_journal() -> bool {
    *JOURNAL
}

/// From here on nobody waits for a line longer than a moment.
pub fn hurry() {
    direct().hurry();
}

/// From here on nobody waits for a line at all: a thread of its own writes them. It has the rights of the thread that
/// calls this.
pub fn write_aside() {
    let so_far = std::mem::replace(&mut *direct(), Stream::new(stderr()));
    match Queue::start(so_far.at_leisure()) {
        Ok(queue) => drop(QUEUE.set(queue)),
        // They are written all the same.
        Err(error) => log::warn!("could not start the thread that writes the log: {error}"),
    }
}

/// Waits until all lines so far are written, though not for ever. To be called before the process ends.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.finish(FAREWELL);
    }
}

/// Writes a line that is no part of the log, such as the last words of a command.
pub fn say(line: &str) {
    emit(foreign::record(line, "") + "\n");
}

fn emit(line: String) {
    match QUEUE.get() {
        Some(queue) => queue.push(line),
        None => direct().write(&line),
    }
}

fn direct() -> MutexGuard<'static, Stream<Stderr>> {
    // What somebody panicked over is a line at most.
    DIRECT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        emit(line(record.level(), *record.args()));
    }

    fn flush(&self) {}
}

fn line(level: Level, message: Arguments<'_>) -> String {
    if *JOURNAL {
        let priority = format!("<{}>", priority(level));
        foreign::record(&message.to_string(), &priority) + "\n"
    } else {
        let message = foreign::record(&message.to_string(), "");
        format!("[{}] {level:<5} {message}\n", clock::now())
    }
}

/// Stands in the place of `lost` lines.
fn lost_lines(lost: u64, why: Errno) -> String {
    let why = match why {
        Errno::EAGAIN => "whoever reads standard error did not take them".to_owned(),
        other => format!("standard error could not be written: {other}"),
    };
    line(
        Level::Warn,
        format_args!("{lost} lines of this log were lost here: {why}"),
    )
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
