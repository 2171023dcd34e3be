//! The control groups that agents of the rig leave behind when a daemon outlives them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The places of agents' control groups, by the mount of the hierarchy.
const ROOTS: [&str; 2] = [
    "/sys/fs/cgroup/unified/heartbeat",
    "/sys/fs/cgroup/heartbeat",
];

/// Removes the empty control groups of the instances whose names are `wanted`. Returns whether none
/// of these instances has one left.
pub(crate) fn remove(wanted: impl Fn(&str) -> bool) -> bool {
    let mut gone = true;
    for root in ROOTS.map(Path::new) {
        for group in instances(root, &wanted) {
            gone &= remove_if_empty(&group);
        }
        // Other instances may still have control groups here.
        let _ = fs::remove_dir(root);
    }
    gone
}

/// Kills all processes in the control groups of the instances whose names are `wanted`.
pub(crate) fn kill(wanted: impl Fn(&str) -> bool) {
    for root in ROOTS.map(Path::new) {
        for group in instances(root, &wanted) {
            // A control group that is gone has no such file.
            let _ = fs::write(group.join("cgroup.kill"), "1");
        }
    }
}

fn instances(root: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let is_wanted = |group: &PathBuf| {
        let name = group.file_name().and_then(|name| name.to_str());
        name.is_some_and(&wanted)
    };
    below(root).into_iter().filter(is_wanted).collect()
}

fn below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn remove_if_empty(group: &Path) -> bool {
    for inner in below(group) {
        remove_if_empty(&inner);
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}
