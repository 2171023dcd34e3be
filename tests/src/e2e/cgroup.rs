//! Control groups (version 2) of a test, and load in them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::program::Program;

/// A control group. It is removed on drop, and must be empty by then.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The pattern of the paths, with `%NODE%` for the node's name. `None` if the kernel shows no
    /// pressure of control groups.
    pub fn pattern() -> Option<String> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let root = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next()?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(place))
        })?;
        let shown = root.join("cpu.pressure").exists();
        let own = format!("hbrig-{}-%NODE%", std::process::id());
        shown.then(|| root.join(own).display().to_string())
    }

    pub fn new(pattern: &str, node: &str) -> Result<Self> {
        let path = PathBuf::from(pattern.replace("%NODE%", node));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts `count` busy processes in the control group. They end when the returned values are
    /// dropped.
    pub fn spin(&self, count: usize) -> Result<Vec<Program>> {
        let procs = self.path.join("cgroup.procs");
        let script = format!("echo $$ >{} && while :; do :; done", procs.display());
        let spin = || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script]).stderr(Stdio::null());
            Program::start(None, command)
        };
        (0..count).map(|_| spin()).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes may take a moment to end.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("could not remove {}", self.path.display());
    }
}
