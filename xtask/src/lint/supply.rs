//! The dependencies of all three workspaces: licences, sources and versions, by cargo-deny and
//! `deny.toml`.
//!
//! Advisories are not checked: a new one would fail a commit that did not cause it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{cargo, process, workspace::Workspace};

/// The cargo-deny that this project is checked with.
const VERSION: &str = "0.20.2";

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let deny = installed(workspace)?;
    let manifests = [
        workspace.root.join("Cargo.toml"),
        workspace.bpf_manifest(),
        workspace.fuzz_manifest(),
    ];
    let mut failed = 0;
    for manifest in &manifests {
        failed += usize::from(process::run(&mut query(workspace, &deny, manifest)).is_err());
    }
    ensure!(failed == 0, "{failed} to mend; they are above");
    Ok(())
}

/// The check of one workspace.
fn query(workspace: &Workspace, deny: &Path, manifest: &Path) -> Command {
    let mut command = Command::new(deny);
    command
        .args(["--log-level", "error", "--locked", "--config"])
        .arg(workspace.root.join("deny.toml"))
        .arg("--manifest-path")
        .arg(manifest)
        .args([
            "check",
            "--hide-inclusion-graph",
            "bans",
            "licenses",
            "sources",
        ])
        .current_dir(&workspace.root);
    command
}

/// The path of cargo-deny, which is built below `target/tools` where it is missing.
fn installed(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.tools().join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if process::is_executable(&program) {
        return Ok(program);
    }
    eprintln!("lint: building cargo-deny {VERSION} (three minutes or so)");
    cargo::install(workspace, "cargo-deny", VERSION, &root, |_| ())
        .context("lint needs cargo-deny: see whether crates.io can be reached")?;
    Ok(program)
}
