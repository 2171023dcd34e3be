//! Debian and its relatives: queries about packages, and their installation.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{process, root};

#[derive(Debug)]
pub(crate) struct Apt {
    /// Whether this process has fetched the package lists, which happens at most once.
    updated: bool,
}

impl Apt {
    /// Finds apt; `None` where another program manages packages.
    pub(crate) fn find() -> Option<Self> {
        process::find("apt-get")?;
        process::find("dpkg-query")?;
        Some(Self { updated: false })
    }

    /// The version of `package` that apt would install.
    pub(crate) fn candidate(&self, package: &str) -> Result<Option<String>> {
        let policy = process::output(
            Command::new("apt-cache")
                .args(["policy", package])
                .env("LC_ALL", "C"),
        )?;
        Ok(parse_candidate(&policy).map(str::to_owned))
    }

    /// The `packages` that are not installed.
    pub(crate) fn missing<'a>(&self, packages: &[&'a str]) -> Vec<&'a str> {
        let installed = |package: &str| {
            // This fails for a package that dpkg has no record of.
            let status = process::output(Command::new("dpkg-query").args([
                "-W",
                "-f",
                "${db:Status-Status}\n",
                package,
            ]));
            status.is_ok_and(|status| status.lines().any(|line| line == "installed"))
        };
        packages
            .iter()
            .copied()
            .filter(|package| !installed(package))
            .collect()
    }

    /// The dependencies of `package`; nothing if there is no such package.
    pub(crate) fn depends(&self, package: &str) -> Vec<String> {
        let mut query = Command::new("apt-cache");
        query.args(["depends", package]).env("LC_ALL", "C");
        // This fails for a package that apt has no record of.
        let depends = process::output(&mut query).unwrap_or_default();
        parse_depends(&depends).map(str::to_owned).collect()
    }

    /// The packages that apt would install with `packages`, themselves included.
    pub(crate) fn with_missing(&mut self, packages: &[&str]) -> Result<Vec<String>> {
        let simulate = || {
            let mut install = Command::new("apt-get");
            install.args(["install", "-s", "-q", "--no-install-recommends"]);
            process::output(install.args(packages).env("LC_ALL", "C"))
        };
        let said = match simulate() {
            Err(_) if !self.updated => self.update().and_then(|()| simulate()),
            result => result,
        }?;
        Ok(parse_installed(&said).map(str::to_owned).collect())
    }

    /// Downloads the files of `packages` to `directory`. Needs no root, and installs nothing.
    pub(crate) fn download(&mut self, packages: &[String], directory: &Path) -> Result<()> {
        let download = || {
            let mut get = Command::new("apt-get");
            get.args(["-q", "download"]).args(packages);
            process::run(get.current_dir(directory))
        };
        eprintln!("setup: downloading {}", packages.join(" "));
        // Old lists name versions that the mirror no longer has.
        match download() {
            Err(_) if !self.updated => self.update().and_then(|()| download()),
            result => result,
        }
    }

    /// Fetches the package lists, unless this process already did.
    pub(crate) fn update(&mut self) -> Result<()> {
        if !self.updated {
            eprintln!("setup: fetching package lists");
            self.updated = true;
            process::run(apt_get()?.arg("update")).context("could not fetch package lists")?;
        }
        Ok(())
    }

    /// Installs `packages`, and never removes another one.
    pub(crate) fn install(&mut self, packages: &[&str]) -> Result<()> {
        let install = || {
            process::run(
                apt_get()?
                    .args(["install", "-y", "--no-install-recommends", "--no-remove"])
                    .args(packages),
            )
        };
        let names = packages.join(" ");
        eprintln!("setup: installing {names}");
        // Old lists name versions that the mirror no longer has.
        let result = match install() {
            Err(_) if !self.updated => self.update().and_then(|()| install()),
            result => result,
        };
        result.with_context(|| {
            format!("could not install packages; install them by hand: apt-get install {names}")
        })
    }

    /// Installs the missing `packages`, after a check that all exist.
    pub(crate) fn ensure(&mut self, packages: &[&str]) -> Result<()> {
        let missing = self.missing(packages);
        for package in &missing {
            if self.candidate(package)?.is_none() {
                self.update()?;
                if self.candidate(package)?.is_none() {
                    bail!("this system has no package {package}");
                }
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            self.install(&missing)
        }
    }
}

fn apt_get() -> Result<Command> {
    let mut command = root::command("apt-get", &[("DEBIAN_FRONTEND", "noninteractive".into())])?;
    // Waits for another apt instead of failing at once.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
    Ok(command)
}

fn parse_candidate(policy: &str) -> Option<&str> {
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then_some(version)
}

fn parse_depends(depends: &str) -> impl Iterator<Item = &str> {
    let lines = depends.lines().map(str::trim);
    lines.filter_map(|line| line.strip_prefix("Depends: "))
}

fn parse_installed(simulated: &str) -> impl Iterator<Item = &str> {
    let lines = simulated.lines();
    lines.filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidate_is_read_from_the_policy() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  \
                      Version table:\n";
        assert_eq!(parse_candidate(policy), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(
            parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn dependencies_of_a_package_are_read() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-40-cloud-amd64\n  \
                       Recommends: x\n";
        let found: Vec<_> = parse_depends(depends).collect();
        assert_eq!(found, ["linux-image-6.1.0-40-cloud-amd64"]);
        assert_eq!(parse_depends("").count(), 0);
    }

    #[test]
    fn packages_to_install_are_read() {
        let said = "Reading package lists...\nRemv a [1]\nInst libb (2 Debian:12 [amd64])\n\
                    Inst c (3 Debian:12 [amd64])\nConf libb (2)\n";
        let found: Vec<_> = parse_installed(said).collect();
        assert_eq!(found, ["libb", "c"]);
    }
}
