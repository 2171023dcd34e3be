//! Problems of a configuration, as values that a caller can print.

use std::{fmt, io, path::PathBuf};

/// A thing that is wrong, or unwise, in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `FILE:LINE:COLUMN`, or only `FILE` where no line is to blame.
    pub location: String,
    pub message: String,
    /// The operator's way out.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  {}", self.location, self.message, self.remedy)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "reading the configuration {}: {cause}\n  {}",
        path.display(), read_remedy(cause.kind())
    )]
    // The cause is part of the message, so it is no `source`: it would be printed twice.
    Read { path: PathBuf, cause: io::Error },
    /// Others than root may change the file, or a directory above it.
    #[error("{0}")]
    Unguarded(Problem),
    /// All problems, in the order of the file.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

/// The operator's way out where a configuration cannot be read.
fn read_remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "run as root, or name another file with --config",
        io::ErrorKind::NotFound => {
            "copy it from another node, or write it (docs/heartbeat.toml.example shows all of it), \
             or name another file with --config"
        }
        _ => "name another file with --config",
    }
}

impl ConfigError {
    /// One text for each problem.
    pub fn each(&self) -> Vec<String> {
        match self {
            Self::Read { .. } | Self::Unguarded(_) => vec![self.to_string()],
            Self::Invalid(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_configuration_has_the_remedy_of_its_cause() {
        for (kind, has, lacks) in [
            (io::ErrorKind::PermissionDenied, "run as root", "write it"),
            (io::ErrorKind::NotFound, "copy it from another node", "root"),
            (io::ErrorKind::IsADirectory, "--config", "write it"),
        ] {
            let cause = io::Error::from(kind);
            let path = PathBuf::from("/etc/heartbeat/heartbeat.toml");
            let said = ConfigError::Read { path, cause }.to_string();
            assert!(said.contains(has) && !said.contains(lacks), "{said}");
        }
    }
}
