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
        for group in instances(root, &wanted) {
            gone &= remove_if_empty(&group);
        }
        // Others may still have theirs.
        let _ = fs::remove_dir(root);
    }
    gone
}

/// Kills all processes in those of the instances whose names are `wanted`.
pub(crate) fn kill(wanted: impl Fn(&str) -> bool) {
    for root in ROOTS.map(Path::new) {
        for group in instances(root, &wanted) {
            // One that is gone has none.
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
