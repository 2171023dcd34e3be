//! The BPF toolchain: a Rust compiler with the library's sources, and a bpf-linker whose LLVM can
//! read that compiler's output.
//!
//! This module only finds and describes the toolchain; `setup` installs it.

pub(crate) mod compiler;
pub(crate) mod linker;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use compiler::Compiler;

use crate::workspace::Workspace;

#[derive(Debug)]
pub(crate) struct Toolchain {
    pub compiler: Compiler,
    pub linker: PathBuf,
}

/// The name of the BPF target on this machine.
const TARGET: &str = if cfg!(target_endian = "big") {
    "bpfeb-unknown-none"
} else {
    "bpfel-unknown-none"
};

/// Variables that would change the BPF compiler: rustup's choice, which `cargo run` passes on, and
/// settings for the user crates.
const FOREIGN: [&str; 6] = [
    "CARGO_BUILD_TARGET",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

impl Toolchain {
    /// `program` (cargo, or one of its subcommands' programs) running `subcommand` on the BPF
    /// crate.
    pub(crate) fn cargo(&self, program: &Path, subcommand: &str, workspace: &Workspace) -> Command {
        let flags = [
            // The kernel needs BTF, which the linker makes from debug information.
            "-Cdebuginfo=2".to_owned(),
            format!("-Clinker={}", self.linker.display()),
            "-Clink-arg=--btf".to_owned(),
        ];
        let mut command = Command::new(program);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .arg(subcommand)
            .args(["-Zbuild-std=core", "--release", "--target", TARGET])
            .arg("--manifest-path")
            .arg(workspace.bpf_manifest())
            .arg("--target-dir")
            .arg(workspace.bpf_target())
            .current_dir(&workspace.root)
            .env("CARGO", &self.compiler.cargo)
            .env("RUSTC", &self.compiler.rustc)
            // -Z build-std, with a stable compiler.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command
    }
}
