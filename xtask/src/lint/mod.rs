//! `cargo xtask lint`: checks of our own, then rustfmt and clippy with warnings denied.
//!
//! Every step runs even if one fails. The kernel programs are linted apart: together with the user
//! crates, cargo would unify features and compile std for BPF.

mod circles;
mod concepts;
mod document;
mod finding;
pub(crate) mod guarantees;
mod links;
mod rules;
mod size;
mod source;
mod supply;
mod unsafe_code;
mod width;
mod words;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use self::{finding::Finding, source::Tree};

use crate::{
    cargo, process,
    setup::{self, Verbosity},
    workspace::Workspace,
};

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: [Step; 7] = [
    ("crates that all of it depends on", supply::check),
    ("format of the user crates", format_user),
    ("format of the kernel programs", format_bpf),
    ("format of the fuzz targets", format_fuzz),
    ("clippy on the user crates", clippy_user),
    ("clippy on the kernel programs", clippy_bpf),
    ("clippy on the fuzz targets", clippy_fuzz),
];

/// A check of the sources by one rule of this project.
type Check = (&'static str, fn(&Tree) -> Result<Vec<Finding>>);

const CHECKS: [Check; 9] = [
    ("circles of files", circles::check),
    ("unsafe code in its homes", |tree| {
        Ok(unsafe_code::check(tree))
    }),
    ("citations of the safety rules", rules::check),
    ("sizes in the core", |tree| Ok(size::check(tree))),
    ("width of documents and comments", |tree| {
        Ok(width::check(tree))
    }),
    ("links in the documents", |tree| Ok(links::check(tree))),
    ("words that are gone", |tree| Ok(words::check(tree))),
    ("concepts of the glossary", concepts::check),
    ("tests and figures of the guarantees", guarantees::check),
];

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let tree = Tree::read(&workspace.root)?;
    let mut all_good = true;
    for (name, check) in CHECKS {
        all_good &= is_good(name, check(&tree).and_then(|findings| tell(&findings)));
    }
    for (name, step) in STEPS {
        all_good &= is_good(name, step(workspace));
    }
    Ok(if all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints the result of one step.
fn is_good(name: &str, result: Result<()>) -> bool {
    match &result {
        Ok(()) => eprintln!("lint: {name}: good"),
        Err(error) => eprintln!("lint: {name}: {error:#}"),
    }
    result.is_ok()
}

fn tell(findings: &[Finding]) -> Result<()> {
    for finding in findings {
        eprintln!("{finding}");
    }
    let count = findings.len();
    ensure!(count == 0, "{count} to mend; they are above");
    Ok(())
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
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets"]);
    if !process::watched() {
        clippy.arg("--quiet");
    }
    process::run_shown(clippy.args(["--", "-D", "warnings"]))
}

/// Runs clippy with the compiler of the kernel programs, for their target.
fn clippy_bpf(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::toolchain(workspace, Verbosity::Changes)?;
    // Clippy is called by its own path: `cargo clippy` would use rustup's, of another release.
    let program = setup::clippy(&toolchain.compiler)?;
    let mut clippy = toolchain.cargo(&program, "clippy", workspace);
    clippy.arg("--locked");
    if !process::watched() {
        clippy.arg("--quiet");
    }
    process::run_shown(clippy.args(["--", "-D", "warnings"]))
}

/// Runs clippy in the target directory of the user crates, which has most of the results already.
fn clippy_fuzz(workspace: &Workspace) -> Result<()> {
    let mut clippy = cargo::command(workspace);
    clippy
        .args(["clippy", "--locked", "--manifest-path"])
        .arg(workspace.fuzz_manifest())
        .arg("--target-dir")
        .arg(workspace.target())
        // Any file may replace LLVM's fuzzer, which takes a minute to compile: nothing is linked
        // here.
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
