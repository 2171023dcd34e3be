//! Files for root only: a key, or a configuration with passwords in its parameters. Each file is
//! written whole or not at all, and is never readable by others, not even for an instant.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use heartbeat_sys::files::atomic_file;

/// Writes a new file; an existing one is an error.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // The file is ours and incomplete. If its removal fails too, the first error still tells
        // more.
        let _ = fs::remove_file(path);
    }
    written
}

/// Atomically replaces the file at `path`, if there is one.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = OsString::from(".");
    temporary.push(path.file_name().unwrap_or_default());
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // A leftover can only be that of a dead process with our process id.
    let _ = fs::remove_file(&temporary);
    create(&temporary, text)?;
    atomic_file::put(&temporary, path)
}
