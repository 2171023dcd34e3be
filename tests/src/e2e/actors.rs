//! Actors: resources with a scripted OCF agent that does what a test sets, and records all its
//! calls.
//!
//! All nodes share one directory. A resource that "runs" on a node is a file there with the node's
//! name. When the actors are dropped, their files and the processes of their scripts are removed.

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
    control_groups,
    sys::boottime,
    wait_until,
    workdir::{WorkDir, make_dir},
};

const ACTOR: &str = include_str!("actor.sh");
const META_DATA: &str = include_str!("actor.xml");

/// The directory of the actors: agents, scripts and recorded calls.
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

    /// Writes a launcher at `path` that runs `binary` with the actors' OCF root.
    pub fn launch(&self, path: &Path, binary: &Path) -> Result<()> {
        let (root, binary) = (self.dir.path().display(), binary.display());
        let launcher = format!("#!/bin/sh\nexport OCF_ROOT={root}\nexec {binary} \"$@\"\n");
        program(path, &launcher)
    }

    /// Members a and b and a witness, with the actors' OCF root; `extra` is the configuration of
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

    /// The path of a file of the actors.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a program among the files of the actors, and returns its path.
    pub fn program(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        program(&path, text)?;
        Ok(path)
    }

    /// Makes `action` of `resource` on `node` begin with `script` from now on.
    pub fn script(&self, node: &str, resource: &str, action: &str, script: &str) -> Result<()> {
        let path = self.script_path(node, resource, action);
        // The rename is atomic: the actor may read the script at any time.
        let new = path.with_extension("new");
        fs::write(&new, format!("{script}\n"))?;
        Ok(fs::rename(new, path)?)
    }

    /// Removes the script of `action` of `resource` on `node`.
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

    /// Ends a resource on `node` without a stop.
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

    /// All calls so far, in the order of their beginnings.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let text = fs::read_to_string(self.path("calls"))?;
        // The last line may be incomplete.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        calls::read(whole)
    }

    /// The number of calls so far.
    pub fn mark(&self) -> Result<usize> {
        Ok(self.calls()?.len())
    }

    /// The starts and stops of `resources` since a mark. Fails if two overlapped.
    pub fn actions(&self, mark: usize, resources: &[&str]) -> Result<Vec<String>> {
        calls::actions(&self.calls()?[mark..], resources)
    }

    /// Waits until the starts and stops of `resources` since `mark` are `wanted`, and all have
    /// ended.
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

    /// Checks that no resource on `node` was called since `mark`, except those in `except`.
    pub fn no_calls(&self, mark: usize, node: &str, except: &[&str]) -> Result<()> {
        let calls = self.calls()?;
        let loud = calls[mark..]
            .iter()
            .find(|call| call.node == node && !except.contains(&call.resource.as_str()));
        ensure!(loud.is_none(), "{loud:?} was not to be");
        Ok(())
    }

    /// Waits until all calls on `node`, except those of `except`, have ended, and none has come for
    /// `pause`. The agent may have begun an action whose program has not recorded its call yet.
    pub fn wait_quiet(&self, node: &str, except: &[&str], pause: Duration) -> Result<()> {
        let (mut seen, mut since) = (None, boottime());
        wait_until(SOON, "the actions under way end", || {
            let mut calls = self.calls()?;
            calls.retain(|call| call.node == node && !except.contains(&call.resource.as_str()));
            let now = boottime();
            if seen.replace(calls.len()) != Some(calls.len()) {
                since = now;
            }
            Ok(now.since(since) > pause && calls.iter().all(|call| call.end.is_some()))
        })
    }

    /// All calls since `mark` without successful monitors, as text.
    pub fn report(&self, mark: usize) -> String {
        let mut calls = self.calls().unwrap_or_default();
        let mut calls = calls.split_off(mark.min(calls.len()));
        calls.retain(|call| call.action != "monitor" || !matches!(call.end, Some((_, 0))));
        format!("the calls were\n{}", calls::list(&calls))
    }

    /// Checks that no resource was started while it may have run on the node; with `anywhere`, on
    /// any node.
    pub fn never_twice(&self, anywhere: bool) -> Result<()> {
        calls::never_twice(&self.calls()?, anywhere)
    }
}

impl Drop for Actors {
    fn drop(&mut self) {
        // Processes that scripts left running have their ids in files here.
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
        // A daemon of an earlier start has no file any more.
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

/// Whether a process belongs to these actors: its environment or command line has their directory.
fn is_ours(pid: i32, dir: &Path) -> bool {
    let dir = dir.display().to_string();
    ["environ", "cmdline"].iter().any(|file| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(&dir)
    })
}

/// Writes an executable file with `text`.
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
    // Most tests expect groups to return to the first node.
    let back = match settings.contains("stickiness") {
        true => "",
        false => "stickiness = 0\n",
    };
    format!("\n[[group]]\nname = \"{name}\"\n{back}{settings}\n{resources}")
}

/// An actor that is monitored each `interval`.
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
