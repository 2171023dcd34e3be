//! Where an instance's programs, links and maps are pinned, and how they go away again.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use heartbeat_common::maps::PIN_ROOT;
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::filter;

const BPFFS: &str = "/sys/fs/bpf";
/// How often others may take the root of all pins away while this instance makes its own.
const CREATE_TRIES: usize = 8;

/// The pin directory of one instance.
#[derive(Clone, Debug)]
pub struct Pins {
    dir: PathBuf,
}

impl Pins {
    pub fn of(instance: &str) -> Self {
        Self {
            dir: Path::new(PIN_ROOT).join(instance),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Opens a pinned map.
    pub(super) fn map(&self, name: &str) -> Result<MapData> {
        let path = self.path(name);
        MapData::from_pin(&path).with_context(|| format!("could not open {}", path.display()))
    }

    /// Makes the directory, mounts the BPF file system where nobody has yet, and keeps everybody else
    /// out of it for as long as the claim lives: also an agent whose lock file is elsewhere.
    pub fn claim(&self) -> Result<Claim> {
        self.create()?;
        let dir = File::open(&self.dir)
            .with_context(|| format!("could not open {}", self.dir.display()))?;
        match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
            Ok(dir) => Ok(Claim { _dir: dir }),
            Err((_, nix::Error::EWOULDBLOCK)) => bail!(
                "another agent is using {}: stop it first, or give this one another `instance` in \
                 [cluster]",
                self.dir.display()
            ),
            Err((_, error)) => {
                Err(error).with_context(|| format!("could not lock {}", self.dir.display()))
            }
        }
    }

    fn create(&self) -> Result<()> {
        mount_bpffs()?;
        // They may be there already, with whatever mode another program gave them. Who takes the last
        // instance away takes the root along, and that may be just now.
        let private = |dir: &Path| fs::set_permissions(dir, Permissions::from_mode(0o700));
        let make = || {
            fs::create_dir_all(&self.dir)?;
            private(Path::new(PIN_ROOT))?;
            private(&self.dir)
        };
        let gone = |result: &io::Result<()>| {
            let kind = result.as_ref().map_err(io::Error::kind);
            kind == Err(io::ErrorKind::NotFound)
        };
        let made = (0..CREATE_TRIES)
            .map(|_| make())
            .find(|result| !gone(result));
        made.unwrap_or_else(make)
            .with_context(|| format!("could not make the pin directory {}", self.dir.display()))
    }

    /// The names of all pins.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.dir)
            .with_context(|| format!("could not read {}", self.dir.display()))?;
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        entries.map(name).collect()
    }

    /// Removes all pins that `keep` does not name, and the filters that stand for pins.
    pub(super) fn remove_all_but(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        filter::remove_all_but(&self.dir, &keep)?;
        for name in self.names()? {
            if !keep(&name) {
                self.unpin(&name)?;
            }
        }
        Ok(())
    }

    /// Removes one pin.
    pub(super) fn unpin(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).with_context(|| format!("could not unpin {}", path.display()))
    }

    /// Removes all pins; links that nothing else holds are detached by it, and filters that stand for them
    /// removed. False if there were none.
    pub fn remove(&self) -> Result<bool> {
        filter::remove_all_but(&self.dir, |_| false)?;
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("could not read {}", self.dir.display()));
            }
        };
        for entry in entries {
            let path = entry
                .with_context(|| format!("could not read {}", self.dir.display()))?
                .path();
            fs::remove_file(&path)
                .with_context(|| format!("could not unpin {}", path.display()))?;
        }
        fs::remove_dir(&self.dir)
            .with_context(|| format!("could not remove {}", self.dir.display()))?;
        // Other instances may still have theirs.
        let _ = fs::remove_dir(PIN_ROOT);
        Ok(true)
    }
}

/// The pins of an instance belong to whoever holds this.
#[derive(Debug)]
pub struct Claim {
    _dir: Flock<File>,
}

/// The instances that have pins on this host.
pub fn instances() -> Vec<String> {
    let Ok(entries) = fs::read_dir(PIN_ROOT) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Mounts the BPF file system where nobody has yet.
pub fn mount_bpffs() -> Result<()> {
    if is_bpffs()? {
        return Ok(());
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
    if is_bpffs()? {
        return Ok(());
    }
    let source = Some("bpf");
    mount(
        source,
        BPFFS,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .with_context(|| format!("could not mount the BPF file system at {BPFFS}"))?;
    let device = fs::metadata(BPFFS)
        .map(|meta| meta.dev())
        .unwrap_or_default();
    log::info!("mounted the BPF file system at {BPFFS} (device {device})");
    Ok(())
}

fn is_bpffs() -> Result<bool> {
    let kind = statfs(BPFFS).with_context(|| format!("{BPFFS} is missing: is sysfs mounted?"))?;
    Ok(kind.filesystem_type() == BPF_FS_MAGIC)
}
