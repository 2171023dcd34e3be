//! Standard output for scripts and pipes.

use std::io::{ErrorKind, IsTerminal as _, Write as _, stdout};

use anyhow::{Context as _, Result};

use crate::{logging, wall_clock};

/// Clears the terminal.
pub(super) const CLEAR: &str = "\x1b[H\x1b[2J";
/// The terminal escapes that commands print: this one, and colours.
const ORDERS: [&str; 5] = [CLEAR, "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"];

/// Writes `text` without any other terminal escape: parts of it may come from a peer or a resource
/// agent. A closed pipe is no error: `Ok(false)`.
pub(super) fn print(text: &str) -> Result<bool> {
    let text = logging::page(text, if colours() { &ORDERS } else { &[] });
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("could not write to standard output"),
    }
}

/// Returns the columns that a table may take: those of the terminal, or of `COLUMNS`.
pub(super) fn width() -> usize {
    const USUAL: usize = 100;
    let told = std::env::var("COLUMNS").ok();
    let told = told.and_then(|columns| columns.parse().ok());
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    terminal
        .or(told)
        .filter(|width| *width > 0)
        .unwrap_or(USUAL)
}

/// Formats nanoseconds since 1970 as a wall-clock time: 2026-11-25T17:03:00Z.
pub(super) fn utc(unix_ns: u64) -> String {
    wall_clock::rfc3339_seconds(unix_ns).to_string()
}

/// Whether to print colours: on a terminal, unless `NO_COLOR` is set (no-color.org).
pub(super) fn colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
