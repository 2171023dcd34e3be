//! `heartbeat import`: converts a configuration of Corosync and Pacemaker, or of keepalived, to
//! ours.
//!
//! The command reads only the given files. It never replaces a file without --force.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{
    output,
    private_file::{create, replace},
};
use crate::{
    clock,
    import::{Imported, Input, Inputs, NodeFile, Options, import, import_keepalived},
};

mod explain;

/// The input files and the output of an import.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// Read nodes and networks from this corosync.conf
    #[arg(long, value_name = "FILE", required_unless_present_any = ["crm", "cib", "keepalived"])]
    corosync: Option<PathBuf>,
    /// Read resources: output of `crm configure show`, crm or pcs commands as typed into a shell,
    /// or cib.xml
    #[arg(long, visible_alias = "pcs", value_name = "FILE")]
    crm: Option<PathBuf>,
    /// Read resources from cib.xml, as `cibadmin --query` prints it
    #[arg(long, value_name = "FILE", conflicts_with = "crm")]
    cib: Option<PathBuf>,
    /// Interface of a link, once for each link: corosync.conf does not name them
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
    /// Keep IPaddr2 resources as agents, whose addresses the kernel does not guard; by default they
    /// become vips
    #[arg(long)]
    keep_agents: bool,
    /// Accept an old flag for what is now the default
    #[arg(long, hide = true, conflicts_with = "keep_agents")]
    builtin_vip: bool,
    /// Read a node's keepalived.conf; repeat for each node, with the node's name before the file
    #[arg(
        long,
        value_name = "[NODE=]FILE",
        conflicts_with_all = ["corosync", "crm", "cib", "interface", "keep_agents", "builtin_vip"]
    )]
    keepalived: Vec<String>,
    /// Write the configuration to this file; standard output if absent
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "output")]
    force: bool,
    /// Print the translation of each statement, and the reason, instead of the configuration
    #[arg(long)]
    explain: bool,
    /// With --explain: print one JSON array
    #[arg(long, requires = "explain")]
    json: bool,
}

impl Import {
    /// Writes the configuration, and a summary of the translation to standard error.
    pub fn run(&self) -> anyhow::Result<()> {
        let imported = match self.keepalived.as_slice() {
            [] => self.pacemaker()?,
            files => {
                let files = files.iter().map(|file| node_file(file));
                import_keepalived(&files.collect::<anyhow::Result<Vec<_>>>()?)?
            }
        };
        if let Some(path) = &self.output {
            write(path, &imported.text, self.force)?;
        }
        if self.explain {
            let text = if self.json {
                explain::json(&imported.rows)
            } else {
                explain::table(&imported.rows, output::width())
            };
            output::print(&text)?;
        } else if self.output.is_none() {
            output::print(&imported.text)?;
        }
        // The configuration is written even if nobody reads the summary.
        let _ = io::stderr().write_all(summary(&imported, self.output.as_deref()).as_bytes());
        Ok(())
    }

    fn pacemaker(&self) -> anyhow::Result<Imported> {
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
            keep_agents: self.keep_agents,
            now: Some(UNIX_EPOCH + Duration::from_nanos(clock::wall())),
        };
        Ok(import(&inputs, &options)?)
    }
}

/// `FILE`, or `NODE=FILE`.
fn node_file(text: &str) -> anyhow::Result<NodeFile> {
    let (node, path) = match text.split_once('=') {
        Some((node, path)) if !node.is_empty() && !node.contains('/') => (Some(node), path),
        _ => (None, text),
    };
    Ok(NodeFile {
        node: node.map(str::to_owned),
        input: read(Path::new(path))?,
    })
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

/// Writes the file, and replaces an existing one only with `force`. Parameters of resources may be
/// passwords, so only root can read the file, as for Pacemaker's.
fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let written = if force {
        replace(path, text)
    } else {
        create(path, text)
    };
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
        let _ = writeln!(text, "not translated; the file has the reasons:");
    }
    for remark in &imported.remarks {
        let _ = writeln!(text, "  {}", remark.what());
    }
    if !imported.guesses.is_empty() {
        let _ = writeln!(text, "guessed; check that it is what you mean:");
    }
    for guess in &imported.guesses {
        let _ = writeln!(text, "  {}: {}", guess.what(), guess.reason);
    }
    if !imported.held.is_empty() {
        let _ = writeln!(
            text,
            "in maintenance, so not started anywhere until you have checked its dependencies:"
        );
    }
    for held in &imported.held {
        let _ = writeln!(text, "  {}", held.what());
    }
    if !imported.decisions.is_empty() {
        let _ = writeln!(
            text,
            "to be decided by you, and refused by `heartbeat check` until then, since two nodes \
             may run it at a time:"
        );
    }
    for decision in &imported.decisions {
        let _ = writeln!(text, "  {}", decision.what());
    }
    text.push_str("next: read the comments, then run `heartbeat check`\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let name = format!("heartbeat-import-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn flags(crm: PathBuf, output: PathBuf) -> Import {
        Import {
            corosync: None,
            crm: Some(crm),
            cib: None,
            interface: Vec::new(),
            keep_agents: false,
            builtin_vip: false,
            keepalived: Vec::new(),
            output: Some(output),
            force: false,
            explain: false,
            json: false,
        }
    }

    #[test]
    fn imported_file_is_private_and_replaced_only_with_force() {
        let scratch = Scratch::new("force");
        let crm = scratch.file("crm", b"primitive x Dummy params password=sesame\n");
        let output = scratch.0.join("heartbeat.toml");
        let mut import = flags(crm.clone(), output.clone());
        import.run().unwrap();
        let first = fs::read_to_string(&output).unwrap();
        assert!(first.contains("password = \"sesame\""), "{first}");
        assert_eq!(output.metadata().unwrap().mode() & 0o7777, 0o600);

        fs::write(&crm, "primitive y Dummy\n").unwrap();
        let error = format!("{:#}", import.run().unwrap_err());
        assert!(
            error.contains("File exists") && error.contains("--force"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&output).unwrap(), first);

        import.force = true;
        import.run().unwrap();
        assert!(
            fs::read_to_string(&output)
                .unwrap()
                .contains("name = \"y\"")
        );
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 2);
    }

    #[test]
    fn node_name_is_read_before_the_file_name() {
        let scratch = Scratch::new("keepalived");
        let text = b"vrrp_instance V {\ninterface eth9\nvirtual_ipaddress {\n10.0.0.9/24\n}\n}\n";
        let [one, other] = ["k", "a=b"].map(|name| scratch.file(name, text).display().to_string());
        let output = scratch.0.join("heartbeat.toml");
        let import = Import {
            crm: None,
            keepalived: vec![format!("web1={one}"), other],
            ..flags(PathBuf::new(), output.clone())
        };
        import.run().unwrap();
        let written = fs::read_to_string(&output).unwrap();
        for part in [
            "name = \"web1\"",
            "name = \"node2\"",
            "interface = \"eth9\"",
        ] {
            assert!(written.contains(part), "{part} in {written}");
        }
    }

    #[test]
    fn bad_input_writes_no_output_and_names_file_and_line() {
        let scratch = Scratch::new("bad");
        let output = scratch.0.join("heartbeat.toml");
        let said = |crm: &Path| {
            format!(
                "{:#}",
                flags(crm.to_owned(), output.clone()).run().unwrap_err()
            )
        };
        let broken = scratch.file("broken", b"node a\nbogus\n");
        assert!(said(&broken).contains("broken:2: no statement begins with \"bogus\""));
        let latin = scratch.file("latin", b"node a\n# \xe9\n");
        assert!(said(&latin).contains("latin:2: the file is not UTF-8"));
        assert!(said(&scratch.0.join("missing")).contains("missing"));
        assert!(!output.exists());
    }

    #[test]
    fn summary_counts_items_and_names_untranslated_ones() {
        let scratch = Scratch::new("summary");
        let crm = scratch.file("crm", b"primitive x Dummy\ntag t: x\n");
        let inputs = Inputs {
            corosync: None,
            resources: Some(Input {
                name: "crm".to_owned(),
                ..read(&crm).unwrap()
            }),
        };
        let imported = import(&inputs, &Options::default()).unwrap();
        assert_eq!(
            summary(&imported, Some(Path::new("out"))),
            "imported 0 nodes, 1 link, 1 group with 1 resource, 0 constraints to out\n\
             not translated; the file has the reasons:\n  tag t (crm:2)\n\
             next: read the comments, then run `heartbeat check`\n"
        );
    }

    #[test]
    fn summary_names_decisions_for_the_operator() {
        let inputs = Inputs {
            corosync: None,
            resources: Some(Input {
                name: "crm".to_owned(),
                text: "primitive x Filesystem\n".to_owned(),
            }),
        };
        let said = summary(&import(&inputs, &Options::default()).unwrap(), None);
        let decision = "since two nodes may run it at a time:\n  group x, for x \
                        (ocf:heartbeat:Filesystem) (crm:1)\nnext: ";
        assert!(said.contains(decision), "{said}");
    }
}
