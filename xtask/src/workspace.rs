//! The paths of the sources and of the builds, from cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

#[derive(Debug)]
pub(crate) struct Workspace {
    pub root: PathBuf,
    /// The cargo that runs this process, which also builds the user crates.
    pub cargo: PathBuf,
    /// The directory for lasting files: tools.
    target: PathBuf,
    /// The directory for intermediate files. The same as `target` unless `build.build-dir` is
    /// configured.
    build: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let mut query = Command::new(&cargo);
        query.args(["metadata", "--no-deps", "--format-version", "1"]);
        // `cargo run` sets the variable; without it the working directory decides.
        if let Some(package) = env::var_os("CARGO_MANIFEST_DIR") {
            query
                .arg("--manifest-path")
                .arg(Path::new(&package).join("Cargo.toml"));
        }
        let metadata = process::output(&mut query)?;
        let metadata: Value =
            serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
        let directory = |name: &str| metadata[name].as_str().map(PathBuf::from);
        let required = |name: &str| {
            directory(name).with_context(|| format!("cargo metadata says nothing of {name}"))
        };
        let target = required("target_directory")?;
        Ok(Self {
            root: required("workspace_root")?,
            cargo,
            build: directory("build_directory").unwrap_or_else(|| target.clone()),
            target,
        })
    }

    /// The directory of programs for the builds; it lasts until `cargo clean`.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The directory of kernels and their tools; it lasts until `cargo clean`.
    pub(crate) fn vm(&self) -> PathBuf {
        self.target.join("vm")
    }

    /// The directory of packages and of the system that tests them.
    pub(crate) fn package(&self) -> PathBuf {
        self.target.join("package")
    }

    /// The directory of fuzzing builds and findings.
    pub(crate) fn fuzz(&self) -> PathBuf {
        self.target.join("fuzz")
    }

    /// The directory of the mutated copy of the tree, its builds and the results.
    pub(crate) fn mutants(&self) -> PathBuf {
        self.target.join("mutants")
    }

    /// Cargo's target directory for the BPF crate, apart from the user crates'.
    pub(crate) fn bpf_target(&self) -> PathBuf {
        self.build.join("bpf-build")
    }

    /// The directory of finished BPF objects. `crates/dataplane/build.rs` reads it, too.
    pub(crate) fn objects(&self) -> PathBuf {
        self.build.join("bpf")
    }

    /// Cargo's target directory for the user crates.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn fuzz_manifest(&self) -> PathBuf {
        self.root.join("fuzz/Cargo.toml")
    }

    pub(crate) fn bpf_manifest(&self) -> PathBuf {
        self.root.join("heartbeat-ebpf/Cargo.toml")
    }
}
