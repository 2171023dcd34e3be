//! The pins of an instance's programs, links and maps, and their removal.

mod bpffs;
pub(crate) mod directory;
pub(crate) mod link;
pub(crate) mod names;
pub(crate) mod origin;

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use heartbeat_common::maps::PIN_ROOT;

pub use bpffs::mount_bpffs;

use crate::attach::filter;

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
    pub(crate) fn map(&self, name: &str) -> Result<MapData> {
        let path = self.path(name);
        MapData::from_pin(&path).with_context(|| format!("could not open {}", path.display()))
    }

    /// The names of all pins.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.dir)
            .with_context(|| format!("could not read {}", self.dir.display()))?;
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        entries.map(name).collect()
    }

    /// Removes all pins that `keep` does not accept, and the filters that stand for pins.
    pub(crate) fn remove_all_but(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        filter::remove_all_but(&self.dir, &keep)?;
        for name in self.names()? {
            if !keep(&name) {
                self.unpin(&name)?;
            }
        }
        Ok(())
    }

    /// Removes one pin.
    pub(crate) fn unpin(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).with_context(|| format!("could not unpin {}", path.display()))
    }

    /// Removes all pins. The kernel then detaches links that nothing else holds, and filters that
    /// stand for links are removed. False if there were none.
    pub fn remove(&self) -> Result<bool> {
        filter::remove_all_but(&self.dir, |_| false)?;
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
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
        // Other instances may still have their pins there.
        let _ = fs::remove_dir(PIN_ROOT);
        Ok(true)
    }

    /// Removes the directory if it is empty.
    pub(crate) fn remove_if_empty(&self) {
        if fs::remove_dir(&self.dir).is_ok() {
            let _ = fs::remove_dir(PIN_ROOT);
        }
    }

    /// Removes all pins, and logs a failure, where no caller can handle it.
    pub(crate) fn remove_or_log(&self) {
        if let Err(error) = self.remove() {
            log::error!("could not remove the pins: {error:#}; `heartbeat unload` tries again");
        }
    }
}

/// The instances with pins on this host.
pub fn instances() -> Result<Vec<String>> {
    let entries = match fs::read_dir(PIN_ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!(
                "could not read {PIN_ROOT}: {error}\n  only root may see what is loaded: run as \
                 root"
            )
        }
        Err(error) => return Err(error).context(format!("could not read {PIN_ROOT}")),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}
