//! The agent's configuration: one TOML file, which may be the same on all nodes.
//!
//! The crate reads the file, checks all of it, and reports all problems at once, each with its
//! place. A [`Config`] is typed and valid, so nothing behind the crate checks again. The crate
//! never touches interfaces, addresses or maps, and never prints a key.
//!
//! From below to above: `types` are the values, and import nothing of this crate. `read` and
//! `readers` turn TOML into values. [`settings`] has a row for each setting, from which its reader,
//! its documents and the comparisons follow. A module for each table fills the types and judges
//! what must hold between settings; `resolve` puts all of them together.

#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    str,
};

use nix::unistd::geteuid;
use toml::{Spanned, de::DeTable};

mod constraints;
mod difference;
mod digest;
pub mod duration;
pub mod exclusive;
pub mod flags;
mod groups;
mod guarded;
mod health;
mod hook;
mod ids;
pub mod key;
mod links;
mod load;
mod merge;
mod nodes;
mod own;
mod placement;
mod read;
mod readers;
mod report;
mod resolve;
mod resource_type;
pub mod settings;
mod syntax;
mod target;
mod timing;
mod types;
mod uses;
mod utilization;
mod values;

pub use difference::{Change, GroupChange, NodesChange, ResourceChange};
pub use own::{Unmixable, with_own_settings};
pub use report::shown;
pub use settings::{
    cluster::{DEFAULT_INSTANCE, DEFAULT_MAX_LEASE},
    paths::{DEFAULT_RUN, DEFAULT_STATE},
};
pub use types::{
    Colocation, Config, ConfigError, Exec, Execution, Group, HealthCheck, HealthKind, Hook,
    HookEvent, HttpTarget, Limit, LimitKind, Link, Load, LoadSource, LocalLink, MAX_GROUPS,
    Meaning, Node, Ocf, Order, Policy, Problem, ProcessName, Rebalance, Resource, ResourceKind,
    Role, StopSignal, Strategy, Vip, XdpMode,
};

use read::Section;
use report::{Findings, Source};
use resolve::Identity;

/// The path of the configuration unless the command line names another.
pub const DEFAULT_PATH: &str = "/etc/heartbeat/heartbeat.toml";

impl Config {
    /// Reads the configuration at `path`. The local node is `node_override`, else the one that the
    /// file names, else the one with this host's name. A file that others may change is an error
    /// for root, and a warning for any other user, for whom no program of the file runs.
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
    let top = Section::new(
        findings,
        String::new(),
        0,
        document.get_ref(),
        &settings::top_names(),
    );
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
