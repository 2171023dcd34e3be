//! The description of a program as plain values, which the helper's protocol carries.

use std::{ffi::OsString, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::setting::Setting;

/// The search path of every program, unless the operator sets another.
pub const SAFE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Number of bytes kept of each stream, from its end.
pub const KEEP_BYTES: usize = 4096;

/// A program with its arguments and environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    /// The whole environment of the program.
    pub environment: Vec<(OsString, OsString)>,
    /// Number of bytes to keep of each stream, from its end. With 0 the program has no streams.
    pub keep: usize,
    /// The resource of the program, if any.
    pub resource: Option<String>,
    pub setting: Setting,
}

impl Program {
    /// Returns a program with only the environment that every resource gets.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            environment: vec![
                ("PATH".into(), SAFE_PATH.into()),
                ("LC_ALL".into(), "C".into()),
            ],
            keep: KEEP_BYTES,
            resource: None,
            setting: Setting::default(),
        }
    }

    /// Returns the program of a command line: its path and its arguments. The configuration's check
    /// keeps the line from being empty.
    pub fn of(line: &[String]) -> Self {
        let (path, args) = match line {
            [path, args @ ..] => (path.as_str(), args),
            [] => ("", &[][..]),
        };
        Self {
            args: args.to_vec(),
            ..Self::new(path)
        }
    }

    /// Returns the program, run for a resource.
    pub fn of_resource(self, name: &str) -> Self {
        Self {
            resource: Some(name.to_owned()),
            ..self
        }
    }

    /// Returns the program with one more variable in its environment.
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// A file for the program's own /proc/self/stat, which the starting process writes before it
/// becomes the program, and then renames. A reader of the renamed file can identify the process,
/// however its parent ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The file to write.
    pub from: PathBuf,
    /// The final name of the file.
    pub to: PathBuf,
}
