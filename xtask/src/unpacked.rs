//! Debian's packages, unpacked below the target directory and not installed. No service of theirs
//! is started, and nothing outside the directory changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{apt::Apt, process, setup::Verbosity};

/// The directories of shared libraries in packages that are unpacked to `root`.
pub(crate) fn libraries(root: &Path) -> [PathBuf; 2] {
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["usr/lib", "lib"].map(|lib| root.join(lib).join(&triple))
}

/// Returns the program `name`: the installed one, or the one that `unpack` gives.
pub(crate) fn program(
    name: &str,
    verbosity: Verbosity,
    unpack: impl FnOnce() -> Result<PathBuf>,
) -> Result<PathBuf> {
    let program = process::find(name).map_or_else(unpack, Ok)?;
    if verbosity == Verbosity::Everything {
        println!("{name}: {}", program.display());
    }
    Ok(program)
}

/// Unpacked packages, a directory for each purpose.
pub(crate) struct Store {
    apt: Option<Apt>,
    directory: PathBuf,
}

impl Store {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            apt: Apt::find(),
            directory,
        }
    }

    /// The directory `name`, with the content of the packages that `choose` names.
    pub(crate) fn ensure(
        &mut self,
        name: &str,
        choose: impl FnOnce(&mut Apt) -> Result<Vec<String>>,
    ) -> Result<PathBuf> {
        let unpacked = self.directory.join(name);
        if unpacked.exists() {
            return Ok(unpacked);
        }
        let apt = self.apt.as_mut();
        let apt = apt.with_context(|| {
            format!("{name} comes from Debian's packages: this system has no apt")
        })?;
        let packages = choose(apt)?;
        // The directory gets its name only when it is complete.
        let partial = self.directory.join("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        let archives = partial.join("archives");
        fs::create_dir_all(&archives)
            .with_context(|| format!("could not create {}", archives.display()))?;
        // Nothing is missing where all packages are installed.
        if !packages.is_empty() {
            apt.download(&packages, &archives)?;
        }
        let root = partial.join("root");
        fs::create_dir_all(&root)?;
        for archive in fs::read_dir(&archives)? {
            let archive = archive?.path();
            process::run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&root))?;
        }
        fs::rename(&root, &unpacked)
            .with_context(|| format!("could not make {}", unpacked.display()))?;
        fs::remove_dir_all(&partial)?;
        Ok(unpacked)
    }
}
