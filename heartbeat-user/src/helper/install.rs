//! Replaces the configuration file, and keeps the old one beside it.
//!
//! The agent has no right to write there (`agent/confine.rs`). The agent has checked the text, and
//! a crash at any moment leaves the old file or the new one.

use std::{
    ffi::OsString,
    fs::{self, Metadata, OpenOptions, Permissions},
    hash::{DefaultHasher, Hasher as _},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use heartbeat_sys::files::atomic_file;
use nix::unistd::{AccessFlags, access, geteuid};

/// Suffix of the earlier file's name.
const OLD: &str = ".old";
/// Suffix of the file's name while it is written.
const NEW: &str = ".new";
/// Write permissions of other users, which a configuration must not have.
const OTHERS_WRITE: u32 = 0o022;

/// Returns a number that identifies the content of a file within this release.
pub fn content_number(content: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    hash.write(content);
    hash.finish()
}

/// Fails if the file at `path` could not be replaced.
pub(super) fn may_install(path: &Path) -> Result<PathBuf, String> {
    let path = followed(path)?;
    let directory = path.parent().unwrap_or(&path);
    access(directory, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
        format!(
            "files in {} cannot be replaced: {error}\n  is it mounted read-only, or does the unit \
             of the service say so (ProtectSystem=)? Copy the file there by hand instead",
            directory.display()
        )
    })?;
    Ok(path)
}

/// Replaces the file at `path` by `text`, if the file still has the content with the number
/// `replaces`. Returns the path of the old one.
pub(super) fn install(path: &Path, text: &str, replaces: u64) -> Result<PathBuf, String> {
    install_after(path, text, replaces, || {})
}

/// Replaces the file, and calls `on_disk` after the disk has the new content, before the rename.
fn install_after(
    path: &Path,
    text: &str,
    replaces: u64,
    on_disk: impl FnOnce(),
) -> Result<PathBuf, String> {
    // Two concurrent calls would write to the same temporary file.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = followed(path)?;
    let old = unchanged(&path, replaces)?;
    let like = fs::metadata(&path).map_err(|error| failed("read", &path, &error))?;
    let kept = beside(&path, OLD);
    let to_write = |path: &Path, content: &[u8]| {
        prepare(path, content, &like).map_err(|error| failed("write", path, &error))
    };
    let put = |new: &Path, path: &Path| {
        atomic_file::put(new, path).map_err(|error| failed("write", path, &error))
    };
    put(&to_write(&kept, &old)?, &kept)?;
    let new = to_write(&path, text.as_bytes())?;
    on_disk();
    // An editor may have saved the file during the writes.
    if let Err(changed) = unchanged(&path, replaces) {
        let _ = fs::remove_file(&new);
        return Err(changed);
    }
    put(&new, &path)?;
    Ok(kept)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    format!("could not {what} {}: {error}", path.display())
}

/// Returns the content of the file, if it has the number `replaces`.
fn unchanged(path: &Path, replaces: u64) -> Result<Vec<u8>, String> {
    let content = fs::read(path).map_err(|error| failed("read", path, &error))?;
    if content_number(&content) != replaces {
        return Err(format!(
            "{} was changed meanwhile: nothing is written\n  see who changes it, then try again",
            path.display()
        ));
    }
    Ok(content)
}

/// Returns the target of a link, which is replaced instead of the link.
fn followed(path: &Path) -> Result<PathBuf, String> {
    fs::canonicalize(path).map_err(|error| format!("could not find {}: {error}", path.display()))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Writes a file of root's beside the one at `path`, with the group and the permissions of `like`.
/// Returns its path.
fn prepare(path: &Path, content: &[u8], like: &Metadata) -> io::Result<PathBuf> {
    let new = beside(path, NEW);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write(&new, content, like);
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.map(|()| new)
}

fn write(path: &Path, content: &[u8], like: &Metadata) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    if geteuid().is_root() {
        fchown(&file, Some(0), Some(like.gid()))?;
    }
    let mode = like.mode() & 0o7777 & !OTHERS_WRITE;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Place(PathBuf);

    impl Place {
        fn new(test: &str) -> Self {
            let name = format!("heartbeat-install-{test}-{}", std::process::id());
            let place = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&place.0).unwrap();
            fs::write(place.file(), "old").unwrap();
            place
        }

        fn file(&self) -> PathBuf {
            self.0.join("heartbeat.toml")
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn file_is_replaced_with_its_permissions_and_the_old_one_is_kept() {
        let place = Place::new("replaced");
        fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
        // The rest of a crash.
        fs::write(place.0.join("heartbeat.toml.new"), "half").unwrap();
        assert_eq!(may_install(&place.file()), Ok(place.file()));
        let kept = install(&place.file(), "new", content_number(b"old")).unwrap();
        assert_eq!(fs::read_to_string(place.file()).unwrap(), "new");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
        assert_eq!(place.files(), ["heartbeat.toml", "heartbeat.toml.old"]);
        for file in [&place.file(), &kept] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o640);
        }
        install(&place.file(), "newer", content_number(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "new");
    }

    #[test]
    fn link_stays_and_what_it_leads_to_is_replaced() {
        let place = Place::new("link");
        let link = place.0.join("link");
        symlink("heartbeat.toml", &link).unwrap();
        install(&link, "new", content_number(b"old")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(place.file()).unwrap(), "new");
    }

    #[test]
    fn file_that_an_editor_saves_at_the_last_moment_stays() {
        let place = Place::new("editor");
        let saves = || fs::write(place.file(), "edited").unwrap();
        let error = install_after(&place.file(), "new", content_number(b"old"), saves).unwrap_err();
        assert!(error.contains("was changed meanwhile"), "{error}");
        assert_eq!(fs::read_to_string(place.file()).unwrap(), "edited");
        assert_eq!(place.files(), ["heartbeat.toml", "heartbeat.toml.old"]);
    }

    #[test]
    fn one_of_those_that_replace_a_file_at_once_succeeds() {
        let place = Place::new("at-once");
        for _ in 0..10 {
            fs::write(place.file(), "old").unwrap();
            let texts = ["a", "b", "c", "d"].map(|text| text.repeat(100_000));
            let installed = std::thread::scope(|scope| {
                let mut threads = Vec::new();
                for text in &texts {
                    let file = place.file();
                    threads.push(
                        scope.spawn(move || install(&file, text, content_number(b"old")).is_ok()),
                    );
                }
                let ends = threads.into_iter().map(|thread| thread.join().unwrap());
                ends.collect::<Vec<bool>>()
            });
            let won: Vec<&String> = (texts.iter().zip(&installed))
                .filter_map(|(text, installed)| installed.then_some(text))
                .collect();
            assert_eq!(won.len(), 1, "{installed:?}");
            assert!(fs::read_to_string(place.file()).unwrap() == *won[0]);
        }
    }

    #[test]
    fn file_that_was_changed_meanwhile_or_cannot_be_written_stays() {
        let place = Place::new("stays");
        let error = install(&place.file(), "new", content_number(b"other")).unwrap_err();
        assert!(error.contains("was changed meanwhile"), "{error}");
        // A non-empty directory at the path has the effect of a full disk.
        let way = place.0.join("heartbeat.toml.new");
        fs::create_dir_all(way.join("x")).unwrap();
        let error = install(&place.file(), "new", content_number(b"old")).unwrap_err();
        assert!(error.starts_with("could not write"), "{error}");
        assert_eq!(fs::read_to_string(place.file()).unwrap(), "old");
        let missing = may_install(&place.0.join("none")).unwrap_err();
        assert!(missing.starts_with("could not find"), "{missing}");
    }
}
