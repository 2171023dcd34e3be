//! Stores which process is the service, so that the next agent finds it.
//!
//! The record is a file with two lines: the boot id, and the process's /proc/PID/stat with its id
//! and start time. The process writes the second line itself before it becomes the program. So a
//! kill of the agent at any moment leaves no unknown service.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use heartbeat_core::resource::ExitCode;

use crate::{
    process::{Process, Registration, Stat},
    resources::done::Done,
};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    /// Returns the record of a resource, whose name is safe in paths by the configuration's check.
    pub(super) fn new(dir: &Path, resource: &str) -> Self {
        Self {
            path: dir.join(format!("{resource}.pid")),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the last started process, whether it lives or not. `None` if it was stopped, or
    /// started in an earlier boot.
    pub(super) fn read(&self) -> io::Result<Option<Process>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let parsed = text
            .split_once('\n')
            .and_then(|(boot, stat)| Some((boot, Stat::parse(stat)?)));
        match parsed {
            Some((boot, stat)) => Ok((boot == self::boot()?).then_some(stat.process)),
            // The file is renamed when it is complete, so only a crash of the host can have damaged
            // it.
            None => {
                log::warn!("{} is damaged; ignored", self.path.display());
                Ok(None)
            }
        }
    }

    /// Prepares the file in which the next process registers itself.
    pub(super) fn prepare(&self) -> io::Result<Registration> {
        if let Some(dir) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        }
        let new = self.path.with_extension("pid.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&new)?;
        writeln!(file, "{}", boot()?)?;
        Ok(Registration {
            from: new,
            to: self.path.clone(),
        })
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    pub(super) fn failed(&self, verb: &str, error: &io::Error) -> Done {
        let message = format!(
            "could not {verb} {}, the record of the running process: {error}",
            self.path.display()
        );
        Done::exited(ExitCode::GENERIC_ERROR, message)
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}
