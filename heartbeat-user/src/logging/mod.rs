//! The log: lines on standard error, for a terminal or a file, or entries in journald.
//!
//! The reader of the log may be slow, hang or be gone, and its disk may be full. The agent waits
//! for none of these: a wait would be a stall, and would cost the leases. Lines that cannot be
//! written are lost, and the next written line gives their number.

mod entries;
mod foreign;
mod queue;
pub(crate) mod rate_limit;
mod stream;
mod throttle;

use std::{
    fmt::Arguments,
    io::{self, Stderr, stderr},
    path::Path,
    sync::{
        LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use heartbeat_control::{protocol::EventKind, severity::Severity};
use heartbeat_sys::host::journal::{self, Journal};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::{errno::Errno, sys::stat::fstat};

use crate::{clock, wall_clock};
use entries::Entries;
pub use foreign::{clean, one_line, one_line_of, page};
use queue::{Queue, Target as _};
use stream::Stream;
use throttle::{Summary, Throttle};

/// Environment variable with the level: error, warn, notice, info (the default), debug or trace.
pub const LEVEL_VARIABLE: &str = "HEARTBEAT_LOG";
/// Time to write the last lines when the process ends. A reader that takes longer counts as gone.
const FAREWELL: Duration = Duration::from_secs(1);

/// The target of notices, for which `log` has no level.
pub const NOTICE: &str = "notice";
/// The name of the level between warnings and informational lines.
const NOTICE_LEVEL: &str = "notice";

/// Whether standard error is journald's. It takes the priority from the line's start (sd-daemon(3))
/// and adds the time itself.
static JOURNAL: LazyLock<bool> = LazyLock::new(|| {
    let said = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    fstat(stderr()).is_ok_and(|file| entries::is_stream(&said, (file.st_dev, file.st_ino)))
});
/// Whether lines go to journald as entries with fields, and not to standard error.
static ENTRIES: AtomicBool = AtomicBool::new(false);
/// The stream of lines while no thread writes them.
static DIRECT: LazyLock<Mutex<Stream<Stderr>>> =
    LazyLock::new(|| Mutex::new(Stream::new(stderr())));
static QUEUE: OnceLock<Queue> = OnceLock::new();
static THROTTLE: LazyLock<Mutex<Throttle>> = LazyLock::new(Mutex::default);
/// The least severity that is written.
static LEAST: OnceLock<Severity> = OnceLock::new();
/// Whether lines begin with the time since boot.
static BOOTTIME: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
struct StandardError;

/// Makes standard error the log. Must be called once, at the start.
pub fn start() {
    let wanted = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
    let (level, least) = match wanted.parse() {
        _ if wanted.eq_ignore_ascii_case(NOTICE_LEVEL) => (LevelFilter::Info, Severity::Notice),
        Ok(level) => (level, Severity::Debug),
        Err(_) => (LevelFilter::Info, Severity::Debug),
    };
    if log::set_boxed_logger(Box::new(StandardError)).is_ok() {
        log::set_max_level(level);
        let _ = LEAST.set(least);
    }
}

/// Makes lines begin with seconds since boot instead of the wall-clock time.
pub fn show_boottime() {
    BOOTTIME.store(true, Relaxed);
}

/// Writes an event, unless too many like it were written recently.
pub fn event(severity: Severity, event: &EventKind) {
    let level = match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warn,
        Severity::Notice | Severity::Info => Level::Info,
        Severity::Debug => Level::Debug,
    };
    if level <= log::max_level() {
        let origin = (event.name(), event.variant());
        let (subject, fields) = (event.subject(), event.journal_fields());
        admit(
            origin,
            Some(subject),
            severity,
            (&event.to_string(), &fields),
        );
    }
}

/// Writes a notice: a line about an operator's action, or of interest to one.
macro_rules! notice {
    ($($argument:tt)+) => { log::info!(target: $crate::logging::NOTICE, $($argument)+) };
}
pub(crate) use notice;

/// Writes a line of a resource's program. Such lines are alike, and their number is the program's
/// choice.
pub fn forward(resource: &str, text: &str) {
    let severity = Severity::Info;
    if Level::Info <= log::max_level() && !is_too_slight(severity) {
        let fields = [("HEARTBEAT_RESOURCE", resource)];
        let message = format_args!("resource {resource}: {text}");
        emit(line(severity, message, &fields));
    }
}

/// Writes how many lines were suppressed in windows that have ended. Must be called from time to
/// time.
pub fn report_suppressed() {
    let said = throttle().overdue(clock::now(), false);
    said.into_iter().for_each(write_summary);
}

/// Whether journald reads the log.
pub fn is_journal() -> bool {
    *JOURNAL
}

/// Limits each later wait for a line's writing to a moment.
pub fn limit_wait() {
    direct().limit_wait();
}

/// Starts a thread that writes the lines, so that no later line causes a wait. The thread has the
/// rights of its creator.
pub fn start_thread() {
    let mut so_far = std::mem::replace(&mut *direct(), Stream::new(stderr()));
    let socket = Path::new(journal::SOCKET);
    let journal = is_journal().then(|| Journal::connect(socket));
    let journal = journal.and_then(|journal| {
        let without = |error: &io::Error| {
            log::warn!("{}: {error}; log entries have no fields", socket.display());
        };
        journal.inspect_err(without).ok()
    });
    let has_fields = journal.is_some();
    let queue = match journal {
        Some(journal) => Queue::start(Entries::new(journal, *so_far.lost())),
        None => Queue::start(so_far.without_limit()),
    };
    match queue {
        Ok(queue) => {
            ENTRIES.store(has_fields, Relaxed);
            drop(QUEUE.set(queue));
        }
        // Without the thread lines are still written.
        Err(error) => log::warn!("could not start the thread that writes the log: {error}"),
    }
}

/// Waits until all lines so far are written, with a limit. Must be called before the process ends.
pub fn finish() {
    let said = throttle().overdue(clock::now(), true);
    said.into_iter().for_each(write_summary);
    if let Some(queue) = QUEUE.get() {
        queue.finish(FAREWELL);
    }
}

/// Writes a line outside the log, such as a command's error.
pub fn print(line: &str) {
    if ENTRIES.load(Relaxed) {
        return emit(entries::entry(line, Severity::Error.priority(), &[]));
    }
    emit((foreign::record(line, "") + "\n").into_bytes());
}

fn emit(line: Vec<u8>) {
    match QUEUE.get() {
        Some(queue) => queue.push(line),
        None => direct().write(&line),
    }
}

fn direct() -> MutexGuard<'static, Stream<Stderr>> {
    // After a panic at most one line is incomplete.
    DIRECT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let severity = match record.level() {
            Level::Error => Severity::Error,
            Level::Warn => Severity::Warning,
            Level::Info if record.target() == NOTICE => Severity::Notice,
            Level::Info => Severity::Info,
            Level::Debug | Level::Trace => Severity::Debug,
        };
        let file = record.file_static().unwrap_or_default();
        let origin = (file, record.line().unwrap_or_default());
        admit(origin, None, severity, (&record.args().to_string(), &[]));
    }

    fn flush(&self) {}
}

fn throttle() -> MutexGuard<'static, Throttle> {
    // The value is valid at any time.
    THROTTLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A field of an entry in the journal, and its value.
type Field<'a> = (&'a str, &'a str);

/// Writes `text` with its fields if it is severe enough, and unless too much like it was written
/// recently. Its subject is the part before its first colon, unless one is given.
fn admit(
    origin: throttle::Origin,
    subject: Option<&str>,
    severity: Severity,
    (text, fields): (&str, &[Field<'_>]),
) {
    if is_too_slight(severity) {
        return;
    }
    // The levels debug and trace have no limit.
    if severity < Severity::Debug {
        let subject = subject.unwrap_or_else(|| throttle::subject(text));
        let line = (severity, text);
        let (written, summary) = throttle().admit(origin, subject, line, clock::now());
        summary.into_iter().for_each(write_summary);
        if !written {
            return;
        }
    }
    emit(line(severity, format_args!("{text}"), fields));
}

fn is_too_slight(severity: Severity) -> bool {
    LEAST.get().is_some_and(|least| severity > *least)
}

fn write_summary((severity, text): Summary) {
    emit(line(severity, format_args!("{text}"), &[]));
}

fn line(severity: Severity, message: Arguments<'_>, fields: &[Field<'_>]) -> Vec<u8> {
    let message = message.to_string();
    if ENTRIES.load(Relaxed) {
        return entries::entry(&message, severity.priority(), fields);
    }
    if *JOURNAL {
        let priority = format!("<{}>", severity.priority());
        return (foreign::record(&message, &priority) + "\n").into_bytes();
    }
    let (message, name) = (foreign::record(&message, ""), severity.name());
    let line = if BOOTTIME.load(Relaxed) {
        format!("[{}] {name:<6} {message}\n", clock::now())
    } else {
        format!(
            "{} {name:<6} {message}\n",
            wall_clock::rfc3339(clock::wall())
        )
    };
    line.into_bytes()
}

/// Returns the line that replaces `lost` lines.
fn lost_lines(lost: u64, why: Errno) -> Vec<u8> {
    let why = match why {
        Errno::EAGAIN => "the reader did not take them".to_owned(),
        other => format!("the log could not be written: {other}"),
    };
    line(
        Severity::Warning,
        format_args!("{lost} lines of this log were lost here: {why}"),
        &[],
    )
}
