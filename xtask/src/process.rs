//! Runs child programs. Their output goes to standard error; in a pipe it is shown only on failure.

use std::{
    io::{IsTerminal, Write, stderr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Directories of system programs that a user's PATH may lack.
const SYSTEM_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Whether standard error is a terminal: long work then shows its progress.
pub(crate) fn watched() -> bool {
    stderr().is_terminal()
}

/// Standard output of a short query.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| could_not_run(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed ({}): {}",
            line(command),
            output.status,
            said.trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", line(command)))
}

/// Runs `command` to its end. A terminal shows its output at once; otherwise it is shown on
/// failure.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    if watched() {
        return run_shown(command);
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| could_not_run(command))?;
    if !output.status.success() {
        stderr().write_all(&output.stdout)?;
        stderr().write_all(&output.stderr)?;
    }
    check(command, Ok(output.status))
}

/// Runs like [`run`], but always shows the output: for a program that decides by itself when to be
/// quiet.
pub(crate) fn run_shown(command: &mut Command) -> Result<()> {
    let status = to_stderr(command).status();
    check(command, status)
}

/// Runs like [`run_shown`], but ends the program when it takes longer than `limit`.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = to_stderr(command)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| could_not_run(command))?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return check(command, Ok(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!(
                "{} took longer than {} s: stopped it",
                line(command),
                limit.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn to_stderr(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::from(stderr()))
}

fn check(command: &Command, status: std::io::Result<ExitStatus>) -> Result<()> {
    let status = status.with_context(|| could_not_run(command))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

fn could_not_run(command: &Command) -> String {
    format!("could not run {}", line(command))
}

/// The command in the form that a user would type.
fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    format!("`{line}`")
}

/// The program called `name` on PATH, or in the system's own directories.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_what_the_program_printed() {
        assert_eq!(output(Command::new("echo").arg("a b")).unwrap(), "a b\n");
    }

    #[test]
    fn failure_names_the_command_and_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`sh -c echo no >&2; exit 3`"), "{text}");
        assert!(text.ends_with(": no"), "{text}");
    }

    #[test]
    fn program_that_hangs_is_ended() {
        let start = Instant::now();
        let error =
            run_within(Command::new("sleep").arg("60"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("took longer"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn finds_programs_and_only_programs() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no-such-program"), None);
        assert!(!is_executable(Path::new("/etc/passwd")));
    }
}
