//! The BPF file system that programs, links and maps are pinned to.
//!
//! A pin is what keeps a guard in place when its agent has died. One in a mount namespace of its
//! own, as a container, `unshare --mount` and `ip netns exec` have, goes with the last process in
//! there, while the addresses stay on the host's interfaces. So only a file system that the host
//! itself has mounted will do.

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

/// Mounts the BPF file system where nobody has yet.
pub fn mount_bpffs() -> Result<()> {
    ensure_mounted().map(drop)
}

/// The BPF file system, mounted where nobody has yet, if it outlives this process: else it is
/// refused, and nothing stays mounted.
pub(crate) fn mount_for_good() -> Result<()> {
    let mounted = ensure_mounted()?;
    let lasts = outlives(mounted);
    if lasts.is_err() && mounted {
        umount2(BPFFS, MntFlags::MNT_DETACH)
            .with_context(|| format!("could not unmount {BPFFS} again"))?;
    }
    lasts
}

/// That the BPF file system which is mounted outlives this process.
pub(crate) fn must_last() -> Result<()> {
    outlives(false)
}

/// Returns whether it was this that mounted it.
fn ensure_mounted() -> Result<bool> {
    if is_there()? {
        return Ok(false);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("no BPF file system at {BPFFS}, and only root can mount it: run as root");
    }
    // Two at once would each mount one, and the pins of one of them would be hidden. Who opened the
    // directory before another mounted over it waits here and finds it done.
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

/// Whether anybody has mounted one yet.
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

/// That the host's first process sees the same file system; `mounted` says that this process has
/// just mounted it.
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
                "this agent has a pid namespace of its own, so it cannot see whether the BPF file \
                system at {BPFFS} is the host's: if it is not, the guard goes when the container \
                ends, and addresses stay; let the container share the host's pid namespace to have \
                it checked"
            );
            Ok(())
        }
        Verdict::Private => bail!(
            "the BPF file system at {BPFFS} is private to this mount namespace: when the last \
            process in here ends, the guard would go with it, and the addresses would stay on \
            their interfaces for two nodes to serve\n  start heartbeat where the host's is seen: \
            have the host mount it at boot (`mount -t bpf bpf {BPFFS}`), give a container that one \
            (`--pid host --volume {BPFFS}:{BPFFS}`), and use `nsenter --net=…` in place of `ip \
            netns exec`"
        ),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Lasts,
    /// Who else has it cannot be seen.
    Unknown,
    Private,
}

/// `device` is that of the file system, `sees_host` says whether process 1 is the host's, `theirs`
/// is what that one has mounted, if it can be read.
fn judge(device: (u32, u32), mounted: bool, sees_host: bool, theirs: Option<&[Mount]>) -> Verdict {
    let same = |mount: &Mount| mount.kind == "bpf" && mount.device == device;
    match theirs {
        Some(theirs) if sees_host && theirs.iter().any(same) => Verdict::Lasts,
        // Process 1 is in the same container. What it had before may be the host's.
        Some(theirs) if !sees_host && !mounted && theirs.iter().any(same) => Verdict::Unknown,
        _ => Verdict::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_lasts_where_the_hosts_first_process_has_it() {
        let mount = |kind: &str, minor| Mount {
            device: (0, minor),
            root: "/".into(),
            point: BPFFS.into(),
            kind: kind.to_owned(),
        };
        let theirs = [mount("sysfs", 20), mount("bpf", 30)];
        let judge =
            |minor, mounted, sees_host, theirs| judge((0, minor), mounted, sees_host, theirs);
        // Inherited, bound, propagated, or mounted just now where the host sees it.
        assert_eq!(judge(30, false, true, Some(&theirs[..])), Verdict::Lasts);
        assert_eq!(judge(30, true, true, Some(&theirs[..])), Verdict::Lasts);
        // Another superblock, also with the number of a file system of another kind.
        assert_eq!(judge(31, false, true, Some(&theirs[..])), Verdict::Private);
        assert_eq!(judge(20, false, true, Some(&theirs[..])), Verdict::Private);
        assert_eq!(judge(30, false, true, None), Verdict::Private);
        // Process 1 is the container's.
        assert_eq!(judge(30, false, false, Some(&theirs[..])), Verdict::Unknown);
        assert_eq!(judge(30, true, false, Some(&theirs[..])), Verdict::Private);
        assert_eq!(judge(31, false, false, Some(&theirs[..])), Verdict::Private);
    }
}
