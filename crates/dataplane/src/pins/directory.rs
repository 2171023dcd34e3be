//! The pin directory of an instance: its creation, its required owner, and the lock against other
//! agents.
//!
//! A user who may write to the directory, or rename it, decides what becomes of the pins. So root
//! must own the directory, the root of all pins and the BPF file system's own directory. Any other
//! directory is refused, and nothing in it is touched.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use heartbeat_common::maps::PIN_ROOT;
use nix::{
    fcntl::{Flock, FlockArg},
    libc::{O_DIRECTORY, O_NOFOLLOW},
};

use super::{
    Pins,
    bpffs::{self, BPFFS},
};

/// The mode bits by which users other than the owner may write.
const WRITABLE: u32 = 0o022;
/// The mode bit of a directory in which no user may rename the files of others.
const STICKY: u32 = 0o1000;
/// Number of tries to make the directory while other instances remove the root of all pins.
const CREATE_TRIES: usize = 8;

/// The exclusive right to the pins of an instance.
#[derive(Debug)]
pub struct Claim {
    _dir: Flock<File>,
}

impl Pins {
    /// Opens the directory, and locks it against other agents if it exists. Changes nothing.
    ///
    /// `None` if the directory does not exist or cannot be opened: its creation reports the reason.
    pub(crate) fn read_claim(&self) -> Result<Option<Claim>> {
        if !bpffs::is_there()? || fs::symlink_metadata(self.dir()).is_err() {
            return Ok(None);
        }
        bpffs::must_last()?;
        self.claim_or_refuse().map(Some)
    }

    /// Makes the directory if [`Pins::read_claim`] found none (`held`), and mounts the BPF file
    /// system unless it is mounted. The claim locks the directory against other agents as long as
    /// it lives, even against an agent with its lock file elsewhere.
    pub(crate) fn claim(&self, held: Option<Claim>) -> Result<Claim> {
        if let Some(held) = held {
            self.create()?;
            return Ok(held);
        }
        bpffs::mount_for_good()?;
        refuse_foreign_parent(Path::new(BPFFS))?;
        self.create()?;
        self.claim_or_refuse()
    }

    fn claim_or_refuse(&self) -> Result<Claim> {
        self.claim_what_is_there()?.with_context(|| {
            format!(
                "another agent is using {}: stop it first, or give this one another `instance` in \
                 [cluster]",
                self.dir().display()
            )
        })
    }

    /// Locks an existing directory against other agents, wherever it is mounted. `None`: another
    /// agent holds the lock.
    pub fn claim_what_is_there(&self) -> Result<Option<Claim>> {
        refuse_foreign_parent(Path::new(BPFFS))?;
        open_private(Path::new(PIN_ROOT))?;
        let dir = open_private(self.dir())?;
        match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
            Ok(dir) => Ok(Some(Claim { _dir: dir })),
            Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => {
                Err(error).with_context(|| format!("could not lock {}", self.dir().display()))
            }
        }
    }

    fn create(&self) -> Result<()> {
        // The directories may exist already, with any mode that another program of root gave them.
        // Another process that removes the last instance removes the root too, perhaps just now. A
        // directory in which others may have put files is not taken over: opening it fails.
        let private = |dir: &Path| -> io::Result<bool> {
            match fs::DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
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
                private(self.dir())?;
            }
            Ok(())
        };
        let gone = |result: &io::Result<()>| {
            let kind = result.as_ref().map_err(io::Error::kind);
            kind == Err(io::ErrorKind::NotFound)
        };
        let made = (0..CREATE_TRIES)
            .map(|_| make())
            .find(|result| !gone(result));
        made.unwrap_or_else(make)
            .with_context(|| format!("could not make the pin directory {}", self.dir().display()))
    }
}

/// Opens a directory that only root may write to, and refuses any other.
fn open_private(dir: &Path) -> Result<File> {
    let show = dir.display();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_DIRECTORY)
        .open(dir)
        .map_err(|error| unusable(dir, error))?;
    let found = opened
        .metadata()
        .with_context(|| format!("could not look at {show}"))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    ensure!(
        is_private(owner, mode),
        "{show} belongs to user {owner} and has mode {mode:04o}, so users other than root may \
        change the pins there\n  check its content, then remove it or correct it: `chown root:root \
        {show}`, `chmod 0700 {show}`; and mount the BPF file system with mode=0700"
    );
    Ok(opened)
}

/// The reason why `dir` could not be opened.
fn unusable(dir: &Path, error: io::Error) -> Error {
    let show = dir.display();
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_symlink() => anyhow!(
            "{show} is a symbolic link of user {}, so its owner decides where programs are \
            pinned\n  check its target, then remove it: `rm {show}`",
            found.uid()
        ),
        Ok(found) if !found.is_dir() => anyhow!(
            "{show} is no directory (it belongs to user {} and has mode {:04o})\n  check its \
            content, then remove it: `rm {show}`",
            found.uid(),
            found.mode() & 0o7777
        ),
        _ => Error::new(error).context(format!("could not open the directory {show}")),
    }
}

const fn is_private(owner: u32, mode: u32) -> bool {
    owner == 0 && mode & WRITABLE == 0
}

/// Refuses a directory in which users other than root can rename root's files.
fn refuse_foreign_parent(dir: &Path) -> Result<()> {
    let show = dir.display();
    let found = fs::metadata(dir).with_context(|| format!("could not look at {show}"))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    ensure!(
        keeps_what_is_in_it(owner, mode),
        "{show} belongs to user {owner} and has mode {mode:04o}, so users other than root may move \
        the pins\n  correct it: `chown root:root {show}`, `chmod 0700 {show}`; or mount the BPF \
        file system there with mode=0700"
    );
    Ok(())
}

const fn keeps_what_is_in_it(owner: u32, mode: u32) -> bool {
    owner == 0 && (mode & WRITABLE == 0 || mode & STICKY != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::fs::{chown, symlink},
        path::PathBuf,
    };

    /// A directory of this test, removed with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("heartbeat-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn set(&self, owner: u32, mode: u32) -> &Path {
            chown(&self.0, Some(owner), None).unwrap();
            fs::set_permissions(&self.0, Permissions::from_mode(mode)).unwrap();
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Only root can give a directory to root.
    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn directory_that_only_root_may_write_to_is_opened_and_any_other_refused() {
        if !is_root() {
            return;
        }
        let dir = Scratch::new("pins");
        for mode in [0o700, 0o750, 0o755, 0o500] {
            assert!(open_private(dir.set(0, mode)).is_ok(), "{mode:04o}");
        }
        let refused = [(65_534, 0o700), (65_534, 0o1755), (0, 0o720), (0, 0o1777)];
        for (owner, mode) in refused {
            let path = dir.set(owner, mode);
            let message = open_private(path).unwrap_err().to_string();
            let show = path.display();
            for part in [
                format!("{show} belongs to user {owner} and has mode {mode:04o}"),
                format!("`chown root:root {show}`, `chmod 0700 {show}`"),
            ] {
                assert!(message.contains(&part), "{message}");
            }
        }
    }

    #[test]
    fn symbolic_link_and_file_in_the_place_of_a_directory_are_refused_with_the_remedy() {
        let dir = Scratch::new("link");
        let [link, file, missing] = ["link", "file", "missing"].map(|name| dir.0.join(name));
        symlink("/", &link).unwrap();
        fs::write(&file, "").unwrap();
        let message = |path: &Path| format!("{:#}", open_private(path).unwrap_err());
        let of_link = message(&link);
        assert!(of_link.contains("is a symbolic link of user "), "{of_link}");
        assert!(
            of_link.contains(&format!("`rm {}`", link.display())),
            "{of_link}"
        );
        let of_file = message(&file);
        assert!(of_file.contains("is no directory"), "{of_file}");
        let of_missing = message(&missing);
        assert!(
            of_missing.contains("could not open the directory")
                && of_missing.contains("No such file"),
            "{of_missing}"
        );
    }

    #[test]
    fn parent_in_which_others_can_rename_is_refused() {
        if !is_root() {
            return;
        }
        let dir = Scratch::new("parent");
        for mode in [0o700, 0o755, 0o1777] {
            assert!(
                refuse_foreign_parent(dir.set(0, mode)).is_ok(),
                "{mode:04o}"
            );
        }
        for (owner, mode) in [(65_534, 0o700), (65_534, 0o1777), (0, 0o777), (0, 0o770)] {
            let message = refuse_foreign_parent(dir.set(owner, mode)).unwrap_err();
            let message = message.to_string();
            let named = format!("belongs to user {owner} and has mode {mode:04o}");
            assert!(
                message.contains(&named) && message.contains("chmod 0700"),
                "{message}"
            );
        }
    }
}
