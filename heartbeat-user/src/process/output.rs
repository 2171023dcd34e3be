//! The output file of a program that outlives its parent.
//!
//! A pipe would break with its reader, and the program's next write would kill the program. A file
//! needs no reader.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::Uid;

/// Mode of the file. The program's user may reopen it as `/dev/stdout`; the agent may open it by
/// its group.
const MODE: u32 = 0o660;

/// Directs the output of `command` to a new file at `path`. Without a file the output is lost: the
/// program is more important.
pub(super) fn attach(command: &mut Command, path: &Path, owner: Option<Uid>) {
    let opened = create(path, owner).and_then(|file| Ok((file.try_clone()?, file)));
    match opened {
        Ok((stdout, stderr)) => {
            command.stdout(stdout).stderr(stderr);
        }
        Err(error) => {
            log::warn!(
                "could not make {}: {error}; the program's output is lost",
                path.display()
            );
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
    }
}

/// Creates a new file for each run, so that late output of an earlier run cannot mix with this
/// one's.
fn create(path: &Path, owner: Option<Uid>) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    // The mode must not depend on the umask.
    file.set_permissions(Permissions::from_mode(MODE))?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner.as_raw()), None)?;
    }
    Ok(file)
}
