//! The HAProxy of the tests: the installed one, or the distribution's package, unpacked.
//!
//! The package is not installed: its installation would start a service on this machine.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    setup::Verbosity,
    unpacked::{self, Store},
    workspace::Workspace,
};

const NAME: &str = "haproxy";

/// Returns the program, and downloads it first if necessary.
pub(crate) fn provide(workspace: &Workspace, verbosity: Verbosity) -> Result<PathBuf> {
    unpacked::program(NAME, verbosity, || unpack(workspace))
}

/// The variable that names the HAProxy for the programs of package `heartbeat-tests`.
pub(crate) fn variable(
    workspace: &Workspace,
    verbosity: Verbosity,
) -> Result<(&'static str, OsString)> {
    Ok(("HEARTBEAT_HAPROXY", provide(workspace, verbosity)?.into()))
}

fn unpack(workspace: &Workspace) -> Result<PathBuf> {
    let mut store = Store::new(workspace.tools());
    let root = store.ensure(NAME, |apt| apt.with_missing(&[NAME]))?;
    let launcher = root.join(NAME);
    if !launcher.exists() {
        write_launcher(&root, &launcher)
            .with_context(|| format!("could not write {}", launcher.display()))?;
    }
    Ok(launcher)
}

/// Writes a script that starts HAProxy with the path of its libraries.
fn write_launcher(root: &Path, launcher: &Path) -> Result<()> {
    let libraries = unpacked::libraries(root).map(|path| path.display().to_string());
    let program = root.join("usr/sbin").join(NAME);
    let text = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        libraries.join(":"),
        program.display()
    );
    // The file gets its name only when it is executable.
    let partial = launcher.with_extension("partial");
    fs::write(&partial, text)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    Ok(fs::rename(partial, launcher)?)
}
