//! The agent's configuration: one TOML file, the same on all nodes if they wish.
//!
//! Reads it, checks all of it, and says where and what is wrong, all at once. What comes out is
//! typed and valid, so nothing behind it checks again. Never touches interfaces, addresses or maps,
//! and never prints a key. `docs/heartbeat.toml.example` shows every field.
//!
//! The types import nothing of this crate. The readers stand above them: each reads one table.

#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    str,
};

use nix::unistd::geteuid;
use toml::{Spanned, de::DeTable};

mod cluster;
mod command;
mod constraints;
mod difference;
mod digest;
pub mod duration;
pub mod exclusive;
mod fields;
pub mod flags;
mod groups;
mod guarded;
mod health;
mod hook;
pub mod key;
mod load;
mod merge;
mod nodes;
mod own;
mod placement;
mod read;
mod report;
mod resolve;
mod scores;
mod sections;
mod syntax;
mod target;
mod timing;
mod types;
mod uses;
mod utilization;
mod values;

pub use cluster::DEFAULT_INSTANCE;
pub use difference::{Change, GroupChange, NodesChange, ResourceChange};
pub use own::{Unmixable, with_own_settings};
pub use report::shown;
pub use sections::DEFAULT_RUN;
pub use timing::DEFAULT_MAX_LEASE;
pub use types::{
    Colocation, Config, ConfigError, Exec, Execution, Group, HealthCheck, HealthKind, Hook,
    HookEvent, HttpTarget, Limit, LimitKind, Link, Load, LoadSource, LocalLink, MAX_GROUPS,
    Meaning, Node, Ocf, Order, Policy, Problem, ProcessName, Rebalance, Resource, ResourceKind,
    Role, StopSignal, Strategy, Vip, XdpMode,
};

use read::Section;
use report::{Findings, Source};
use resolve::Identity;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/heartbeat/heartbeat.toml";

impl Config {
    /// Reads the configuration at `path`. The local node is `node_override`, else what the file
    /// says, else the one with this host's name. For root a file that others may change is an
    /// error, for any other user a warning: no program of it runs then.
    pub fn load(path: &Path, node_override: Option<&str>) -> Result<Self, ConfigError> {
        let read = |cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        };
        let mut file = File::open(path).map_err(read)?;
        let unguarded = guarded::ensure_guarded(&file.metadata().map_err(read)?, path).err();
        if geteuid().is_root()
            && let Some(problem) = unguarded
        {
            return Err(ConfigError::Unguarded(problem));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(read)?;
        let hostname = nix::unistd::gethostname().map_err(|errno| read(io::Error::from(errno)))?;
        let text = str::from_utf8(&bytes).map_err(|error| not_utf8(path, &bytes, error))?;
        let mut config = Self::parse(text, path, node_override, &hostname.to_string_lossy())?;
        config.warnings.extend(unguarded);
        Ok(config)
    }

    /// Reads the configuration in `text`, on a host named `hostname`. `path` is for messages.
    pub fn parse(
        text: &str,
        path: &Path,
        node_override: Option<&str>,
        hostname: &str,
    ) -> Result<Self, ConfigError> {
        let source = Source::new(path, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(ConfigError::Invalid(syntax::problems(&source, &errors)));
        }
        let findings = Findings::new(source);
        let config = read_document(&findings, &document, node_override, hostname);
        let warnings = findings.into_result().map_err(ConfigError::Invalid)?;
        Ok(Self { warnings, ..config })
    }
}

fn read_document(
    findings: &Findings<'_>,
    document: &Spanned<DeTable<'_>>,
    node: Option<&str>,
    hostname: &str,
) -> Config {
    let top = Section::new(findings, String::new(), 0, document.get_ref(), &fields::TOP);
    resolve::config(findings, &top, Identity { node, hostname })
}

fn not_utf8(path: &Path, bytes: &[u8], error: str::Utf8Error) -> ConfigError {
    let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let text = String::from_utf8_lossy(valid);
    ConfigError::Invalid(vec![Problem {
        location: Source::new(path, &text).location(text.len()),
        message: "the file is not UTF-8 text from here on".to_owned(),
        remedy: "save it as UTF-8".to_owned(),
    }])
}

#[cfg(test)]
mod tests;
