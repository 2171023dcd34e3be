//! Builds with cargo, and finds the results.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{process, workspace::Workspace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

/// A program that cargo built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub name: String,
    pub path: PathBuf,
    /// Whether the program is a test program. Building one also builds the plain programs of its
    /// package.
    pub is_test: bool,
    /// The manifest of the program's package, whose directory tests expect as their working
    /// directory.
    pub manifest: PathBuf,
}

impl Program {
    /// The directory of the program's package.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new("."))
    }
}

/// The user's cargo, without the variables by which build scripts would embed another BPF object.
pub(crate) fn command(workspace: &Workspace) -> Command {
    let mut command = Command::new(&workspace.cargo);
    command
        .current_dir(&workspace.root)
        .env_remove("HEARTBEAT_BPF_OBJECT");
    command
}

/// Installs a program of crates.io below `root`, which has it in `bin`, by the user's own cargo.
/// `configure` adds features and variables.
pub(crate) fn install(
    workspace: &Workspace,
    program: &str,
    version: &str,
    root: &Path,
    configure: impl FnOnce(&mut Command),
) -> Result<()> {
    let mut cargo = command(workspace);
    cargo
        .args(["install", program, "--locked", "--force"])
        .args(["--version", version])
        .arg("--root")
        .arg(root)
        // Without the variable, cargo builds in a temporary directory and removes it.
        .env_remove("CARGO_TARGET_DIR");
    configure(&mut cargo);
    process::run(&mut cargo).with_context(|| format!("could not build {program}"))
}

/// Builds the program `name` of `package`.
pub(crate) fn build_program(
    workspace: &Workspace,
    package: &str,
    name: &str,
    profile: Profile,
) -> Result<PathBuf> {
    let mut cargo = command(workspace);
    cargo.args(["build", "--package", package, "--bin", name]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    let programs = build(&mut cargo)?;
    let program = programs.into_iter().find(|program| program.name == name);
    let program = program.with_context(|| format!("cargo built no program {name}"))?;
    Ok(program.path)
}

/// Runs a `cargo build` or `cargo test --no-run`. Messages go to standard error, progress only to a
/// terminal.
pub(crate) fn build(cargo: &mut Command) -> Result<Vec<Program>> {
    // The lock files are binding: the tested versions are the built ones.
    cargo.args(["--locked", "--message-format=json-render-diagnostics"]);
    if !process::watched() {
        cargo.arg("--quiet");
    }
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not run {}", cargo.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "the build failed ({}); cargo's messages are above",
            output.status
        );
    }
    let messages = String::from_utf8(output.stdout).context("cargo printed no UTF-8")?;
    Ok(parse_programs(&messages))
}

fn parse_programs(messages: &str) -> Vec<Program> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        if message["reason"] != "compiler-artifact" {
            return None;
        }
        Some(Program {
            name: message["target"]["name"].as_str()?.to_owned(),
            path: message["executable"].as_str()?.into(),
            is_test: message["profile"]["test"].as_bool()?,
            manifest: message["manifest_path"].as_str()?.into(),
        })
    };
    messages.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_the_artifacts_with_an_executable() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","#,
            r#""target":{"name":"lib"},"profile":{"test":false},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/b/Cargo.toml","#,
            r#""target":{"name":"end"},"profile":{"test":true},"#,
            r#""executable":"/w/target/debug/deps/end-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let program = Program {
            name: "end".into(),
            path: "/w/target/debug/deps/end-1".into(),
            is_test: true,
            manifest: "/w/b/Cargo.toml".into(),
        };
        assert_eq!(parse_programs(messages), [program]);
    }
}
