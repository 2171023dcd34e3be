//! cargo-mutants: its installation and its calls.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{
    crates::{Crate, Stage},
    mutant::{Mutant, read_list},
};
use crate::{cargo, process, workspace::Workspace};

/// The cargo-mutants that this project is tested with.
const VERSION: &str = "27.1.0";
/// The least time in seconds after which a mutant whose tests do not end counts as caught. The
/// tests take seconds; a busy machine must not decide about a mutant.
const PATIENCE: &str = "300";
/// Exit codes of cargo-mutants after a complete run: all caught, some missed, some timed out.
const COMPLETE: [i32; 3] = [0, 2, 3];

#[derive(Debug)]
pub(super) struct Tool<'a> {
    workspace: &'a Workspace,
    program: PathBuf,
}

impl<'a> Tool<'a> {
    /// Finds cargo-mutants below `target/tools`, or builds it there.
    pub(super) fn install(workspace: &'a Workspace) -> Result<Self> {
        let root = workspace.tools().join(format!("cargo-mutants-{VERSION}"));
        let program = root.join("bin/cargo-mutants");
        if !process::is_executable(&program) {
            eprintln!("mutants: building cargo-mutants {VERSION} (three minutes or so)");
            cargo::install(workspace, "cargo-mutants", VERSION, &root, |_| ())
                .context("cargo-mutants is needed: see whether crates.io can be reached")?;
        }
        Ok(Self { workspace, program })
    }

    /// All mutants of the sources of `one`.
    pub(super) fn list(&self, one: &Crate) -> Result<Vec<Mutant>> {
        let mut command = self.command(&self.workspace.root);
        command.args(["--list", "--json", "--package", one.package]);
        read_list(&process::output(&mut command)?)
    }

    /// Runs `mutants`, which are of one file, against the tests of `stage`, and leaves the results
    /// in the directory `output`. The sources are changed in `tree`.
    pub(super) fn run(
        &self,
        one: &Crate,
        stage: Stage,
        mutants: &[&Mutant],
        tree: &Path,
        output: &Path,
    ) -> Result<()> {
        let mut command = self.command(tree);
        command
            .args(["--in-place", "--no-shuffle", "--annotations", "none"])
            .args(["--minimum-test-timeout", PATIENCE, "--package", one.package])
            .args(["--test-package", &one.tested(stage).join(",")])
            .arg("--output")
            .arg(output);
        for argument in one.selection(stage, &one.programs(self.workspace)?) {
            command.arg(format!("--cargo-arg={argument}"));
        }
        for mutant in mutants {
            command.arg("--file").arg(&mutant.file);
            command.arg(format!("--re=^{}$", escaped(&mutant.name)));
        }
        follow(&mut command)
    }

    fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["mutants", "--no-config", "--dir"])
            .arg(directory)
            .current_dir(directory)
            .env("CARGO", &self.workspace.cargo)
            .env("CARGO_TARGET_DIR", self.workspace.mutants().join("build"))
            // The tests are built a thousand times: mostly the same code, and none is debugged.
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // A failed test is only counted, and a smaller failing case takes long to find.
            .env("RUST_BACKTRACE", "0")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env_remove("HEARTBEAT_BPF_OBJECT");
        command
    }
}

/// Runs to the end. A terminal shows the progress; otherwise the output is shown on failure.
fn follow(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null());
    let could_not = "could not run cargo-mutants";
    let (status, said) = if process::watched() {
        (command.status().context(could_not)?, Vec::new())
    } else {
        let output = command.output().context(could_not)?;
        (output.status, [output.stdout, output.stderr].concat())
    };
    if status.code().is_none_or(|code| !COMPLETE.contains(&code)) {
        eprint!("{}", String::from_utf8_lossy(&said));
        bail!("cargo-mutants failed ({status}); its messages are above");
    }
    Ok(())
}

/// `text` as a regular expression that matches only this text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_a_name_have_no_meaning_in_its_expression() {
        let name = "a.rs:3:7: replace f -> Option<u8> with Some(0)";
        let expected = r"a\.rs:3:7: replace f -> Option<u8> with Some\(0\)";
        assert_eq!(escaped(name), expected);
        assert_eq!(escaped("replace | with ^ in g"), r"replace \| with \^ in g");
    }
}
