//! The findings of the checks.

use std::{fmt, path::PathBuf};

/// A place with a fault, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub path: PathBuf,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}
