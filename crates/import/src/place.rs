//! Where something stands in the input, and what is wrong there.

use std::{fmt, sync::Arc};

use heartbeat_config::shown;

/// A line of an input file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// Which statement of the file it belongs to; 0 is none. Several may stand on one line.
    pub statement: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why an input cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}: `{}`\n  {remedy}", shown(text.trim()))]
pub struct ImportError {
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// The line, or the part of it, that is.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl ImportError {
    pub(super) fn new(
        place: &Place,
        message: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place: place.clone(),
            message: message.into(),
            text: text.into(),
            remedy: remedy.into(),
        }
    }
}
