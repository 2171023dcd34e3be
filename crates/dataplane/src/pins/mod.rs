//! Where an instance's programs, links and maps are pinned, and how they go away again.

mod bpffs;
pub(crate) mod link;
pub(crate) mod names;
pub(crate) mod origin;

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::MapData;
use heartbeat_common::maps::PIN_ROOT;
use nix::{
    fcntl::{Flock, FlockArg},
    libc::{O_DIRECTORY, O_NOFOLLOW},
};

pub use bpffs::mount_bpffs;

use crate::attach::filter;

/// Whoever else than the owner may write.
const WRITABLE: u32 = 0o022;
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
    pub(crate) fn map(&self, name: &str) -> Result<MapData> {
        let path = self.path(name);
        MapData::from_pin(&path).with_context(|| format!("could not open {}", path.display()))
    }

    /// Makes the directory, mounts the BPF file system where nobody has yet, and keeps everybody
    /// else out of it for as long as the claim lives: also an agent whose lock file is elsewhere.
    pub fn claim(&self) -> Result<Claim> {
        bpffs::mount_for_good()?;
        self.create()?;
        self.claim_what_is_there()
    }

    /// The same of a directory that is there already, wherever it is mounted.
    pub fn claim_what_is_there(&self) -> Result<Claim> {
        open_private(Path::new(PIN_ROOT))?;
        let dir = open_private(&self.dir)?;
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
        // They may be there already, with whatever mode another program of root's gave them. Who
        // takes the last instance away takes the root along, and that may be just now. What others
        // may have put things into is not made our own; that is refused when it is opened.
        let private = |dir: &Path| -> io::Result<bool> {
            match fs::DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let there = fs::symlink_metadata(dir)?;
            let is_private = there.is_dir() && is_private(there.uid(), there.mode());
            if is_private {
                fs::set_permissions(dir, Permissions::from_mode(0o700))?;
            }
            Ok(is_private)
        };
        let make = || {
            if private(Path::new(PIN_ROOT))? {
                private(&self.dir)?;
            }
            Ok(())
        };
        let gone = |result: &io::Result<()>| {
            let kind = result.as_ref().map_err(io::Error::kind);
            kind == Err(ErrorKind::NotFound)
        };
        let made = (0..CREATE_TRIES)
            .map(|_| make())
            .find(|result| !gone(result));
        made.unwrap_or_else(make)
            .with_context(|| format!("could not make the pin directory {}", self.dir.display()))
    }

    /// The names of all pins.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.dir)
            .with_context(|| format!("could not read {}", self.dir.display()))?;
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        entries.map(name).collect()
    }

    /// Removes all pins that `keep` does not name, and the filters that stand for pins.
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

    /// Removes all pins; links that nothing else holds are detached by it, and filters that stand
    /// for them removed. False if there were none.
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
        // Other instances may still have theirs.
        let _ = fs::remove_dir(PIN_ROOT);
        Ok(true)
    }

    /// The same where nobody can do anything about a failure.
    pub(crate) fn remove_or_tell(&self) {
        if let Err(error) = self.remove() {
            log::error!("could not remove the pins: {error:#}; `heartbeat unload` tries again");
        }
    }
}

/// Opens a directory that only root may write to, and refuses any other: whoever else can would
/// decide what becomes of the pins in it.
fn open_private(dir: &Path) -> Result<File> {
    let show = dir.display();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_DIRECTORY)
        .open(dir)
        .with_context(|| format!("could not open the directory {show}"))?;
    let found = opened
        .metadata()
        .with_context(|| format!("could not look at {show}"))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    ensure!(
        is_private(owner, mode),
        "{show} belongs to user {owner} and has mode {mode:04o}, so others than root may change \
        what is pinned there\n  see what is in it, then remove it or correct it: `chown root:root \
        {show}`, `chmod 0700 {show}`; and mount the BPF file system with mode=0700"
    );
    Ok(opened)
}

const fn is_private(owner: u32, mode: u32) -> bool {
    owner == 0 && mode & WRITABLE == 0
}

/// The pins of an instance belong to whoever holds this.
#[derive(Debug)]
pub struct Claim {
    _dir: Flock<File>,
}

/// The instances that have pins on this host.
pub fn instances() -> Result<Vec<String>> {
    let entries = match fs::read_dir(PIN_ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!(
                "could not read {PIN_ROOT}: {error}\n  only root may see what is loaded: run as root"
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
