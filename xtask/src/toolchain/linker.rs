//! bpf-linker: the linkers of this machine, and their LLVM versions.
//!
//! A linker works only for compilers whose LLVM is not newer than its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{cargo, process, workspace::Workspace};

/// The version that `setup` installs.
pub(crate) const VERSION: &str = "0.13.0";
/// The LLVM majors that this version can be built with, each a feature `llvm-N`.
pub(crate) const BUILDABLE: [u32; 3] = [21, 22, 23];

/// The directory of the linker that `setup` installed for `llvm`. Its name has both versions, so
/// that a system with another LLVM gets another linker.
pub(crate) fn own_root(workspace: &Workspace, llvm: u32) -> PathBuf {
    workspace
        .tools()
        .join(format!("bpf-linker-{VERSION}-llvm-{llvm}"))
}

/// A linker for compilers with `llvm`: our own, else one on PATH.
pub(crate) fn find(workspace: &Workspace, llvm: u32) -> Option<PathBuf> {
    BUILDABLE
        .iter()
        .filter(|version| **version >= llvm)
        .map(|version| own_root(workspace, *version).join("bin/bpf-linker"))
        .filter(|path| process::is_executable(path))
        .chain(process::find("bpf-linker"))
        .find(|path| llvm_of(path).is_ok_and(|version| version >= llvm))
}

/// Reads the linker's LLVM version. This fails too when its libraries are gone.
fn llvm_of(linker: &Path) -> Result<u32> {
    let said = process::output(Command::new(linker).args([
        "--target=bpfel",
        "--llvm-args=--version",
        "--output=/dev/null",
        "/dev/null",
    ]))?;
    parse_llvm_version(&said)
        .with_context(|| format!("{} does not tell its LLVM version", linker.display()))
}

fn parse_llvm_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("LLVM version ")?;
    version.split('.').next()?.trim().parse().ok()
}

/// The directory of the installed LLVM `major`, for building a linker with it.
pub(crate) fn llvm_prefix(major: u32) -> Option<PathBuf> {
    [
        // Debian and its relatives, Fedora.
        Some(PathBuf::from(format!(
            "/usr/lib/llvm-{major}/bin/llvm-config"
        ))),
        Some(PathBuf::from(format!(
            "/usr/lib64/llvm{major}/bin/llvm-config"
        ))),
        process::find(&format!("llvm-config-{major}")),
        process::find("llvm-config"),
    ]
    .into_iter()
    .flatten()
    .filter(|config| process::is_executable(config))
    .find_map(|config| {
        let version = process::output(Command::new(&config).arg("--version")).ok()?;
        let matches = version.split('.').next()?.trim().parse() == Ok(major);
        let prefix = process::output(Command::new(&config).arg("--prefix")).ok()?;
        matches.then(|| PathBuf::from(prefix.trim()))
    })
}

/// Builds the linker with the LLVM in `prefix`, by the user's own cargo.
pub(crate) fn install(workspace: &Workspace, llvm: u32, prefix: &Path) -> Result<()> {
    eprintln!("setup: building bpf-linker {VERSION} with LLVM {llvm} (a minute or so)");
    let root = own_root(workspace, llvm);
    let installed = cargo::install(workspace, "bpf-linker", VERSION, &root, |cargo| {
        cargo
            .arg("--no-default-features")
            .args(["--features", &format!("llvm-{llvm}")])
            .env("LLVM_PREFIX", prefix);
    });
    installed.context(
        "install bpf-linker by hand (https://github.com/aya-rs/bpf-linker) and put it on PATH",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_version_is_found_in_any_vendor_s_words() {
        assert_eq!(
            parse_llvm_version("Debian LLVM version 22.1.8\n  Optimized build.\n"),
            Some(22)
        );
        assert_eq!(
            parse_llvm_version("LLVM (http://llvm.org/):\n  LLVM version 23.0.0git\n"),
            Some(23)
        );
        assert_eq!(parse_llvm_version("bpf-linker 0.13.0"), None);
    }

    #[test]
    fn something_else_is_no_linker() {
        assert!(llvm_of(Path::new("/bin/echo")).is_err());
        assert!(llvm_of(Path::new("/bin/false")).is_err());
    }
}
