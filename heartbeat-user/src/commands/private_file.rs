//! Files for root only: a key, and a configuration whose parameters may be passwords. Each is
//! written whole or not at all, and is never readable by others, not even for an instant.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Writes a file that was not there before.
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
        // Ours, and broken. If it cannot be removed, the first error still tells more.
        let _ = fs::remove_file(path);
    }
    written
}

/// Puts a new file in the place of what may be at `path`, as one step.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = OsString::from(".");
    temporary.push(path.file_name().unwrap_or_default());
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // One can only be left of a process that died with our id.
    let _ = fs::remove_file(&temporary);
    create(&temporary, text)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}
