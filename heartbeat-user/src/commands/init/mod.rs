//! `heartbeat init`: writes a first configuration and a key, from flags or from answers at a
//! terminal, and prints what to do on the other nodes.
//!
//! The same call a second time changes nothing and says so, for Ansible and its like. A file that
//! says something else is never overwritten without `--force`.

mod ask;
mod file;
pub(super) mod host;
mod steps;

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::{ErrorKind, IsTerminal as _, stdin, stdout},
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use heartbeat_common::prefix::ServedAddress;

use self::host::Host;
use super::{check, keygen, output, private_file};
use crate::config::{Config, flags, key};

/// A name with something that belongs to it: `web1=10.0.0.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    pub name: String,
    pub value: T,
}

/// The settings of the first configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct Init {
    /// Name of the cluster
    #[arg(long, value_name = "NAME", value_parser = flags::name)]
    cluster: Option<String>,
    /// A node that may serve, and its address; repeat for each node, the preferred one first
    #[arg(long = "member", value_name = "NAME=ADDRESS", value_parser = node)]
    members: Vec<Named<IpAddr>>,
    /// A node that only votes, and its address
    #[arg(long = "witness", value_name = "NAME=ADDRESS", value_parser = node)]
    witnesses: Vec<Named<IpAddr>>,
    /// A virtual address, as service=10.0.0.100/24; may be repeated
    #[arg(long = "vip", value_name = "NAME=ADDRESS", value_parser = vip)]
    vips: Vec<Named<ServedAddress>>,
    /// Interface of the heartbeats; the one with this node's address if absent
    #[arg(long, value_name = "NAME", value_parser = flags::interface)]
    interface: Option<String>,
    /// File of the cluster key; it is made if it is missing
    #[arg(long, value_name = "FILE", default_value = key::DEFAULT_PATH)]
    key: PathBuf,
    /// Replace a file that says something else; it stays as FILE.old
    #[arg(long)]
    force: bool,
}

fn node(text: &str) -> Result<Named<IpAddr>, String> {
    named(text, "web1=10.0.0.1", flags::address)
}

fn vip(text: &str) -> Result<Named<ServedAddress>, String> {
    named(text, "service=10.0.0.100/24", |address| {
        let address = address.parse::<ServedAddress>();
        address.map_err(|_| "it has no address such as 10.0.0.100/24".to_owned())
    })
}

/// Reads `NAME=VALUE`.
fn named<T>(
    text: &str,
    example: &str,
    value: impl Fn(&str) -> Result<T, String>,
) -> Result<Named<T>, String> {
    let (name, rest) = text
        .split_once('=')
        .ok_or_else(|| format!("expected a name and an address, such as {example}"))?;
    Ok(Named {
        name: flags::name(name)?,
        value: value(rest)?,
    })
}

/// What a call has done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Written,
}

impl Init {
    /// Writes the configuration to `path` and the key to its file. `this` is the name of this node,
    /// if it is not the host's.
    pub fn run(mut self, path: &Path, this: Option<&str>) -> Result<()> {
        let host = Host::read()?;
        if self.says_nothing() {
            match fs::read_to_string(path) {
                Ok(_) => {
                    let config = Config::load(path, this)?;
                    return self.finish(path, &config, Change::None, &host);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("could not read {}", path.display()));
                }
            }
        }
        if self.lacks_something() && stdin().is_terminal() && stdout().is_terminal() {
            ask::complete(&mut self, &host)?;
        }
        let text = self.text(&host)?;
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let config = Config::parse(&text, path, this, &hostname.to_string_lossy())
            .context("these settings make no usable configuration; nothing was written")?;
        let change = put(path, &text, self.force)?;
        self.finish(path, &config, change, &host)
    }

    /// Whether no flag describes a cluster.
    fn says_nothing(&self) -> bool {
        self.cluster.is_none()
            && self.members.is_empty()
            && self.witnesses.is_empty()
            && self.vips.is_empty()
    }

    fn lacks_something(&self) -> bool {
        self.cluster.is_none() || self.members.is_empty()
    }

    /// The text of the configuration.
    fn text(&self, host: &Host) -> Result<String> {
        let cluster = self.cluster.as_deref();
        let cluster = cluster.context("no name: give one with --cluster NAME")?;
        ensure!(
            !self.members.is_empty(),
            "no nodes: give each with --member NAME=ADDRESS, the preferred one first"
        );
        let nodes = self.members.iter().chain(&self.witnesses);
        let addresses: Vec<IpAddr> = nodes.map(|node| node.value).collect();
        let interface = match &self.interface {
            Some(interface) => interface.clone(),
            None => host.interface_of(&addresses)?,
        };
        Ok(file::text(self, cluster, &interface))
    }

    /// Makes the key if it is missing, and prints what was done and what is to be done.
    fn finish(&self, path: &Path, config: &Config, change: Change, host: &Host) -> Result<()> {
        let key = match config.key.exists() {
            true => Change::None,
            false => {
                keygen::write_new_key(&config.key, false)?;
                Change::Written
            }
        };
        let mut text = String::new();
        for (change, path) in [(change, path), (key, config.key.as_path())] {
            let what = match change {
                Change::None => "unchanged",
                Change::Written => "written",
            };
            let _ = writeln!(text, "{what}: {}", path.display());
        }
        text += &host.summary(config);
        let findings = check::findings(config, true);
        for warning in &findings.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        if (change, key) != (Change::None, Change::None) {
            text += &steps::next(path, config);
        }
        output::print(&text)?;
        if !findings.errors.is_empty() {
            bail!("{}", findings.errors.join("\n"));
        }
        Ok(())
    }
}

/// Puts `text` into the file at `path`, unless it has it already.
fn put(path: &Path, text: &str, force: bool) -> Result<Change> {
    let writing = || format!("could not write {}", path.display());
    match fs::read_to_string(path) {
        Ok(is) if is == text => return Ok(Change::None),
        Ok(_) if !force => bail!(
            "{} is there and says something else; nothing was changed\n  edit it, or replace it \
             with --force",
            path.display()
        ),
        Ok(_) => {
            let mut old = OsString::from(path);
            old.push(".old");
            fs::copy(path, &old)
                .with_context(|| format!("could not keep the old file as {}", old.display()))?;
            private_file::replace(path, text).with_context(writing)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).with_context(writing)?;
            }
            private_file::create(path, text).with_context(writing)?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    }
    Ok(Change::Written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_address_is_a_name_and_an_address() {
        let read = node("web1=10.0.0.1").unwrap();
        assert_eq!(
            (read.name.as_str(), read.value.to_string().as_str()),
            ("web1", "10.0.0.1")
        );
        let read = vip("service=2001:db8::64/64").unwrap();
        assert_eq!(read.value.to_string(), "2001:db8::64/64");
        for bad in [
            "web1",
            "=10.0.0.1",
            "web1=",
            "web1=10.0.0.256",
            "we b=10.0.0.1",
        ] {
            assert!(node(bad).is_err(), "{bad}");
        }
        assert!(vip("service=10.0.0.1/33").is_err());
    }

    #[test]
    fn file_that_says_something_else_is_kept() {
        let directory = std::env::temp_dir().join(format!("heartbeat-init-{}", std::process::id()));
        let path = directory.join("new/heartbeat.toml");
        assert_eq!(put(&path, "one\n", false).unwrap(), Change::Written);
        assert_eq!(put(&path, "one\n", false).unwrap(), Change::None);
        let error = put(&path, "two\n", false).unwrap_err().to_string();
        assert!(error.contains("nothing was changed"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        assert_eq!(put(&path, "two\n", true).unwrap(), Change::Written);
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        let old = directory.join("new/heartbeat.toml.old");
        assert_eq!(fs::read_to_string(old).unwrap(), "one\n");
        fs::remove_dir_all(directory).unwrap();
    }
}
