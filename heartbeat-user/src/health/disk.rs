//! Whether something can be written to a disk, and is on it then.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Verdict, aside::Aside};

/// At least one block of any file system, so that data and not only a name is written.
const CONTENT: [u8; 4096] = [0x5a; 4096];

/// The threads that write, one for each directory: a new check of a directory has that of the one before, which
/// may hang.
#[derive(Clone, Debug, Default)]
pub(super) struct Disks(Arc<Mutex<HashMap<PathBuf, Arc<Aside>>>>);

impl Disks {
    pub(super) fn thread(&self, directory: &Path) -> Arc<Aside> {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = threads.entry(directory.to_owned());
        Arc::clone(thread.or_insert_with(|| Arc::new(Aside::new("health-disk".to_owned()))))
    }

    /// Lets go the threads that nobody asks any more, except those that hang.
    pub(super) fn prune(&self) {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|_, thread| Arc::strong_count(thread) > 1 || thread.is_busy());
    }
}

/// Writes a file, waits until it is on the disk, and removes it; also one that was left. May hang.
pub(crate) fn write(directory: &Path, mark: &str) -> Verdict {
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
    fn nothing_is_left_and_what_was_left_is_removed() {
        let directory = std::env::temp_dir().join(format!("heartbeat-disk-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(".heartbeat-health-a"), "old").unwrap();
        assert_eq!(write(&directory, "a"), Ok(String::new()));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(&directory).unwrap();
        let missing = write(&directory, "a").unwrap_err();
        assert!(missing.contains("could not create") && missing.contains("heartbeat-disk-"));
    }

    #[test]
    fn a_directory_has_one_thread() {
        let disks = Disks::default();
        let one = disks.thread(Path::new("/a"));
        assert!(Arc::ptr_eq(&one, &disks.thread(Path::new("/a"))));
        assert!(!Arc::ptr_eq(&one, &disks.thread(Path::new("/b"))));
        disks.prune();
        assert!(Arc::ptr_eq(&one, &disks.thread(Path::new("/a"))));
        drop(one);
        disks.prune();
        assert!(disks.0.lock().unwrap().is_empty());
    }
}
