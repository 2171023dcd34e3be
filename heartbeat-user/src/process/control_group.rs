//! Control groups of the unified hierarchy: groups of processes that are ended as a whole.
//!
//! A process cannot leave its group by itself, and its children are born into it. So the processes
//! of a program are known, whatever way it started them.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use nix::unistd::Pid;

/// A control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group(PathBuf);

impl Group {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Creates the group, and its parents.
    pub(super) fn make(path: PathBuf) -> io::Result<Self> {
        // Another process may remove an empty parent at the same moment.
        fs::create_dir_all(&path).or_else(|_| fs::create_dir_all(&path))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the file to which a process writes 0 to join the group.
    pub(super) fn entrance(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .open(self.0.join("cgroup.procs"))
    }

    /// Kills all processes of the group and its descendants: no fork escapes.
    pub(super) fn kill(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")
    }

    /// Whether a process lives in the group or a descendant.
    pub(super) fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.0.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// Returns the processes in the group, without those of its descendants.
    pub(super) fn processes(&self) -> Vec<Pid> {
        let listed = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        let numbers = listed.lines().filter_map(|line| line.parse().ok());
        numbers.map(Pid::from_raw).collect()
    }

    /// Removes empty child groups, then the group itself if it is empty.
    pub(super) fn remove_if_empty(&self) {
        for below in self.below() {
            below.remove_if_empty();
        }
        // The removal fails if a process lives in the group.
        let _ = fs::remove_dir(&self.0);
    }

    /// Returns the child groups.
    pub(super) fn below(&self) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let entries = entries.flatten();
        let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups.map(|entry| Self(entry.path())).collect()
    }
}
