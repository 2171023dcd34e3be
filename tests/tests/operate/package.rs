//! The parts of a package that the binary makes: man pages and completions.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{cluster::BINARY, needs};

const COMPLETION: &str = "dist/package/completions/heartbeat.bash";

fn output(command: &mut Command) -> Result<Output> {
    let output = command.output();
    output.with_context(|| format!("could not run {command:?}"))
}

#[test]
fn man_pages_render_without_a_warning() -> Result<()> {
    needs!(Cluster);
    let directory = env::temp_dir().join(format!("hbrig-{}-man", std::process::id()));
    let mut write = Command::new(env::var(BINARY)?);
    let written = output(write.arg("man").arg(&directory))?;
    ensure!(written.status.success(), "{written:?}");
    let check = || -> Result<()> {
        let pages = String::from_utf8(written.stdout)?;
        ensure!(
            pages.lines().any(|page| page.ends_with("heartbeat.toml.5")),
            "{pages}"
        );
        for page in pages.lines() {
            let mut render = Command::new("man");
            render.args([
                "--warnings",
                "--encoding=UTF-8",
                "--local-file",
                "-Tutf8",
                "-Z",
                page,
            ]);
            // The warnings of troff, and not of the terminal's character set.
            let rendered = output(render.env("LC_ALL", "C.UTF-8"))?;
            let said = String::from_utf8_lossy(&rendered.stderr);
            ensure!(
                rendered.status.success() && said.is_empty(),
                "{page}: {said}"
            );
        }
        Ok(())
    };
    let checked = check();
    fs::remove_dir_all(&directory)?;
    checked
}

#[test]
fn completion_of_the_package_completes_a_command() -> Result<()> {
    needs!(Cluster);
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(COMPLETION);
    let text = fs::read_to_string(file)?;
    let here = text.replace("/usr/sbin/heartbeat", &env::var(BINARY)?);
    ensure!(here != text, "{text}");
    let script = format!(
        "{here}\nCOMP_WORDS=(heartbeat stat) COMP_CWORD=1 COMP_TYPE=9\n\
         $(complete -p heartbeat | sed 's/.*-F \\([^ ]*\\).*/\\1/') heartbeat stat heartbeat\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let shown = output(Command::new("bash").args(["--norc", "-c", &script]))?;
    let said = String::from_utf8_lossy(&shown.stdout);
    ensure!(said.lines().any(|line| line == "status"), "{shown:?}");
    Ok(())
}
