//! `cargo xtask fuzz`: builds the targets in `fuzz/` by cargo-fuzz and runs them, one after the
//! other, each for a limited time.
//!
//! The inputs that they find useful are kept below the target directory, for the next run, and so
//! is an input that makes a target fail. The fuzzer's flags are for nightly compilers; a stable one
//! accepts them with `RUSTC_BOOTSTRAP`.

mod report;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{cargo, cli::FuzzOptions, process, workspace::Workspace};
use report::FuzzReport;

const VERSION: &str = "0.13.2";
/// The targets in `fuzz/Cargo.toml`. The first inputs of each are in `fuzz/seeds/`, in a directory
/// with its name.
pub(crate) const TARGETS: [&str; 6] = ["wire", "receive", "config", "import", "control", "peering"];
/// The greatest length of an input, in bytes.
const MAX_LEN: u32 = 16 * 1024;
/// The time in seconds after which an input counts as a finding. Normal inputs take up to some
/// hundredths.
const PATIENCE: u32 = 20;

pub(crate) fn run(workspace: &Workspace, options: &FuzzOptions) -> Result<ExitCode> {
    let unknown = |name: &&String| !TARGETS.contains(&name.as_str());
    if let Some(unknown) = options.targets.iter().find(unknown) {
        let known = TARGETS.join(", ");
        bail!("there is no fuzz target {unknown}; there are {known}");
    }
    if let Some(input) = &options.replay {
        let [target] = &options.targets[..] else {
            bail!("`--replay` gives one input to one target: name it");
        };
        return replay(workspace, target, input);
    }
    let mut targets = TARGETS.to_vec();
    if !options.targets.is_empty() {
        targets.retain(|target| options.targets.iter().any(|name| name == target));
    }
    let cargo_fuzz = install(workspace)?;
    ensure_locked(workspace)?;
    eprintln!("fuzz: building (the first time takes some minutes)");
    for target in &targets {
        build(workspace, &cargo_fuzz, target)?;
    }
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        eprintln!("fuzz: {target} for {} s", options.seconds);
        let report = fuzz(workspace, target, options.seconds)?;
        println!("{target}: {report}");
        if report.failed() {
            code = ExitCode::FAILURE;
        }
        if let Some(input) = &report.artifact {
            println!("to see it again: cargo xtask fuzz {target} --replay {input}");
        }
    }
    Ok(code)
}

/// Fails if a build would change the lock file. cargo-fuzz has no `--locked` of its own, and cargo
/// does not change a lock file that matches.
fn ensure_locked(workspace: &Workspace) -> Result<()> {
    let mut query = cargo::command(workspace);
    query.args(["metadata", "--locked", "--format-version", "1"]);
    query.arg("--manifest-path").arg(workspace.fuzz_manifest());
    process::output(&mut query).map(drop).context(
        "fuzz/Cargo.lock does not match the dependencies of the targets: let cargo update it, \
             and commit it",
    )
}

fn build(workspace: &Workspace, cargo_fuzz: &Path, target: &str) -> Result<()> {
    let mut build = Command::new(cargo_fuzz);
    build
        .current_dir(&workspace.root)
        .env_remove("HEARTBEAT_BPF_OBJECT")
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "build", "--fuzz-dir", "fuzz", "--target-dir"])
        .arg(workspace.fuzz().join("build"))
        // The fuzzed code has no unsafe code that a sanitizer could check.
        .args(["--sanitizer", "none", target]);
    process::run(&mut build).with_context(|| format!("could not build the fuzz target {target}"))
}

/// The program that cargo-fuzz made of `target`.
fn program(workspace: &Workspace, target: &str) -> Result<Command> {
    let builds = workspace.fuzz().join("build");
    // The program is below a directory with the name of the machine's architecture.
    let program = fs::read_dir(&builds)
        .with_context(|| format!("could not read {}", builds.display()))?
        .flatten()
        .map(|entry| entry.path().join("release").join(target))
        .find(|path| process::is_executable(path));
    let program = program.with_context(|| {
        format!(
            "cargo-fuzz left no program {target} below {}",
            builds.display()
        )
    })?;
    let mut command = Command::new(program);
    command.current_dir(&workspace.root);
    Ok(command)
}

fn fuzz(workspace: &Workspace, target: &str, seconds: u32) -> Result<FuzzReport> {
    let made = |kind: &str| {
        let directory = workspace.fuzz().join(kind).join(target);
        fs::create_dir_all(&directory)
            .with_context(|| format!("could not create {}", directory.display()))?;
        Ok::<_, anyhow::Error>(directory)
    };
    let mut run = program(workspace, target)?;
    run.arg(made("corpus")?)
        .arg(workspace.root.join("fuzz/seeds").join(target))
        .arg(format!(
            "-artifact_prefix={}/",
            made("artifacts")?.display()
        ))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg("-print_final_stats=1");
    follow(&mut run)
}

/// Runs a target to its end. A terminal shows its output at once; a pipe shows only the last lines
/// before a failure.
fn follow(run: &mut Command) -> Result<FuzzReport> {
    let mut child = run
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not run {}", run.get_program().display()))?;
    let said = child.stderr.take().context("a target without its pipe")?;
    let mut report = FuzzReport::default();
    let mut said = BufReader::new(said);
    let mut line = Vec::new();
    while said.read_until(b'\n', &mut line)? != 0 {
        if process::watched() {
            io::stderr().write_all(&line)?;
        }
        report.read(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    report.end(child.wait()?);
    if report.failed() && !process::watched() {
        eprintln!("{}", report.last_words());
    }
    Ok(report)
}

/// Runs one target on one input, and shows the result.
fn replay(workspace: &Workspace, target: &str, input: &Path) -> Result<ExitCode> {
    let input = fs::canonicalize(input)
        .with_context(|| format!("could not read the input {}", input.display()))?;
    let cargo_fuzz = install(workspace)?;
    ensure_locked(workspace)?;
    build(workspace, &cargo_fuzz, target)?;
    let mut run = program(workspace, target)?;
    let run = run.arg(input).arg(format!("-timeout={PATIENCE}"));
    let again = process::run_shown(run.env("RUST_BACKTRACE", "1"));
    match again {
        Ok(()) => println!("{target}: the input does no harm"),
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
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
            // Without the variable, cargo builds in a temporary directory and removes it.
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
    fn every_target_that_is_built_is_run_from_seeds() {
        let manifest = include_str!("../../../fuzz/Cargo.toml");
        let built: Vec<&str> = manifest
            .lines()
            .filter_map(|line| {
                line.strip_prefix("path = \"targets/")?
                    .strip_suffix(".rs\"")
            })
            .collect();
        assert_eq!(built, TARGETS);
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        for target in TARGETS {
            let seeds = fs::read_dir(seeds.join(target)).expect("a directory");
            let read = seeds.filter(|seed| {
                let seed = seed.as_ref().expect("an entry");
                // Broken links are no seeds.
                fs::read(seed.path()).is_ok_and(|content| !content.is_empty())
            });
            assert!(read.count() > 0, "{target} has no seeds");
        }
    }

    #[test]
    fn target_that_fails_is_told_with_its_input_and_its_words() {
        let script = "echo 'thread panicked at x.rs: oh' >&2; \
            echo \"artifact_prefix='/a/'; Test unit written to /a/crash-1\" >&2; exit 77";
        let report = follow(Command::new("sh").args(["-c", script])).expect("sh runs");
        assert!(report.failed());
        assert_eq!(report.artifact.as_deref(), Some("/a/crash-1"));
        assert!(report.last_words().contains("panicked at x.rs: oh"));
        let quiet = follow(&mut Command::new("true")).expect("true runs");
        assert!(!quiet.failed());
    }
}
