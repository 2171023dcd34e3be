//! The output for people, and its colours.
//!
//! A reader that went away (`| head`) is no error: the demo must still clean up.

use std::{
    env,
    io::{IsTerminal as _, Write as _, stderr, stdout},
};

/// Text for humans: on stdout, or on stderr when stdout is for JSON.
#[derive(Debug)]
pub(crate) struct Output {
    to_stderr: bool,
    color: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let terminal = if json {
            stderr().is_terminal()
        } else {
            stdout().is_terminal()
        };
        // https://no-color.org: any value but the empty one.
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            to_stderr: json,
            color: terminal && !refused,
        }
    }

    pub(crate) fn line(&self, text: &str) {
        let _ = if self.to_stderr {
            writeln!(stderr(), "{text}")
        } else {
            writeln!(stdout(), "{text}")
        };
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bad(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
