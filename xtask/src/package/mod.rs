//! `cargo xtask package`: makes a .deb by cargo-deb and an .rpm by cargo-generate-rpm. Their
//! contents are listed in `heartbeat-user/Cargo.toml`; `dist/package` has the files that only
//! packages have.

mod root_system;
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    cargo::{self, Profile},
    cli::PackageOptions,
    launch::Built,
    process,
    workspace::Workspace,
};

/// The package of the workspace whose manifest describes the packages.
const MANIFEST_OF: &str = "heartbeat-user";

/// A program of crates.io that makes packages.
struct Tool {
    name: &'static str,
    /// The version that this project's packages are made with.
    version: &'static str,
}

const CARGO_DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
};
const CARGO_GENERATE_RPM: Tool = Tool {
    name: "cargo-generate-rpm",
    version: "0.21.1",
};

impl Tool {
    /// Finds the program below `target/tools`, or builds it there.
    fn install(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version } = self;
        let root = workspace.tools().join(format!("{name}-{version}"));
        let program = root.join("bin").join(name);
        if !process::is_executable(&program) {
            eprintln!("package: building {name} {version} (some minutes)");
            cargo::install(workspace, name, version, &root, |_| ()).with_context(|| {
                format!("{name} is needed: see whether crates.io can be reached")
            })?;
        }
        Ok(program)
    }
}

/// `cargo xtask package`.
pub(crate) fn run(workspace: &Workspace, options: &PackageOptions) -> Result<()> {
    let built = Built::new(workspace, Profile::Release)?;
    stage::fill(workspace, &built.heartbeat)?;
    if options.test {
        let packages = [1, 2].map(|revision| deb(workspace, revision));
        let [first, next] = packages;
        return root_system::test(workspace, &first?, &next?);
    }
    let both = options.deb == options.rpm;
    if options.deb || both {
        let path = deb(workspace, options.revision)?;
        let mut query = Command::new("dpkg-deb");
        let installed = process::output(query.arg("-f").arg(&path).arg("Installed-Size"));
        let installed = installed.map_or_else(
            |_| String::new(),
            |kib| format!(", installed {} KiB", kib.trim()),
        );
        println!("{}: {} KiB{installed}", path.display(), kib(&path)?);
    }
    if options.rpm || both {
        let path = rpm(workspace, options.revision)?;
        println!("{}: {} KiB", path.display(), kib(&path)?);
    }
    Ok(())
}

/// Makes the .deb.
fn deb(workspace: &Workspace, revision: u32) -> Result<PathBuf> {
    let tool = CARGO_DEB.install(workspace)?;
    let directory = emptied(workspace, "deb", revision)?;
    let mut command = packager(workspace, &tool);
    command
        // The build is done, and symbols stay in the binary for its backtraces.
        .args(["deb", "--no-build", "--no-strip", "--package", MANIFEST_OF])
        .args(["--deb-revision", &revision.to_string()])
        .arg("--output")
        .arg(&directory);
    process::run(&mut command).context("could not make the .deb")?;
    only_file(&directory)
}

/// Makes the .rpm.
fn rpm(workspace: &Workspace, revision: u32) -> Result<PathBuf> {
    let tool = CARGO_GENERATE_RPM.install(workspace)?;
    let directory = emptied(workspace, "rpm", revision)?;
    let mut command = packager(workspace, &tool);
    command
        .args(["generate-rpm", "--package", MANIFEST_OF])
        .args(["--set-metadata", &format!("release = \"{revision}\"")])
        .arg("--output")
        .arg(&directory);
    process::run(&mut command).context("could not make the .rpm")?;
    only_file(&directory)
}

/// A call of `tool` in the workspace.
fn packager(workspace: &Workspace, tool: &Path) -> Command {
    let mut command = Command::new(tool);
    command
        .current_dir(&workspace.root)
        .env("CARGO", &workspace.cargo)
        .env("CARGO_TARGET_DIR", workspace.target());
    command
}

/// An empty directory for the package of one kind and revision.
fn emptied(workspace: &Workspace, kind: &str, revision: u32) -> Result<PathBuf> {
    let directory = workspace.package().join(kind).join(revision.to_string());
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("could not make {}", directory.display()))?;
    Ok(directory)
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(directory)?.next();
    let entry = entry.with_context(|| format!("there is no package in {}", directory.display()))?;
    Ok(entry?.path())
}

/// The size of a file in KiB, rounded up.
fn kib(path: &Path) -> Result<u64> {
    Ok(path.metadata()?.len().div_ceil(1024))
}

#[cfg(test)]
mod tests;
