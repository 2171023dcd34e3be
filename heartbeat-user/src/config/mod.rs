//! The agent's configuration: one TOML file, the same on all nodes if they wish.
//!
//! Reads it, checks all of it, and says where and what is wrong, all at once. What comes out is
//! typed and valid, so nothing behind it checks again. Never touches interfaces, addresses or maps,
//! and never prints a key. `docs/heartbeat.toml.example` shows every field.

use std::{fs, io, path::Path, str};

use toml::{Spanned, de::DeTable};

mod cluster;
pub mod duration;
mod fields;
pub mod flags;
pub mod key;
mod nodes;
mod read;
pub(crate) mod report;
mod resolve;
mod sections;
mod timing;
mod types;
mod uses;
mod values;
mod vips;

pub use cluster::DEFAULT_INSTANCE;
pub use report::{ConfigError, Problem};
pub use sections::DEFAULT_RUN;
pub use timing::DEFAULT_MAX_LEASE;
pub use types::{
    Colocation, Config, Exec, Group, Hook, HookEvent, Link, LocalLink, Node, Ocf, Order, Resource,
    ResourceKind, Role, Vip, XdpMode,
};

use read::Section;
use report::{Findings, Source, shown};
use resolve::Identity;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/heartbeat/heartbeat.toml";

impl Config {
    /// Reads the configuration at `path`. The local node is `node_override`, else what the file
    /// says, else the one with this host's name.
    pub fn load(path: &Path, node_override: Option<&str>) -> Result<Self, ConfigError> {
        let read = |cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        };
        let bytes = fs::read(path).map_err(read)?;
        let hostname = nix::unistd::gethostname().map_err(|errno| read(io::Error::from(errno)))?;
        let text = str::from_utf8(&bytes).map_err(|error| not_utf8(path, &bytes, error))?;
        Self::parse(text, path, node_override, &hostname.to_string_lossy())
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
            return Err(ConfigError::Invalid(syntax_problems(&source, &errors)));
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

/// What the TOML parser found, the first for each line: the rest there is mostly its echo.
fn syntax_problems(source: &Source<'_>, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut found: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| (error.span().map_or(0, |span| span.start), error.message()))
        .collect();
    found.sort_by_key(|(at, _)| *at);
    found.dedup_by_key(|(at, _)| source.line(*at));
    let problem = |(at, message): (usize, &str)| {
        let line = source.line_text(at);
        Problem {
            location: source.location(at),
            message: format!("not valid TOML: {message}: `{}`", shown(line)),
            remedy: syntax_remedy(line, message).to_owned(),
        }
    };
    found.into_iter().map(problem).collect()
}

fn syntax_remedy(line: &str, message: &str) -> &'static str {
    let is_list = ["[link]", "[node]", "[vip]", "[hook]"]
        .iter()
        .any(|name| line.starts_with(name));
    if message.contains("duplicate key") && is_list {
        "write the name in two brackets, as in [[node]]: it may stand many times"
    } else if message.contains("duplicate key") {
        "keep one of the two"
    } else if message.contains("must be quoted") {
        "put text in double quotes, also a number with a unit, as in interval = \"10ms\""
    } else {
        "a line is `name = value`, `[section]`, `[[list section]]` or a # comment"
    }
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
