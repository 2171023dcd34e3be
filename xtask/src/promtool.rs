//! The promtool of the tests: the installed one, or that of the distribution's package, unpacked.
//!
//! The package is not installed: its installation would start a service on this machine.

use std::{ffi::OsString, path::PathBuf};

use anyhow::Result;

use crate::{
    setup::Verbosity,
    unpacked::{self, Store},
    workspace::Workspace,
};

const NAME: &str = "promtool";
/// The package with the program, which needs no library of another package.
const PACKAGE: &str = "prometheus";

/// Returns the program, and downloads it first if necessary.
pub(crate) fn provide(workspace: &Workspace, verbosity: Verbosity) -> Result<PathBuf> {
    unpacked::program(NAME, verbosity, || {
        let mut store = Store::new(workspace.tools());
        let root = store.ensure(PACKAGE, |_| Ok(vec![PACKAGE.to_owned()]))?;
        Ok(root.join("usr/bin").join(NAME))
    })
}

/// The variable that names the promtool for the programs of package `heartbeat-tests`.
pub(crate) fn variable(
    workspace: &Workspace,
    verbosity: Verbosity,
) -> Result<(&'static str, OsString)> {
    Ok(("HEARTBEAT_PROMTOOL", provide(workspace, verbosity)?.into()))
}
