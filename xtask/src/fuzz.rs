//! `cargo xtask fuzz`: runs the targets in `fuzz/`, one after the other, each for a bounded time.
//!
//! What they find interesting is kept below the target directory, for the next run. The fuzzer's flags are
//! for nightly compilers; a stable one takes them when it is told to bootstrap.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{cli::FuzzOptions, process, workspace::Workspace};

const VERSION: &str = "0.13.2";
/// What `fuzz/Cargo.toml` builds, each with the directory of its first inputs, if it has any.
pub(crate) const TARGETS: [(&str, Option<&str>); 6] = [
    ("wire", None),
    ("receive", None),
    ("config", Some("config")),
    ("import", Some("import")),
    ("control", Some("control")),
    ("peering", None),
];
/// No input is longer, in bytes.
const MAX_LEN: u32 = 16 * 1024;

pub(crate) fn run(workspace: &Workspace, options: &FuzzOptions) -> Result<ExitCode> {
    if let Some(unknown) = options
        .targets
        .iter()
        .find(|name| TARGETS.iter().all(|(target, _)| target != name))
    {
        let known = TARGETS.map(|(target, _)| target).join(", ");
        bail!("there is no fuzz target {unknown}; there are {known}");
    }
    let cargo_fuzz = install(workspace)?;
    let mut code = ExitCode::SUCCESS;
    for (target, seeds) in TARGETS {
        if !options.targets.is_empty() && options.targets.iter().all(|name| name != target) {
            continue;
        }
        eprintln!("\nfuzz: {target} for {} s", options.seconds);
        match fuzz(workspace, &cargo_fuzz, target, seeds, options.seconds) {
            Ok(()) => eprintln!("fuzz: {target}: nothing found"),
            Err(error) => {
                eprintln!("fuzz: {target}: {error:#}; the input is in fuzz/artifacts/{target}/");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn fuzz(
    workspace: &Workspace,
    cargo_fuzz: &PathBuf,
    target: &str,
    seeds: Option<&str>,
    seconds: u32,
) -> Result<()> {
    let corpus = workspace.fuzz().join("corpus").join(target);
    fs::create_dir_all(&corpus)
        .with_context(|| format!("could not create {}", corpus.display()))?;
    let mut run = Command::new(cargo_fuzz);
    run.current_dir(&workspace.root)
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "run", "--fuzz-dir", "fuzz", "--target-dir"])
        .arg(workspace.fuzz().join("build"))
        // What is fuzzed has no unsafe code that a sanitizer could look at.
        .args(["--sanitizer", "none", target])
        .arg(corpus);
    if let Some(seeds) = seeds {
        run.arg(workspace.root.join("fuzz/seeds").join(seeds));
    }
    run.arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg("-print_final_stats=1");
    process::run_shown(&mut run)
}

/// cargo-fuzz, built on demand.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.tools().join(format!("cargo-fuzz-{VERSION}"));
    let program = root.join("bin/cargo-fuzz");
    if !process::is_executable(&program) {
        eprintln!("setup: building cargo-fuzz {VERSION} (a minute or so)");
        let mut cargo = Command::new(&workspace.cargo);
        cargo
            .args([
                "install",
                "cargo-fuzz",
                "--locked",
                "--version",
                VERSION,
                "--root",
            ])
            .arg(&root)
            .current_dir(&workspace.root)
            // Without it cargo builds in a temporary directory and removes it.
            .env_remove("CARGO_TARGET_DIR");
        process::run(&mut cargo)
            .context("could not build cargo-fuzz, by which the targets are built")?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_that_is_built_is_run() {
        let manifest = include_str!("../../fuzz/Cargo.toml");
        let built: Vec<&str> = manifest
            .lines()
            .filter_map(|line| {
                line.strip_prefix("path = \"targets/")?
                    .strip_suffix(".rs\"")
            })
            .collect();
        assert_eq!(built, TARGETS.map(|(target, _)| target));
    }
}
