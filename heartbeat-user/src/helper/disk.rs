//! The write of a disk check.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// At least one block of any file system, so that data is written and not only a name.
const CONTENT: [u8; 4096] = [0x5a; 4096];

/// Writes a file, waits until it is on the disk, and removes it. Also removes the file of an
/// earlier check. May hang.
pub(super) fn write(directory: &Path, mark: &str) -> Result<String, String> {
    let path = directory.join(format!(".heartbeat-health-{mark}"));
    let failed =
        |what: &str, error: &io::Error| format!("could not {what} {}: {error}", path.display());
    remove(&path).map_err(|error| failed("remove the old", &error))?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed("create", &error))?;
    let written = fill(file).map_err(|error| failed("write and sync", &error));
    let removed = remove(&path).map_err(|error| failed("remove", &error));
    written.and(removed).map(|()| String::new())
}

fn fill(mut file: File) -> io::Result<()> {
    file.write_all(&CONTENT)?;
    file.sync_data()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_leaves_no_file_and_removes_an_earlier_one() {
        let directory = std::env::temp_dir().join(format!("heartbeat-disk-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(".heartbeat-health-a"), "old").unwrap();
        assert_eq!(write(&directory, "a"), Ok(String::new()));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(&directory).unwrap();
        let missing = write(&directory, "a").unwrap_err();
        assert!(missing.contains("could not create") && missing.contains("heartbeat-disk-"));
    }
}
