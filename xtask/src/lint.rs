//! `cargo xtask lint`: rustfmt and clippy, warnings denied. Every step runs even if one fails.
//!
//! The kernel programs are linted apart: together with the user crates cargo would unify features
//! and compile std for BPF.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{
    cargo, process,
    setup::{self, Report},
    workspace::Workspace,
};

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: [Step; 6] = [
    ("format of the user crates", format_user),
    ("format of the kernel programs", format_bpf),
    ("format of the fuzz targets", format_fuzz),
    ("clippy on the user crates", clippy_user),
    ("clippy on the kernel programs", clippy_bpf),
    ("clippy on the fuzz targets", clippy_fuzz),
];

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for (name, step) in STEPS {
        match step(workspace) {
            Ok(()) => eprintln!("lint: {name}: good"),
            Err(error) => {
                eprintln!("lint: {name}: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn format_user(workspace: &Workspace) -> Result<()> {
    has_component(workspace, "fmt", "rustfmt")?;
    process::run_shown(cargo::command(workspace).args(["fmt", "--all", "--check"]))
}

fn format_bpf(workspace: &Workspace) -> Result<()> {
    has_component(workspace, "fmt", "rustfmt")?;
    let mut fmt = cargo::command(workspace);
    fmt.args(["fmt", "--check", "--manifest-path"])
        .arg(workspace.bpf_manifest());
    process::run_shown(&mut fmt)
}

fn format_fuzz(workspace: &Workspace) -> Result<()> {
    has_component(workspace, "fmt", "rustfmt")?;
    let mut fmt = cargo::command(workspace);
    fmt.args(["fmt", "--check", "--manifest-path"])
        .arg(workspace.fuzz_manifest());
    process::run_shown(&mut fmt)
}

fn clippy_user(workspace: &Workspace) -> Result<()> {
    has_component(workspace, "clippy", "clippy")?;
    let mut clippy = cargo::command(workspace);
    clippy.args(["clippy", "--workspace", "--all-targets"]);
    if !process::watched() {
        clippy.arg("--quiet");
    }
    process::run_shown(clippy.args(["--", "-D", "warnings"]))
}

/// With the compiler that builds them, for the target that they are built for.
fn clippy_bpf(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::toolchain(workspace, Report::Changes)?;
    // By its own path: `cargo clippy` would take rustup's, of another release.
    let program = setup::clippy(&toolchain.compiler)?;
    let mut clippy = toolchain.cargo(&program, "clippy", workspace);
    if !process::watched() {
        clippy.arg("--quiet");
    }
    process::run_shown(clippy.args(["--", "-D", "warnings"]))
}

/// In the target directory of the user crates, which has most of it already.
fn clippy_fuzz(workspace: &Workspace) -> Result<()> {
    let mut clippy = cargo::command(workspace);
    clippy
        .args(["clippy", "--manifest-path"])
        .arg(workspace.fuzz_manifest())
        .arg("--target-dir")
        .arg(workspace.target())
        // Any file in the place of LLVM's fuzzer, which takes a minute to compile: nothing is linked here.
        .env("CUSTOM_LIBFUZZER_PATH", workspace.fuzz_manifest());
    if !process::watched() {
        clippy.arg("--quiet");
    }
    process::run_shown(clippy.args(["--", "-D", "warnings"]))
}

fn has_component(workspace: &Workspace, subcommand: &str, component: &str) -> Result<()> {
    let mut query = cargo::command(workspace);
    process::output(query.args([subcommand, "--version"]))
        .map(drop)
        .with_context(|| {
            format!("this Rust has no {component}; with rustup: `rustup component add {component}`")
        })
}
