//! The file that a program writes to which goes on when its parent ends.
//!
//! A pipe would end with its reader, and with it the program at its next word. A file needs none.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::Uid;

/// Whose the program is may open it anew, as `/dev/stdout`; so may the agent, by its group.
const MODE: u32 = 0o660;

/// Lets `command` write to a new file at `path`. Without one it writes nowhere: that it runs matters
/// more than what it says.
pub(super) fn attach(command: &mut Command, path: &Path, owner: Option<Uid>) {
    let opened = create(path, owner).and_then(|file| Ok((file.try_clone()?, file)));
    match opened {
        Ok((stdout, stderr)) => {
            command.stdout(stdout).stderr(stderr);
        }
        Err(error) => {
            log::warn!(
                "could not make {}: {error}; what the program writes is lost",
                path.display()
            );
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
    }
}

/// A file of its own for each run: what an earlier one writes late is not taken for this one's.
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
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(MODE))?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner.as_raw()), None)?;
    }
    Ok(file)
}
