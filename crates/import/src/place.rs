//! Places in the input, and the errors there.

use std::{fmt, sync::Arc};

use heartbeat_config::shown;

/// A line of an input file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: Arc<str>,
    /// The number of the line, from 1.
    pub line: usize,
    /// The number of the statement in the file; 0 is none. One line may hold several statements.
    pub statement: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The reason why an input cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}: `{}`\n  {remedy}", shown(text.trim()))]
pub struct ImportError {
    pub place: Place,
    /// The fault.
    pub message: String,
    /// The line, or the part of it, with the fault.
    pub text: String,
    /// The remedy.
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
