//! The output of programs that run for as long as their resource does.
//!
//! Each run writes to a file of its own in a directory of the instance. The file needs no reader,
//! so a program outlives the agent and is never blocked by it. The running agent forwards the lines
//! to the log, frees the forwarded part, and shows the last lines when the program fails.
//!
//! ```text
//!   program ──append──▶ NAME.log ──forward──▶ journal, or the agent's log
//!                          │ last_lines
//!                          ╰──────────────▶ the text of a failure
//! ```
//!
//! `NAME.read` has the position up to which an earlier agent forwarded. Resource names are safe in
//! paths, by the configuration's check.

mod allowance;
mod followed;
mod forward;
mod lines;
mod sink;

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

pub use self::forward::Forwarder;

/// Limits for the shown lines of a failure: number, characters of one, characters of all.
const LAST_LINES: usize = 10;
const LINE_CHARS: usize = 200;
const LAST_CHARS: usize = 800;
/// The tail of a file that is never freed, with room for [`LAST_LINES`].
const TAIL: u64 = 8 << 10;
/// File extensions of the output and of its forwarded position.
const OUTPUT: &str = "log";
const POSITION: &str = "read";

/// The files of one instance.
#[derive(Clone, Debug)]
pub(super) struct Outputs(PathBuf);

impl Outputs {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Returns the file for the next run of a resource, and makes its directory.
    pub(super) fn prepare(&self, resource: &str) -> PathBuf {
        if let Err(error) = make(&self.0) {
            log::warn!("could not make {}: {error}", self.0.display());
        }
        // The position belongs to the file that is replaced.
        let _ = fs::remove_file(self.0.join(format!("{resource}.{POSITION}")));
        self.path(resource)
    }

    fn path(&self, resource: &str) -> PathBuf {
        self.0.join(format!("{resource}.{OUTPUT}"))
    }

    /// Returns the last lines of the present or last run of a resource.
    pub(super) fn last_lines(&self, resource: &str) -> Vec<String> {
        match end_of(&self.path(resource)) {
            Ok((bytes, whole)) => last_lines(&bytes, whole),
            // The resource has not run, or had no output file.
            Err(_) => Vec::new(),
        }
    }
}

/// Makes a directory for root only: programs' output may be secret.
fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Returns the tail of a file, and whether that is the whole file.
fn end_of(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok((bytes, from == 0))
}

fn last_lines(bytes: &[u8], whole: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    if !whole && lines.len() > 1 {
        // The first line of a tail may be incomplete.
        lines.remove(0);
    }
    let shown = lines.iter().map(|line| {
        let harmless = line.chars().filter(|character| !character.is_control());
        harmless.take(LINE_CHARS).collect::<String>()
    });
    let shown: Vec<String> = shown.filter(|line| !line.trim().is_empty()).collect();
    let mut room = LAST_CHARS;
    let fits = shown.iter().rev().take(LAST_LINES).take_while(|line| {
        let length = line.chars().count();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    });
    let count = fits.count();
    shown[shown.len() - count..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_of_a_short_output_are_all_lines() {
        let said = b"\"root\" execution is not permitted.\n\nsee the documentation\x1b[0m";
        assert_eq!(
            last_lines(said, true),
            [
                "\"root\" execution is not permitted.",
                "see the documentation[0m"
            ]
        );
        assert!(last_lines(b"", true).is_empty());
    }

    #[test]
    fn last_lines_of_a_long_output_are_few_and_complete() {
        let many: String = (0..500).map(|n| format!("line {n}\n")).collect();
        let shown = last_lines(&many.as_bytes()[3..], false);
        assert_eq!(shown.len(), LAST_LINES);
        assert_eq!((&*shown[0], &*shown[9]), ("line 490", "line 499"));

        let long: String = (0..9)
            .map(|n| format!("{n}{}\n", "ä".repeat(500)))
            .collect();
        let shown = last_lines(long.as_bytes(), true);
        assert_eq!(shown.len(), LAST_CHARS / LINE_CHARS);
        assert!(shown[3].starts_with('8') && shown[3].chars().count() == LINE_CHARS);
    }
}
