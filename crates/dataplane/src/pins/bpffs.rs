//! The BPF file system of the pins of programs, links and maps.
//!
//! A pin keeps the guard in place after the death of its agent. A BPF file system in a private
//! mount namespace, as containers, `unshare --mount` and `ip netns exec` have, goes with the last
//! process in that namespace, while the addresses stay on the host's interfaces. So only a file
//! system that the host itself has mounted is accepted.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_sys::{
    host::mounts::{self, Mount},
    process::namespace::sees_all_processes,
};
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        stat::{major, minor},
        statfs::{BPF_FS_MAGIC, statfs},
    },
};

pub(super) const BPFFS: &str = "/sys/fs/bpf";

/// Mounts the BPF file system unless it is mounted.
pub fn mount_bpffs() -> Result<()> {
    ensure_mounted().map(drop)
}

/// Mounts the BPF file system unless it is mounted, and checks that it outlives this process. On
/// failure nothing stays mounted.
pub(crate) fn mount_for_good() -> Result<()> {
    let mounted = ensure_mounted()?;
    let lasts = outlives(mounted);
    if lasts.is_err() && mounted {
        umount2(BPFFS, MntFlags::MNT_DETACH)
            .with_context(|| format!("could not unmount {BPFFS} again"))?;
    }
    lasts
}

/// Checks that the mounted BPF file system outlives this process.
pub(crate) fn must_last() -> Result<()> {
    outlives(false)
}

/// Returns whether this call mounted it.
fn ensure_mounted() -> Result<bool> {
    if is_there()? {
        return Ok(false);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("no BPF file system at {BPFFS}, and only root can mount it: run as root");
    }
    // Two processes at the same time would each mount a file system, and the pins of one of them
    // would be hidden. A process that opened the directory before another mounted over it waits
    // here, and finds the file system mounted.
    let below = File::open(BPFFS).with_context(|| format!("could not open {BPFFS}"))?;
    let _alone = Flock::lock(below, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("could not lock {BPFFS}"))?;
    if is_there()? {
        return Ok(false);
    }
    mount(
        Some("bpf"),
        BPFFS,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .with_context(|| format!("could not mount the BPF file system at {BPFFS}"))?;
    let (major, minor) = device(Path::new(BPFFS)).unwrap_or_default();
    log::info!("mounted the BPF file system at {BPFFS} (device {major}:{minor})");
    Ok(true)
}

/// Whether a BPF file system is mounted.
pub(crate) fn is_there() -> Result<bool> {
    let kind = statfs(BPFFS).with_context(|| format!("{BPFFS} is missing: is sysfs mounted?"))?;
    Ok(kind.filesystem_type() == BPF_FS_MAGIC)
}

fn device(path: &Path) -> Result<(u32, u32)> {
    let device = fs::metadata(path)
        .with_context(|| format!("could not look at {}", path.display()))?
        .dev();
    Ok((u32::try_from(major(device))?, u32::try_from(minor(device))?))
}

/// Checks that the host's first process has the same file system. `mounted`: this process has just
/// mounted it.
fn outlives(mounted: bool) -> Result<()> {
    let device = device(Path::new(BPFFS))?;
    match judge(
        device,
        mounted,
        sees_all_processes()?,
        mounts::of_init().ok().as_deref(),
    ) {
        Verdict::Lasts => Ok(()),
        Verdict::Unknown => {
            log::warn!(
                "this agent has a pid namespace of its own, so it cannot check whether the BPF \
                file system at {BPFFS} is the host's: if it is not, the guard goes when the \
                container ends, and addresses stay; share the host's pid namespace with the \
                container for the check"
            );
            Ok(())
        }
        Verdict::Private => bail!(
            "the BPF file system at {BPFFS} is private to this mount namespace: when the last \
            process in here ends, the guard would go with it, and the addresses would stay on \
            their interfaces for two nodes to serve\n  start heartbeat with the host's BPF file \
            system: mount it on the host at boot (`mount -t bpf bpf {BPFFS}`), pass it to a \
            container (`--pid host --volume {BPFFS}:{BPFFS}`), and use `nsenter --net=…` in place \
            of `ip netns exec`"
        ),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Lasts,
    /// The other holders of the file system are not visible.
    Unknown,
    Private,
}

/// `device` is the device of the file system. `sees_host` is true if process 1 is the host's.
/// `theirs` is the list of mounts of process 1, if it can be read.
fn judge(device: (u32, u32), mounted: bool, sees_host: bool, theirs: Option<&[Mount]>) -> Verdict {
    let same = |mount: &Mount| mount.kind == "bpf" && mount.device == device;
    match theirs {
        Some(theirs) if sees_host && theirs.iter().any(same) => Verdict::Lasts,
        // Process 1 is in the same container. A file system that it had before may be the host's.
        Some(theirs) if !sees_host && !mounted && theirs.iter().any(same) => Verdict::Unknown,
        _ => Verdict::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_system_lasts_where_the_hosts_first_process_has_it() {
        let mount = |kind: &str, minor| Mount {
            device: (0, minor),
            root: "/".into(),
            point: BPFFS.into(),
            kind: kind.to_owned(),
        };
        let theirs = [mount("sysfs", 20), mount("bpf", 30)];
        let judge =
            |minor, mounted, sees_host, theirs| judge((0, minor), mounted, sees_host, theirs);
        // The file system is inherited, bound, propagated, or mounted just now where the host sees
        // it.
        assert_eq!(judge(30, false, true, Some(&theirs[..])), Verdict::Lasts);
        assert_eq!(judge(30, true, true, Some(&theirs[..])), Verdict::Lasts);
        // Another superblock, or the same number on a file system of another kind.
        assert_eq!(judge(31, false, true, Some(&theirs[..])), Verdict::Private);
        assert_eq!(judge(20, false, true, Some(&theirs[..])), Verdict::Private);
        assert_eq!(judge(30, false, true, None), Verdict::Private);
        // Process 1 is the container's.
        assert_eq!(judge(30, false, false, Some(&theirs[..])), Verdict::Unknown);
        assert_eq!(judge(30, true, false, Some(&theirs[..])), Verdict::Private);
        assert_eq!(judge(31, false, false, Some(&theirs[..])), Verdict::Private);
    }
}
