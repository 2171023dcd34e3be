//! Confines the calling thread, and all threads that it starts from then on. System calls that an
//! agent never makes fail, and so do writes outside a few directories.
//!
//! A restriction that the kernel lacks is left out, and the caller gets the reason. The confinement
//! never ends a process: a denied call fails with EPERM or EACCES.
//! `docs/adr/0039-the-agent-is-confined.md` has the reasons.

mod files;
mod system_calls;

use std::path::PathBuf;

/// The paths that stay writable.
#[derive(Clone, Debug, Default)]
pub struct Writable {
    /// Directories in which files, sockets and directories may be made, written and removed.
    pub directories: Vec<PathBuf>,
    /// Directories of which only empty subdirectories may be removed.
    pub parents: Vec<PathBuf>,
    /// Files that may be written.
    pub files: Vec<PathBuf>,
}

/// The restrictions that the kernel enforces from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Whether system calls are filtered, or the reason why not.
    pub system_calls: Result<(), String>,
    /// The version of Landlock's interface that restricts writes, or the reason why they are not
    /// restricted.
    pub files: Result<u32, String>,
}

/// Confines the calling thread. With `audit` the kernel's audit log names each denied system call.
pub fn confine(writable: &Writable, audit: bool) -> Confinement {
    let confinement = Confinement {
        files: files::restrict(writable),
        system_calls: system_calls::deny(audit),
    };
    match &confinement.system_calls {
        Ok(()) => log::info!("seccomp: on; the agent starts no program and changes no mount"),
        Err(why) => log::warn!("seccomp: not available: {why}; no system call is denied"),
    }
    match &confinement.files {
        Ok(version) => log::info!(
            "landlock: on (version {version}); the agent writes only to {}",
            shown(&writable.directories)
        ),
        Err(why) => log::warn!("landlock: not available: {why}; no write is denied"),
    }
    confinement
}

fn shown(directories: &[PathBuf]) -> String {
    let shown: Vec<_> = directories
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(", ")
}
