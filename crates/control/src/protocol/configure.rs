//! The steps of `heartbeat reload --all` on one node, and what a node says before the first of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step on the node that a request names. `text` is the file of the node that was asked first; each
/// node keeps its own settings in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ConfigureStep {
    /// Checks `text` as `heartbeat check` and `heartbeat reload` would; changes nothing. The answer
    /// is [`Checked`].
    Check { text: String },
    /// Puts `text` in the place of the configuration file, unless that is another one than the
    /// [`Checked::file`] that was told.
    Write { text: String, replaces: u64 },
    /// Takes over the file as it is.
    Reload,
}

impl ConfigureStep {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Check { .. } => "check",
            Self::Write { .. } => "write",
            Self::Reload => "reload",
        }
    }
}

/// Without the text, which may have passwords in it.
impl fmt::Debug for ConfigureStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a node says to a configuration that it is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The configuration file there.
    pub path: String,
    /// A number that tells its present content, there and for this release only.
    pub file: u64,
    /// Whether the file there has to be replaced.
    pub write: bool,
    /// What a reload would change there, by the file that it would have; none if that is in force.
    pub changes: Vec<String>,
    /// Why it cannot be used there: place, cause and remedy of each.
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

impl Checked {
    /// The texts, each through `clean`.
    pub fn map_texts(mut self, clean: impl Fn(&str) -> String) -> Self {
        self.path = clean(&self.path);
        for list in [&mut self.changes, &mut self.errors, &mut self.warnings] {
            list.iter_mut().for_each(|text| *text = clean(text));
        }
        self
    }
}
