//! The mount point of the control group hierarchy of version 2.
//!
//! Distributions mount the hierarchy at `/sys/fs/cgroup`, or at `/sys/fs/cgroup/unified` beside
//! version 1. On other hosts it is mounted at a path of our own: one hierarchy is the same
//! everywhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};

use super::mounts::{self, Mount};

/// The mount point of our own, for a host where the hierarchy is not mounted.
const OWN: &str = "/run/heartbeat/cgroup2";
/// The kernel's name of the file system.
const KIND: &str = "cgroup2";

/// Returns the root of the hierarchy, and mounts it first if necessary.
pub fn mount_point() -> Result<PathBuf> {
    if let Some(found) = find()? {
        return Ok(found);
    }
    mount_own()?;
    find()?.with_context(|| format!("the cgroup2 file system that was mounted at {OWN} has gone"))
}

/// The root of the hierarchy, if it is mounted anywhere.
pub fn find() -> Result<Option<PathBuf>> {
    let mounts = mounts::own().context("could not read /proc/self/mountinfo")?;
    Ok(choose(&mounts, Path::is_dir))
}

/// Whether `root` is the root of the host's whole hierarchy. A process in a cgroup namespace sees a
/// part of the hierarchy as if it were the whole.
pub fn is_whole(root: &Path) -> bool {
    // Every cgroup but the first has this file (Documentation/admin-guide/cgroup-v2.rst).
    !root.join("cgroup.events").exists()
}

/// Returns a reachable mount of the hierarchy's root. The last of several mounts at one path hides
/// the others.
fn choose(mounts: &[Mount], can_be_reached: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let is_top = |mount: &&Mount| {
        let mut same = mounts.iter().filter(|other| other.point == mount.point);
        same.next_back().is_some_and(|last| last == *mount)
    };
    let found = mounts
        .iter()
        .filter(|mount| mount.kind == KIND && mount.root == Path::new("/"))
        .filter(is_top)
        .find(|mount| can_be_reached(&mount.point))?;
    Some(found.point.clone())
}

fn mount_own() -> Result<()> {
    let failed = || {
        format!(
            "no cgroup2 file system is mounted, and it could not be mounted at {OWN}; mount it at \
            boot: `mount -t cgroup2 none /sys/fs/cgroup`, or let systemd do it"
        )
    };
    fs::create_dir_all(OWN).with_context(failed)?;
    mount(
        Some(KIND),
        OWN,
        Some(KIND),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        None::<&str>,
    )
    .with_context(failed)?;
    log::info!("mounted the cgroup2 file system at {OWN}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, point: &str, kind: &str, minor: u32) -> Mount {
        Mount {
            device: (0, minor),
            root: root.into(),
            point: point.into(),
            kind: kind.to_owned(),
        }
    }

    fn chosen(mounts: &[Mount]) -> Option<PathBuf> {
        choose(mounts, |_| true)
    }

    #[test]
    fn hierarchy_is_found_alone_and_beside_version_1() {
        let alone = [mount("/", "/sys/fs/cgroup", "cgroup2", 30)];
        assert_eq!(chosen(&alone), Some("/sys/fs/cgroup".into()));
        let hybrid = [
            mount("/", "/sys/fs/cgroup", "tmpfs", 28),
            mount("/", "/sys/fs/cgroup/cpu", "cgroup", 29),
            mount("/", "/sys/fs/cgroup/unified", "cgroup2", 38),
        ];
        assert_eq!(chosen(&hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(chosen(&hybrid[..2]), None);
    }

    #[test]
    fn part_of_the_hierarchy_is_not_taken_for_its_root() {
        let mounts = [
            mount("/a.slice", "/mnt/part", "cgroup2", 38),
            mount("/", "/mnt/all", "cgroup2", 38),
        ];
        assert_eq!(chosen(&mounts), Some("/mnt/all".into()));
    }

    #[test]
    fn mount_that_is_hidden_or_out_of_reach_is_not_chosen() {
        let mounts = [
            mount("/", "/hidden", "cgroup2", 38),
            mount("/", "/hidden", "tmpfs", 39),
            mount("/", "/away", "cgroup2", 38),
            mount("/", "/here", "cgroup2", 38),
        ];
        let found = choose(&mounts, |point| point != Path::new("/away"));
        assert_eq!(found, Some("/here".into()));
    }
}
