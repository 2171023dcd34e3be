//! Where an instance's programs, links and maps are pinned, and how they go away again.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use heartbeat_common::maps::PIN_ROOT;
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::LocalView;

const BPFFS: &str = "/sys/fs/bpf";

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

    /// Whether an agent ticks behind these pins. Takes as long as several of its ticks.
    pub fn in_use(&self) -> bool {
        let ticked = || {
            let map = MapData::from_pin(self.path("local")).ok()?;
            Some(LocalView::map(map.fd()).ok()?.read().reason_tick_at)
        };
        let before = ticked();
        std::thread::sleep(Duration::from_millis(200));
        before.is_some() && ticked() != before
    }

    /// Makes the directory, and mounts the BPF file system where nobody has yet.
    pub fn create(&self) -> Result<()> {
        mount_bpffs()?;
        for dir in [Path::new(PIN_ROOT), &self.dir] {
            // It may be there already, with whatever mode another program gave it.
            fs::create_dir_all(dir)
                .and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o700)))
                .with_context(|| format!("could not make the pin directory {}", dir.display()))?;
        }
        Ok(())
    }

    /// Removes all pins; links that nothing else holds are detached by it. False if there were none.
    pub fn remove(&self) -> Result<bool> {
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

fn mount_bpffs() -> Result<()> {
    let kind = statfs(BPFFS).with_context(|| format!("{BPFFS} is missing: is sysfs mounted?"))?;
    if kind.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("no BPF file system at {BPFFS}, and only root can mount it: run as root");
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
