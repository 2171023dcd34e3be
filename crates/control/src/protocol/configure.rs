//! The steps of `heartbeat reload --all` on one node, and the node's answer to the first step.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step on the node of the request. `text` is the configuration file of the node where the
/// operator gave the command; each node keeps its own settings in the file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ConfigureStep {
    /// Checks `text` like `heartbeat check` and `heartbeat reload`; changes nothing. The answer is
    /// [`Checked`].
    Check { text: String },
    /// Replaces the configuration file by `text`, unless the file has changed since the answer with
    /// [`Checked::file`].
    Write { text: String, replaces: u64 },
    /// Applies the present file.
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

/// Omits the text, which may contain passwords.
impl fmt::Debug for ConfigureStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A node's answer to a proposed configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The path of the node's configuration file.
    pub path: String,
    /// A hash of the file's present content, valid only on that node and for this release.
    pub file: u64,
    /// Whether the node's file must be replaced.
    pub write: bool,
    /// The changes that a reload with the new file would make; none if that file is in force.
    pub changes: Vec<String>,
    /// The changes in the node's file that are not in force yet, and that a replacement would lose.
    #[serde(default)]
    pub pending: Vec<String>,
    /// Whether a reload is under way there. The node then does not know `changes`.
    #[serde(default)]
    pub reloading: bool,
    /// The reasons why the configuration cannot be used there: place, cause and remedy of each.
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

impl Checked {
    /// Applies `clean` to each text.
    pub fn map_texts(mut self, clean: impl Fn(&str) -> String) -> Self {
        self.path = clean(&self.path);
        let Self {
            changes,
            pending,
            errors,
            warnings,
            ..
        } = &mut self;
        for list in [changes, pending, errors, warnings] {
            list.iter_mut().for_each(|text| *text = clean(text));
        }
        self
    }
}
