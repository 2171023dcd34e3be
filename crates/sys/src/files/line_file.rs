//! A file of lines that grows at its end, and an old one before it: together they have a bounded
//! size.
//!
//! A full file becomes the old one by a rename. A process that is killed at any moment leaves whole
//! lines. After a power cut the last lines may be missing or torn: nothing here waits until a line
//! is on the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The writing end. A write may block while the disk hangs.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    full: u64,
    /// The file and its size; absent before the first write.
    open: Option<(File, u64)>,
}

impl LineFile {
    /// A file at `path` that is full at `full` bytes. The first write makes it, readable by root
    /// only.
    pub const fn new(path: PathBuf, full: u64) -> Self {
        Self {
            path,
            full,
            open: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines, or on an error none of them.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let (file, size) = match self.open.take() {
            Some((file, size)) if size >= self.full => {
                match fs::rename(&self.path, old(&self.path)) {
                    Ok(()) => self.open()?,
                    // The size stays bounded, whatever is in the place of the old file.
                    Err(_) => {
                        file.set_len(0)?;
                        (file, 0)
                    }
                }
            }
            Some(open) => open,
            None => self.open()?,
        };
        let size = append(&file, size, lines)?;
        self.open = Some((file, size));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }
}

/// Appends `lines` to a file of `size` bytes, and returns its new size.
fn append(mut file: &File, size: u64, lines: &[u8]) -> io::Result<u64> {
    match file.write_all(lines) {
        Ok(()) => Ok(size + lines.len() as u64),
        Err(error) => {
            // A part of a line must not stay before the next.
            file.set_len(size)?;
            Err(error)
        }
    }
}

/// The path of the full file before the one at `path`.
pub fn old(path: &Path) -> PathBuf {
    path.with_extension("old.jsonl")
}

/// Reads the file at `path`, if there is one. Fails for a file of more than `limit` bytes, and for
/// anything else than a regular file.
pub fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    // Without the flag, opening a FIFO would wait for its writer.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    if file.take(limit + 1).read_to_end(&mut text)? as u64 > limit {
        return Err(io::Error::other(format!("it is longer than {limit} bytes")));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use nix::{
        sys::{
            signal::{Signal, kill},
            wait::waitpid,
        },
        unistd::{ForkResult, fork},
    };

    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("heartbeat-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn full_file_becomes_the_old_one_and_no_line_between_them_is_lost() {
        let dir = Dir::new("lines-full");
        let path = dir.0.join("lines.jsonl");
        let mut number = 0;
        for _ in 0..5 {
            // A new agent goes on with the file of the last.
            let mut file = LineFile::new(path.clone(), 100);
            for _ in 0..7 {
                number += 1;
                file.append(format!("{number:08}\n").as_bytes()).unwrap();
            }
        }
        let mut text = read(&old(&path), 200).unwrap().unwrap();
        text.extend(read(&path, 200).unwrap().unwrap());
        assert!(text.len() <= 2 * 108, "{}", text.len());
        let lines = String::from_utf8(text).unwrap();
        let first: u32 = lines.lines().next().unwrap().parse().unwrap();
        let all: Vec<String> = (first..=number).map(|n| format!("{n:08}")).collect();
        assert_eq!(lines.lines().collect::<Vec<_>>(), all);
        assert!(all.len() > 11, "{}", all.len());
    }

    #[test]
    fn file_stays_bounded_where_the_old_one_cannot_be_replaced() {
        let dir = Dir::new("lines-bounded");
        let path = dir.0.join("lines.jsonl");
        fs::create_dir(old(&path)).unwrap();
        let mut file = LineFile::new(path.clone(), 100);
        for _ in 0..100 {
            file.append(b"a line\n").unwrap();
            assert!(fs::metadata(&path).unwrap().len() < 107);
        }
    }

    #[test]
    fn line_that_cannot_be_written_leaves_no_part_of_it() {
        let dir = Dir::new("lines-part");
        let path = dir.0.join("lines.jsonl");
        fs::write(&path, "whole\nhal").unwrap();
        // The file is open for reading, so a write fails.
        let file = File::open(&path).unwrap();
        assert!(append(&file, 6, b"f\n").is_err());
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        file.set_len(6).unwrap();
        assert_eq!(append(&file, 6, b"next\n").unwrap(), 11);
        assert_eq!(fs::read(&path).unwrap(), b"whole\nnext\n");
        // /dev/full behaves like a full disk.
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let mut file = LineFile::new(path.clone(), 100);
        file.open = Some((full, 0));
        assert!(file.append(b"lost\n").is_err());
        file.append(b"there is room again\n").unwrap();
        assert_eq!(
            fs::read(&path).unwrap(),
            b"whole\nnext\nthere is room again\n"
        );
    }

    #[test]
    fn process_that_is_killed_at_any_moment_leaves_whole_lines() {
        let dir = Dir::new("lines-killed");
        let path = dir.0.join("lines.jsonl");
        for round in 1..=20 {
            let mut file = LineFile::new(path.clone(), 4_000);
            let (mut told, mut tell) = io::pipe().unwrap();
            // SAFETY: the child writes files and its end of the pipe until it is killed. It
            // allocates the paths of a rename: the C library resets the allocator's locks in a
            // child.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => loop {
                    let _ = file.append(b"a line of 27 bytes or so...\n");
                    let _ = tell.write(b".");
                },
                ForkResult::Parent { child } => {
                    drop(tell);
                    told.read_exact(&mut vec![0; 20 * round]).unwrap();
                    kill(child, Signal::SIGKILL).unwrap();
                    waitpid(child, None).unwrap();
                    for path in [old(&path), path.clone()] {
                        let text = read(&path, 8_000).unwrap().unwrap_or_default();
                        let text = String::from_utf8(text).unwrap();
                        let whole = |line: &str| line == "a line of 27 bytes or so...";
                        assert!(text.lines().all(whole), "{text}");
                        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
                    }
                }
            }
        }
    }
}
