//! `heartbeat import`: writes a configuration of ours from one of Corosync and Pacemaker.
//!
//! Reads the files that it is given and nothing else, and never replaces a file unless told to.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::output;
use crate::import::{Imported, Input, Inputs, Options, import};

/// What to import, and where to.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// Nodes and networks: corosync.conf
    #[arg(long, value_name = "FILE", required_unless_present_any = ["crm", "cib"])]
    corosync: Option<PathBuf>,
    /// Resources: what `crm configure show` prints, or cib.xml
    #[arg(long, value_name = "FILE")]
    crm: Option<PathBuf>,
    /// Resources: cib.xml, as `cibadmin --query` prints it
    #[arg(long, value_name = "FILE", conflicts_with = "crm")]
    cib: Option<PathBuf>,
    /// Interface of a link, once for each link: corosync.conf does not name them
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
    /// Make built-in vips of IPaddr2 resources: only those are guarded by the kernel
    #[arg(long)]
    builtin_vip: bool,
    /// Where to write the configuration; standard output, if absent
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, requires = "output")]
    force: bool,
}

impl Import {
    /// Writes the configuration, and to standard error what came of the input.
    pub fn run(&self) -> anyhow::Result<()> {
        let inputs = Inputs {
            corosync: self.corosync.as_deref().map(read).transpose()?,
            resources: self
                .crm
                .as_deref()
                .or(self.cib.as_deref())
                .map(read)
                .transpose()?,
        };
        let options = Options {
            interfaces: self.interface.clone(),
            builtin_vip: self.builtin_vip,
        };
        let imported = import(&inputs, &options)?;
        match &self.output {
            Some(path) => write(path, &imported.text, self.force)?,
            None => {
                output::print(&imported.text)?;
            }
        }
        // The configuration is written even if nobody reads this.
        let _ = io::stderr().write_all(summary(&imported, self.output.as_deref()).as_bytes());
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Input> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!(
            "{}:{line}: the file is not UTF-8 text from here on\n  save it as UTF-8",
            path.display()
        )
    })?;
    Ok(Input {
        name: path.display().to_string(),
        text,
    })
}

/// Parameters of resources may be passwords, so the file is for root only, as Pacemaker's is.
fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AlreadyExists => "name another file, or replace this one with --force",
            _ => "name another file with --output",
        };
        anyhow!("writing {}: {error}\n  {remedy}", path.display())
    })
}

fn summary(imported: &Imported, output: Option<&Path>) -> String {
    let counts = &imported.counts;
    let of = |count: usize, what: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    };
    let mut text = format!(
        "imported {}, {}, {} with {}, {}",
        of(counts.nodes, "node"),
        of(counts.links, "link"),
        of(counts.groups, "group"),
        of(counts.resources, "resource"),
        of(counts.constraints, "constraint"),
    );
    // Writing to a String cannot fail.
    let _ = match output {
        Some(path) => writeln!(text, " to {}", path.display()),
        None => writeln!(text),
    };
    if !imported.remarks.is_empty() {
        let _ = writeln!(text, "not translated, for reasons that stand in the file:");
    }
    for remark in &imported.remarks {
        let _ = writeln!(text, "  {}", remark.what());
    }
    text.push_str("next: read the comments, then run `heartbeat check`\n");
    text
}
