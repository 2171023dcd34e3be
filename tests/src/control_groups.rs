//! The control groups that agents of the rig leave where a daemon outlived them: one below another for each instance.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where agents make theirs, by how the hierarchy is mounted.
const ROOTS: [&str; 2] = [
    "/sys/fs/cgroup/unified/heartbeat",
    "/sys/fs/cgroup/heartbeat",
];

/// Removes those without processes of the instances whose names are `wanted`. Says whether none of these is left.
pub(crate) fn remove(wanted: impl Fn(&str) -> bool) -> bool {
    let mut gone = true;
    for root in ROOTS.map(Path::new) {
        let is_wanted = |group: &PathBuf| {
            let name = group.file_name().and_then(|name| name.to_str());
            name.is_some_and(&wanted)
        };
        for group in below(root).iter().filter(|group| is_wanted(group)) {
            gone &= remove_if_empty(group);
        }
        // Others may still have theirs.
        let _ = fs::remove_dir(root);
    }
    gone
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
