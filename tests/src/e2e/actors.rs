//! Resources that do as a test tells them: an OCF agent that is a script, with a list of all its calls.
//!
//! All nodes share the directory; what "runs" on a node is a file there with the node's name. Nothing of
//! it is left when this drops, neither files nor processes that a script left behind.

use std::{
    env,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    SOON,
    calls::{self, Call},
    shortcuts::options,
};
use crate::{
    Options,
    cluster::BINARY,
    control_groups, wait_until,
    workdir::{WorkDir, make_dir},
};

const ACTOR: &str = include_str!("actor.sh");
const META_DATA: &str = include_str!("actor.xml");

/// Where the agents are, what they are to do and what they did.
#[derive(Debug)]
pub struct Actors {
    dir: WorkDir,
}

impl Actors {
    pub fn new() -> Result<Self> {
        let actors = Self {
            dir: WorkDir::new(false)?,
        };
        let agents = actors.path("resource.d/rig");
        make_dir(&actors.path("resource.d"))?;
        make_dir(&agents)?;
        make_dir(&actors.path("running"))?;
        make_dir(&actors.path("scripts"))?;
        make_dir(&actors.path("pids"))?;
        program(&agents.join("actor"), ACTOR)?;
        fs::write(actors.path("actor.xml"), META_DATA)?;
        fs::write(actors.path("calls"), "")?;
        let binary = env::var(BINARY).with_context(|| format!("{BINARY} is not set"))?;
        actors.launch(&actors.launcher(), Path::new(&binary))?;
        Ok(actors)
    }

    /// Makes the program at `path` run `binary` so that it finds the actor.
    pub fn launch(&self, path: &Path, binary: &Path) -> Result<()> {
        let (root, binary) = (self.dir.path().display(), binary.display());
        let launcher = format!("#!/bin/sh\nexport OCF_ROOT={root}\nexec {binary} \"$@\"\n");
        program(path, &launcher)
    }

    /// Members a and b with a witness, whose agents find the actor; `extra` is the configuration of
    /// groups.
    pub fn options(&self, extra: String) -> Options {
        Options {
            nodes: ["a", "b"].map(str::to_owned).to_vec(),
            witnesses: vec!["w".to_owned()],
            launcher: Some(self.launcher()),
            extra,
            ..options()
        }
    }

    fn launcher(&self) -> PathBuf {
        self.path("launcher")
    }

    /// A file of the actors.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a program of the actors, and says where it is.
    pub fn program(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        program(&path, text)?;
        Ok(path)
    }

    /// From now on `action` of `resource` on `node` begins with `script`.
    pub fn script(&self, node: &str, resource: &str, action: &str, script: &str) -> Result<()> {
        let path = self.script_path(node, resource, action);
        // Put in place whole: the agent may look at any time.
        let new = path.with_extension("new");
        fs::write(&new, format!("{script}\n"))?;
        Ok(fs::rename(new, path)?)
    }

    /// It does as it would by itself again.
    pub fn unscript(&self, node: &str, resource: &str, action: &str) -> Result<()> {
        let path = self.script_path(node, resource, action);
        fs::remove_file(&path).with_context(|| format!("there is no {}", path.display()))
    }

    fn script_path(&self, node: &str, resource: &str, action: &str) -> PathBuf {
        self.path(&format!("scripts/{node}.{resource}.{action}"))
    }

    fn running(&self, node: &str, resource: &str) -> PathBuf {
        self.path(&format!("running/{node}.{resource}"))
    }

    pub fn runs(&self, node: &str, resource: &str) -> bool {
        self.running(node, resource).exists()
    }

    /// Lets a resource end by itself.
    pub fn end(&self, node: &str, resource: &str) -> Result<()> {
        fs::remove_file(self.running(node, resource))
            .with_context(|| format!("{resource} does not run on {node}"))
    }

    /// The nodes on which all of `resources` run, and those on which some do.
    pub fn running_on(&self, nodes: &[&str], resources: &[&str]) -> (Vec<String>, Vec<String>) {
        let with = |test: &dyn Fn(&str) -> bool| {
            let nodes = nodes.iter().filter(|node| test(node));
            nodes.map(|node| (*node).to_owned()).collect()
        };
        (
            with(&|node| resources.iter().all(|one| self.runs(node, one))),
            with(&|node| resources.iter().any(|one| self.runs(node, one))),
        )
    }

    /// All calls so far, in order.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let text = fs::read_to_string(self.path("calls"))?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        calls::read(whole)
    }

    /// How many calls there were so far.
    pub fn mark(&self) -> Result<usize> {
        Ok(self.calls()?.len())
    }

    /// Starts and stops of `resources` since a mark: fails if two overlapped.
    pub fn actions(&self, mark: usize, resources: &[&str]) -> Result<Vec<String>> {
        calls::actions(&self.calls()?[mark..], resources)
    }

    /// Waits until the starts and stops of `resources` since `mark` are `wanted`, and all have ended.
    pub fn wait_actions(&self, mark: usize, resources: &[&str], wanted: &[&str]) -> Result<()> {
        let mut last = Vec::new();
        wait_until(SOON, "the resources do what they should", || {
            last = self.actions(mark, resources)?;
            Ok(last == wanted)
        })
        .with_context(|| format!("wanted {wanted:#?}, but it was {last:#?}"))
    }

    /// Waits for a call since `mark`.
    pub fn wait_call(&self, mark: usize, node: &str, resource: &str, action: &str) -> Result<Call> {
        let mut found = None;
        let what = format!("{action} of {resource} on {node}");
        wait_until(SOON, &what, || {
            let calls = self.calls()?;
            found = calls[mark..]
                .iter()
                .find(|call| {
                    call.node == node && call.resource == resource && call.action == action
                })
                .cloned();
            Ok(found.is_some())
        })
        .with_context(|| self.report(mark))?;
        found.context("no such call")
    }

    /// That nobody was called since `mark`, but by `except`.
    pub fn no_calls(&self, mark: usize, node: &str, except: &[&str]) -> Result<()> {
        let calls = self.calls()?;
        let loud = calls[mark..]
            .iter()
            .find(|call| call.node == node && !except.contains(&call.resource.as_str()));
        ensure!(loud.is_none(), "{loud:?} was not to be");
        Ok(())
    }

    /// All calls since `mark` but monitors that were well, for people.
    pub fn report(&self, mark: usize) -> String {
        let mut calls = self.calls().unwrap_or_default();
        let mut calls = calls.split_off(mark.min(calls.len()));
        calls.retain(|call| call.action != "monitor" || !matches!(call.end, Some((_, 0))));
        format!("the calls were\n{}", calls::list(&calls))
    }

    /// That nothing was ever started where it may have run; with `anywhere`, on whichever node.
    pub fn never_twice(&self, anywhere: bool) -> Result<()> {
        calls::never_twice(&self.calls()?, anywhere)
    }
}

impl Drop for Actors {
    fn drop(&mut self) {
        // What scripts left running wrote down its number here.
        let Ok(entries) = fs::read_dir(self.path("pids")) else {
            return;
        };
        for entry in entries.flatten() {
            let pid = fs::read_to_string(entry.path()).ok();
            if let Some(pid) = pid.and_then(|pid| pid.trim().parse().ok())
                && is_ours(pid, self.dir.path())
            {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let own = format!("hbrig-{}-", std::process::id());
        // A daemon of an earlier start has no number there any more.
        control_groups::kill(|name| name.starts_with(&own));
        let left = wait_until(
            SOON,
            "the control groups of this program are removed",
            || Ok(control_groups::remove(|name| name.starts_with(&own))),
        );
        if let Err(error) = left {
            eprintln!("{error:#}");
        }
    }
}

/// Whether a process is of this actors: its environment or its command line names it.
fn is_ours(pid: i32, dir: &Path) -> bool {
    let dir = dir.display().to_string();
    ["environ", "cmdline"].iter().any(|file| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(&dir)
    })
}

/// Writes a program that `text` is.
pub(crate) fn program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// A `[[group]]` of `resources`.
pub fn group(name: &str, settings: &str, resources: &[String]) -> String {
    let resources = resources.concat();
    // Stories wait for groups to go back to the first node.
    let back = match settings.contains("stickiness") {
        true => "",
        false => "stickiness = 0\n",
    };
    format!("\n[[group]]\nname = \"{name}\"\n{back}{settings}\n{resources}")
}

/// An actor that is looked at each `interval`.
pub fn actor(name: &str, interval: Duration, settings: &str) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "\n[[group.resource]]\nname = \"{name}\"\ntype = \"ocf:rig:actor\"\n\
         monitor_interval = \"{}ms\"\n{settings}\n",
        interval.as_millis()
    );
    text
}

/// An address on the first link.
pub fn vip(name: &str, host: u8) -> String {
    format!(
        "\n[[group.resource]]\nname = \"{name}\"\ntype = \"vip\"\naddress = \"10.77.0.{host}/24\"\n"
    )
}
