//! What to run, as plain values that the helper's protocol carries.

use std::{ffi::OsString, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::setting::Setting;

/// The search path of every program that is run without one of the operator's.
pub const SAFE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The bytes that are kept of each stream, the last ones.
pub const LAST_WORDS: usize = 4096;

/// A program with its arguments and environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    /// The whole environment of the program.
    pub environment: Vec<(OsString, OsString)>,
    /// The number of last bytes to keep of each stream. With 0 the program has no streams.
    pub keep: usize,
    /// The resource that the program runs for, if any.
    pub resource: Option<String>,
    pub setting: Setting,
}

impl Program {
    /// A program with the environment that every resource gets, and nothing else.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            environment: vec![
                ("PATH".into(), SAFE_PATH.into()),
                ("LC_ALL".into(), "C".into()),
            ],
            keep: LAST_WORDS,
            resource: None,
            setting: Setting::default(),
        }
    }

    /// The program of a command line: its path and its arguments. The configuration's check keeps
    /// the line from being empty.
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

    /// The same program, run for a resource.
    pub fn of_resource(self, name: &str) -> Self {
        Self {
            resource: Some(name.to_owned()),
            ..self
        }
    }

    /// The same program with one more variable in its environment.
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// A file to which a program adds its own /proc/self/stat before it begins; the file is renamed
/// then. So a reader of the renamed file knows the process, however its parent ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The file that is written to.
    pub from: PathBuf,
    /// The name that the file gets in the end.
    pub to: PathBuf,
}
