//! The files of the packages that are made at each build: man pages, units with the packages' path
//! of the binary, Debian's changelog.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{process, workspace::Workspace};

/// The units of `dist/`, which name the path of a binary that was installed by hand.
pub(super) const UNITS: [&str; 2] = ["heartbeat-xdp.service", "heartbeat-witness@.service"];
const BY_HAND: &str = "/usr/local/sbin/heartbeat";
const PACKAGED: &str = "/usr/sbin/heartbeat";
/// The sections of the man pages.
const SECTIONS: [&str; 2] = ["5", "8"];

/// Fills `target/release/package`, where both packagers find the files.
pub(super) fn fill(workspace: &Workspace, heartbeat: &Path) -> Result<()> {
    let directory = workspace.target().join("release/package");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("could not make {}", directory.display()))?;
    for unit in UNITS {
        let text = fs::read_to_string(workspace.root.join("dist").join(unit))?;
        fs::write(directory.join(unit), packaged(&text))?;
    }
    man_pages(heartbeat, &directory)?;
    fs::write(directory.join("changelog"), changelog(&date(workspace)?))?;
    Ok(())
}

/// The unit with the packages' path of the binary.
pub(super) fn packaged(unit: &str) -> String {
    unit.replace(BY_HAND, PACKAGED)
}

fn man_pages(heartbeat: &Path, directory: &Path) -> Result<()> {
    let all = directory.join("man");
    let mut write = Command::new(heartbeat);
    let pages = process::output(write.arg("man").arg(&all))?;
    for section in SECTIONS {
        fs::create_dir_all(directory.join(format!("man{section}")))?;
    }
    for page in pages.lines().map(PathBuf::from) {
        let (Some(name), Some(section)) = (page.file_name(), page.extension()) else {
            continue;
        };
        let mut folder = std::ffi::OsString::from("man");
        folder.push(section);
        fs::rename(&page, directory.join(folder).join(name))
            .with_context(|| format!("could not move the man page {}", page.display()))?;
    }
    fs::remove_dir(&all)?;
    Ok(())
}

/// Debian's form of the changelog, which refers to ours.
fn changelog(date: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "heartbeat-xdp ({version}-1) unstable; urgency=medium\n\n  * CHANGELOG.md beside this file \
         has the changes.\n\n -- The heartbeat authors <heartbeat@localhost>  {date}\n"
    )
}

/// The date of the last commit; the present one outside of a repository.
fn date(workspace: &Workspace) -> Result<String> {
    let mut log = Command::new("git");
    log.args(["log", "-1", "--format=%aD"]);
    let date = process::output(log.current_dir(&workspace.root))
        .or_else(|_| process::output(Command::new("date").arg("-R")))?;
    Ok(date.trim().to_owned())
}
