//! The progress on a terminal; nothing in a pipe.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Progress {
    watched: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            watched: stderr().is_terminal(),
        }
    }

    pub(super) fn phase(&self, what: &str, takes: Duration) {
        self.say(&format!("{what} ({:.1} s)", takes.as_secs_f64()));
    }

    /// Writes over what was said before.
    pub(super) fn say(&self, what: &str) {
        if self.watched {
            // A terminal that went away is no reason to stop measuring.
            let _ = write!(stderr(), "\r\x1b[K{what} ...");
        }
    }

    pub(super) fn done(&self) {
        if self.watched {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}
