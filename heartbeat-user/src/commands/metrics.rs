//! `heartbeat metrics`: the agent's metrics as text, once.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_sys::files::atomic_file;

use super::output;
use crate::control::{
    client::Client,
    protocol::{Request, Response},
};

/// Writes the metrics of the agent at `socket` to `file`, or to standard output. A reader of the
/// file sees the old text or the new one, never a part.
pub fn run(socket: &Path, file: Option<&Path>) -> Result<()> {
    let text = ask(socket)?;
    match file {
        Some(file) => {
            replace(file, &text).with_context(|| format!("could not write {}", file.display()))
        }
        None => output::print(&text).map(drop),
    }
}

fn ask(socket: &Path) -> Result<String> {
    let request = Request::Metrics { openmetrics: false };
    match Client::connect(socket)?.ask(&request, Duration::ZERO)? {
        Response::Metrics { text } => Ok(text),
        other => bail!("unexpected answer from the agent: {other:?}"),
    }
}

/// Atomically replaces the file at `path`. Other users may read the file: the textfile collector
/// does not run as root.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The collector reads only names that end with `.prom`.
    let mut temporary = OsString::from(".");
    temporary.push(path.file_name().unwrap_or_default());
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // A leftover can only be that of a dead process with our process id.
    let _ = fs::remove_file(&temporary);
    let written = create(&temporary, text);
    if written.is_err() {
        // If its removal fails too, the first error still tells more.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    atomic_file::put(&temporary, path)
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
