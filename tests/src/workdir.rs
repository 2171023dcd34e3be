//! The state of the rig outside of its namespaces: a work directory, and the pins of its agents.
//!
//! Both carry the rig's process id in their names. At its start a rig removes only those of ended
//! processes.

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::maps::PIN_ROOT;

use crate::{control_groups, wait_until};

/// The longest time until a killed process is gone.
const PATIENCE: Duration = Duration::from_millis(200);
const DIR_PREFIX: &str = "heartbeat-rig-";
/// The prefix of directories that stay, unlike those that were left behind.
const KEPT_PREFIX: &str = "heartbeat-logs-";
const INSTANCE_PREFIX: &str = "hbrig-";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The directory of a cluster, removed on drop.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    tag: String,
    keep: bool,
}

impl WorkDir {
    /// Makes a directory that only this user can enter. With `keep` it stays.
    pub fn new(keep: bool) -> Result<Self> {
        let tag = format!(
            "{}-{}",
            process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let prefix = if keep { KEPT_PREFIX } else { DIR_PREFIX };
        let path = env::temp_dir().join(format!("{prefix}{tag}"));
        make_dir(&path)?;
        Ok(Self { path, tag, keep })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The instance name of a node's agent: pins live in one tree for all namespaces.
    pub fn instance(&self, node: &str) -> String {
        format!("{INSTANCE_PREFIX}{}-{node}", self.tag)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if !self.keep {
            complain(&self.path, fs::remove_dir_all(&self.path));
        }
    }
}

/// Makes a directory with mode 0700; it must not exist.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

/// The pins of one agent. A killed agent leaves them; they are removed on drop.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
}

impl Pins {
    pub fn new(instance: &str) -> Self {
        Self {
            path: Path::new(PIN_ROOT).join(instance),
        }
    }

    /// The name of the instance.
    pub fn instance(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The directory, which exists while pins do.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        complain(&self.path, fs::remove_dir_all(&self.path));
        leave_no_root();
        // The processes of the instance have been killed, and the kernel may need a moment to reap
        // them.
        let instance = self.path.file_name().and_then(|name| name.to_str());
        let _ = wait_until(PATIENCE, "the instance's control groups are empty", || {
            Ok(control_groups::remove(|name| Some(name) == instance))
        });
    }
}

/// Removes the directory above all pins if it is empty, as agents do that stop in order.
fn leave_no_root() {
    let _ = fs::remove_dir(PIN_ROOT);
}

/// Removes work directories, pins and control groups of rigs whose process is gone.
pub fn sweep() {
    control_groups::remove(|name| {
        let owner = owner(name, INSTANCE_PREFIX);
        owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
    for (parent, prefix) in [
        (env::temp_dir(), DIR_PREFIX),
        (PathBuf::from(PIN_ROOT), INSTANCE_PREFIX),
    ] {
        let Ok(entries) = fs::read_dir(&parent) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| owner(name, prefix));
            let dead = owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
            // Only directories are removed, never anything behind a symbolic link.
            if dead && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                complain(&entry.path(), fs::remove_dir_all(entry.path()));
            }
        }
    }
    leave_no_root();
}

/// The process id in a name such as `hbrig-123-0-a`.
fn owner(name: &str, prefix: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.split('-').next()?.parse().ok()
}

/// Prints an error of the clean-up, which goes on.
fn complain(path: &Path, result: io::Result<()>) {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!(
                "cannot remove {}: {error}; please remove it",
                path.display()
            );
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn only_our_own_names_have_an_owner() {
        assert_eq!(owner("hbrig-123-0-a", "hbrig-"), Some(123));
        assert_eq!(owner("hbrig-a", "hbrig-"), None);
        assert_eq!(owner("default", "hbrig-"), None);
    }
}
