//! The lock that prevents a second agent of the same instance.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};

/// A held lock. The kernel releases it when the process dies; dropping it also removes the file.
#[derive(Debug)]
pub struct InstanceLock {
    path: PathBuf,
    _file: Flock<File>,
}

impl InstanceLock {
    /// Returns the process that holds the lock at `path`, if any. The holder takes the lock before
    /// it answers requests, and keeps it for a while afterwards.
    pub fn holder(path: &Path) -> Option<String> {
        let file = OpenOptions::new().read(true).open(path).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Err((mut file, nix::Error::EWOULDBLOCK)) => Some(read_holder(&mut file)),
            _ => None,
        }
    }

    /// Takes the lock at `path`. The error names the holder.
    pub fn take(path: &Path, instance: &str) -> Result<Self> {
        if let Some(dir) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(dir)
                .map_err(|error| {
                    denied(
                        error,
                        format!("could not make the directory {}", dir.display()),
                    )
                })?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| {
                denied(
                    error,
                    format!("could not open the lock file {}", path.display()),
                )
            })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // The last holder removed the file after this process had opened it: the next attempt
            // creates another.
            Ok(file) if !is_at(&file, path) => Self::take(path, instance),
            Ok(mut file) => {
                // The number is only information for other processes. A failed write does no harm:
                // a disk may be full.
                let _ = file
                    .set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self {
                    path: path.to_owned(),
                    _file: file,
                })
            }
            Err((mut file, nix::Error::EWOULDBLOCK)) => {
                bail!(
                    "instance `{instance}` is in use by process {}: stop it first, or give this \
                     one another `instance` in [cluster]",
                    read_holder(&mut file)
                )
            }
            Err((_, error)) => {
                Err(error).with_context(|| format!("could not lock {}", path.display()))
            }
        }
    }
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the number of the process that wrote the lock file.
fn read_holder(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    match holder.trim() {
        "" => "unknown".to_owned(),
        holder => holder.to_owned(),
    }
}

/// Returns the error of a failed creation, with the remedy if it needs root.
fn denied(error: io::Error, what: String) -> anyhow::Error {
    match error.kind() {
        ErrorKind::PermissionDenied => anyhow!("{what}: {error}\n  run as root"),
        _ => anyhow::Error::new(error).context(what),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let ours = file.metadata().map(|ours| (ours.dev(), ours.ino()));
    let there = fs::metadata(path).map(|there| (there.dev(), there.ino()));
    matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
}
