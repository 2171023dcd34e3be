//! The machine, the day and the commit of a comparison.

use std::{fs, process::Command, thread};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The machine that measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
}

impl Machine {
    pub(super) fn read() -> Result<Self> {
        let read =
            |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let cpu = cpu(&read("/proc/cpuinfo")?).unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        Ok(Self {
            cpu,
            cores: thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {} cores, Linux {}",
            self.cpu, self.cores, self.kernel
        )
    }
}

/// The name of the first processor.
fn cpu(info: &str) -> Option<String> {
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The day in UTC: `2026-12-31`.
pub(super) fn date() -> Result<String> {
    let output = Command::new("date")
        .args(["-u", "+%F"])
        .output()
        .context("cannot run date")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit of the sources in short form, with a mark if they were changed since; `unknown`
/// without Git.
pub(super) fn commit() -> String {
    let here = env!("CARGO_MANIFEST_DIR");
    let mut git = Command::new("git");
    // The sources may belong to another user than root.
    git.args(["-c", "safe.directory=*", "-C", here, "describe"]);
    let output = git
        .args(["--always", "--dirty=+changes", "--abbrev=10"])
        .output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_the_model_name() {
        let info = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nprocessor\t: 1\n";
        assert_eq!(cpu(info).as_deref(), Some("A CPU @ 2 GHz"));
        assert_eq!(cpu("processor\t: 0\n"), None);
    }
}
