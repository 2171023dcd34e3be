//! `heartbeat keygen`: makes the file of the cluster key.
//!
//! The key is never printed. No file is ever readable by others, not even for an instant.

use std::{
    fs::{DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use anyhow::{Context as _, anyhow, bail};

use heartbeat_common::siphash::SipKey;

use super::private_file::{create, replace};
use crate::config::key::{KEY_LEN, file_text};

/// Id of a new file's only key.
const FIRST_ID: u8 = 1;

/// Writes a new key to `output` and prints what to do with it. With `force` it atomically replaces
/// an existing file; without, an existing file is an error.
pub fn keygen(output: &Path, force: bool) -> anyhow::Result<()> {
    write_new_key(output, force)?;
    let mut out = io::stdout().lock();
    let said = writeln!(
        out,
        "new key written to {}\n  copy it to the same place on the other nodes, mode 0600, through \
         a channel that keeps it secret",
        output.display()
    );
    // The key file exists even if no process reads the output.
    match said {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}

/// Writes a new key to `output`. With `force` it replaces an existing file.
pub(super) fn write_new_key(output: &Path, force: bool) -> anyhow::Result<()> {
    let parent = directory_of(output)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(|error| explain(&error, "creating the directory", parent))?;
    let text = file_text(&[(FIRST_ID, fresh_key()?)]);
    if force {
        return replace_file(output, &text);
    }
    create(output, &text).map_err(|error| explain(&error, "creating the key file", output))?;
    sync(parent)
}

/// Atomically replaces a file at `path`, if there is one, by a key file with `text`.
pub(super) fn replace_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let parent = directory_of(path)?;
    replace(path, text).map_err(|error| explain(&error, "replacing the key file", path))?;
    sync(parent)
}

/// Returns the directory of a file.
fn directory_of(path: &Path) -> anyhow::Result<&Path> {
    let (Some(_), Some(parent)) = (path.file_name(), path.parent()) else {
        bail!(
            "{} names no file: give the path of the key file to make",
            path.display()
        );
    };
    if parent.as_os_str().is_empty() {
        return Ok(Path::new("."));
    }
    Ok(parent)
}

fn sync(directory: &Path) -> anyhow::Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("syncing the directory {}", directory.display()))
}

/// Returns a new random key.
pub(super) fn fresh_key() -> anyhow::Result<SipKey> {
    let mut key = [0; KEY_LEN];
    getrandom::fill(&mut key).context("asking the kernel for randomness")?;
    Ok(SipKey::from_bytes(key))
}

fn explain(error: &io::Error, what: &str, path: &Path) -> anyhow::Error {
    let remedy = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "all nodes need the same key: copy this one to the others, or make a new one with \
             --force"
        }
        io::ErrorKind::PermissionDenied => "run as root, or name another file with --output",
        _ => "name another file with --output",
    };
    anyhow!("{what} {}: {error}\n  {remedy}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Keys;
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    };

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("heartbeat-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn files(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn key_file_and_directory_are_private() {
        let scratch = Scratch::new("keygen");
        let directory = scratch.0.join("etc/heartbeat");
        let path = directory.join("key");
        write_new_key(&path, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&directory)), (0o600, 0o700));
        assert_eq!(Keys::load(&path).unwrap().active.0, FIRST_ID);
    }

    #[test]
    fn existing_key_is_replaced_only_with_force() {
        let scratch = Scratch::new("keygen-force");
        let path = scratch.0.join("key");
        write_new_key(&path, false).unwrap();
        let first = Keys::load(&path).unwrap();

        let error = format!("{:#}", write_new_key(&path, false).unwrap_err());
        assert!(
            error.contains("File exists") && error.contains("--force"),
            "{error}"
        );
        assert_eq!(Keys::load(&path).unwrap(), first);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_new_key(&path, true).unwrap();
        assert_ne!(Keys::load(&path).unwrap(), first);
        assert_eq!(scratch.files(), 1);
    }

    #[test]
    fn failed_write_follows_no_link_and_leaves_no_file() {
        let scratch = Scratch::new("keygen-link");
        let link = scratch.0.join("key");
        symlink(scratch.0.join("elsewhere"), &link).unwrap();
        write_new_key(&link, false).unwrap_err();
        assert_eq!(scratch.files(), 1);

        let directory = scratch.0.join("directory");
        fs::create_dir(&directory).unwrap();
        write_new_key(&directory, true).unwrap_err();
        assert_eq!(scratch.files(), 2);
        write_new_key(Path::new("/"), true).unwrap_err();
    }
}
