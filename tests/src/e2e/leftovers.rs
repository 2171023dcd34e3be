//! Leftovers: what an agent could leave behind on its node, or a test on its host.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::maps::PIN_ROOT;
use serde_json::Value;

use super::Program;
use crate::{netns::Namespace, node::Node, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// The network state that a program could have changed, as the system's own tools print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Interfaces with their details, including XDP programs, without counters.
    pub links: String,
    pub addresses: String,
    pub qdiscs: String,
    /// XDP and TC programs.
    pub programs: String,
}

impl Network {
    /// The state of `ns`, or of the host.
    pub fn of(ns: Option<&Namespace>) -> Result<Self> {
        if ns.is_some() {
            // A new interface gets its link-local address a moment later.
            wait_until(PATIENCE, "all interfaces of the rig are up", || {
                let shown = addresses(ns)?;
                let plugged = shown.lines().filter(|line| line.starts_with("\"hb"));
                let names: BTreeSet<&str> = plugged
                    .clone()
                    .filter_map(|line| line.split(' ').next())
                    .collect();
                let local = |name: &&str| {
                    plugged
                        .clone()
                        .any(|line| line.starts_with(&format!("{name} \"fe80:")))
                };
                Ok(names.iter().all(local))
            })?;
        }
        Ok(Self {
            links: tool(ns, &["ip", "-details", "link", "show"])?,
            addresses: addresses(ns)?,
            qdiscs: tool(ns, &["tc", "qdisc", "show"])?,
            programs: tool(ns, &["bpftool", "net", "show"])?,
        })
    }
}

/// Checks that nothing of an agent is left at `node`, whose network was `before`.
pub fn nothing_left(node: &Node, before: &Network) -> Result<()> {
    ensure!(!node.pins.path().exists(), "pins are left");
    let run = node.control.socket().parent();
    let left = files(run.context("no run directory")?)?;
    ensure!(left.is_empty(), "the run directory holds {left:?}");
    // The kernel detaches an unpinned program a moment later.
    let mut after = None;
    wait_until(PATIENCE, "the network is as before", || {
        Ok(after.insert(Network::of(Some(&node.ns))?) == before)
    })
    .with_context(|| format!("it was {before:#?} and is {after:#?}"))
}

/// The addresses, without their remaining lifetimes.
fn addresses(ns: Option<&Namespace>) -> Result<String> {
    let shown = tool(ns, &["ip", "-json", "address", "show"])?;
    let interfaces: Vec<Value> = serde_json::from_str(&shown)?;
    let mut lines = BTreeSet::new();
    for interface in &interfaces {
        for address in interface["addr_info"].as_array().into_iter().flatten() {
            lines.insert(format!(
                "{} {}/{}",
                interface["ifname"], address["local"], address["prefixlen"]
            ));
        }
    }
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

/// The processes and names that still hold one of these network namespaces.
pub fn holders(inodes: &HashSet<u64>) -> Result<Vec<PathBuf>> {
    let mut places: Vec<PathBuf> = Vec::new();
    for (dir, namespace) in [("/proc", "ns/net"), ("/run/netns", "")] {
        // The directory does not exist if no namespace ever had a name.
        let Ok(entries) = fs::read_dir(dir) else {
            continue;
        };
        for entry in entries {
            places.push(entry?.path().join(namespace));
        }
    }
    // A process may end meanwhile.
    let holds = |place: &PathBuf| fs::metadata(place).is_ok_and(|it| inodes.contains(&it.ino()));
    places.retain(holds);
    Ok(places)
}

/// The pins of this process's agents, of all instances.
pub fn pins() -> Result<Vec<String>> {
    let mine = format!("-{}-", std::process::id());
    let Ok(entries) = fs::read_dir(PIN_ROOT) else {
        return Ok(Vec::new());
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.retain(|name| name.contains(&mine));
    Ok(names)
}

/// The number of network namespaces that this process holds open.
pub fn open_namespaces() -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        // The directory's own descriptor is closed by then.
        let target = fs::read_link(entry?.path()).unwrap_or_default();
        count += usize::from(target.to_string_lossy().starts_with("net:["));
    }
    Ok(count)
}

/// The ids of the kernel programs that a node's agent has pinned.
pub fn program_ids(node: &Node) -> Result<Vec<u64>> {
    let id = |name| {
        let pin = node.pins.path().join(name);
        let pin = pin.to_str().context("a path in UTF-8")?;
        let shown = tool(None, &["bpftool", "--json", "prog", "show", "pinned", pin])?;
        let shown: Value = serde_json::from_str(&shown)?;
        shown["id"].as_u64().context("a program without a number")
    };
    let names = ["responder", "stamp_probe", "guard_ingress", "guard_egress"];
    names
        .into_iter()
        .map(|name| id(format!("prog_{name}")))
        .collect()
}

/// The kernel's ids of all pins of a node's agent, by the names of the pins.
pub fn pinned(node: &Node) -> Result<BTreeMap<String, u64>> {
    let mut numbers = BTreeMap::new();
    for name in files(node.pins.path())? {
        let kind = match name.split_once('_') {
            Some(("prog", _)) => "prog",
            Some(("link", _)) => "link",
            _ => "map",
        };
        let pin = node.pins.path().join(&name);
        let pin = pin.to_str().context("a path in UTF-8")?;
        let shown = tool(None, &["bpftool", "--json", kind, "show", "pinned", pin])?;
        let shown: Value = serde_json::from_str(&shown)?;
        let number = shown["id"].as_u64();
        numbers.insert(name, number.context("a pin without a number")?);
    }
    Ok(numbers)
}

/// Whether the kernel still holds a program.
pub fn program_lives(id: u64) -> Result<bool> {
    let mut command = Command::new("bpftool");
    command.args(["prog", "show", "id", &id.to_string()]);
    Ok(Program::run(None, command, PATIENCE)?.status.success())
}

/// The names of the files in `dir`.
pub fn files(dir: &Path) -> Result<BTreeSet<String>> {
    let names = fs::read_dir(dir)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

fn tool(ns: Option<&Namespace>, words: &[&str]) -> Result<String> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    Program::run(ns, command, PATIENCE)?.success()
}
