//! A real systemd that runs units on a node: a user manager, in its own namespaces and control
//! group.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Ended, Program, SOON};
use crate::{node::Node, wait_until, workdir::make_dir};

const OUTSIDE: &str = include_str!("../../fixtures/systemd/outside.sh");
const INSIDE: &str = include_str!("../../fixtures/systemd/inside.sh");
const SYSTEMD: &str = "/lib/systemd/systemd";
const BARE: &str = "[Unit]\nDefaultDependencies=no\n";

/// The systemd of a node. It ends on drop, with all processes of its units.
#[derive(Debug)]
pub struct Manager {
    program: Option<Program>,
    dir: PathBuf,
    group: PathBuf,
}

impl Manager {
    /// The reason why there can be no systemd here.
    pub fn missing() -> Option<String> {
        if hierarchy().is_none() {
            return Some("needs a mounted cgroup2".to_owned());
        }
        let there = Path::new(SYSTEMD).exists();
        (!there).then(|| format!("needs {SYSTEMD}; run `cargo xtask setup --test`"))
    }

    /// Starts a systemd in the network of `node`.
    pub fn start(node: &Node) -> Result<Self> {
        let name = format!("hbrig-{}-systemd-{}", std::process::id(), node.name);
        let hierarchy = hierarchy().context("there is no cgroup2")?;
        let dir = node.dir().join("systemd");
        for part in ["", "run", "units"] {
            make_dir(&dir.join(part))?;
        }
        fs::write(dir.join("outside.sh"), OUTSIDE)?;
        fs::write(dir.join("inside.sh"), INSIDE)?;
        for target in ["default", "basic", "sysinit", "shutdown"] {
            fs::write(dir.join(format!("units/{target}.target")), BARE)?;
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "outside.sh"])
            .env("NAME", &name)
            .current_dir(&dir);
        let manager = Self {
            program: Some(Program::start(Some(&node.ns), command)?),
            group: hierarchy.join(name),
            dir,
        };
        let mut last = None;
        wait_until(SOON, "systemd answers", || {
            // The first process that enters becomes the first process of the namespace, so systemd
            // must be it.
            if !manager.dir.join("run/systemd/private").exists() {
                return Ok(false);
            }
            let asked = manager.systemctl(&["show", "--property=Version"])?;
            let answers = asked.status.success();
            last = Some(asked);
            Ok(answers)
        })
        .with_context(|| format!("{last:#?}, and it said {}", manager.output()))?;
        Ok(manager)
    }

    /// Writes a file of a unit.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join("units").join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs `systemctl` inside the namespaces: systemd refuses clients whose process it does not
    /// see.
    pub fn systemctl(&self, words: &[&str]) -> Result<Ended> {
        let outer = self.program.as_ref().context("it has ended")?.pid();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--pid=/proc/{outer}/ns/pid_for_children"))
            .arg(format!("--mount=/proc/{outer}/ns/mnt"))
            .args(["systemctl", "--user"])
            .args(words)
            .env("XDG_RUNTIME_DIR", self.dir.join("run"))
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        Program::run(None, command, SOON)
    }

    /// Runs `systemctl VERB UNIT`, which must succeed.
    pub fn manage(&self, verb: &str, unit: &str) -> Result<()> {
        let said = self.systemctl(&[verb, unit])?.success();
        said.map(drop).with_context(|| {
            let status = self.systemctl(&["status", "--full", unit]);
            format!("{}\n{status:#?}", self.output())
        })
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let said = self.systemctl(&["show", "--value", "--property", name, unit])?;
        Ok(said.success()?.trim_end().to_owned())
    }

    /// Waits until a property of a unit is `wanted`.
    pub fn wait(&self, unit: &str, name: &str, wanted: &str) -> Result<()> {
        let mut last = String::new();
        wait_until(SOON, &format!("{name} of {unit} is {wanted}"), || {
            last = self.property(unit, name)?;
            Ok(last == wanted)
        })
        .with_context(|| format!("it was `{last}`; systemd said {}", self.output()))
    }

    /// The output of systemd and its units.
    pub fn output(&self) -> String {
        let said = |program: &Program| format!("{}{}", program.out(), program.err());
        self.program.as_ref().map(said).unwrap_or_default()
    }

    /// The id of the process of program `name` in a control group of this systemd. Fails unless
    /// there is exactly one.
    pub fn process(&self, name: &str) -> Result<u32> {
        let mut found = Vec::new();
        members(&self.group, &mut found)?;
        let is = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.trim_end() == name)
        };
        found.retain(is);
        ensure!(found.len() == 1, "processes {found:?} are called {name}");
        Ok(found[0])
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // The first process of the namespace dies, and with it all others.
        self.program = None;
        let until = Instant::now() + SOON;
        while remove(&self.group).is_err() {
            if Instant::now() > until {
                eprintln!("could not remove {}", self.group.display());
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The mount point of cgroup2.
fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next()? == "cgroup2").then(|| PathBuf::from(place))
    })
}

/// Collects all processes in a control group and its children.
fn members(group: &Path, found: &mut Vec<u32>) -> Result<()> {
    let procs = fs::read_to_string(group.join("cgroup.procs"))?;
    found.extend(procs.lines().filter_map(|pid| pid.parse::<u32>().ok()));
    for inner in inner(group)? {
        members(&inner, found)?;
    }
    Ok(())
}

/// Removes a control group and its children, which must be empty.
fn remove(group: &Path) -> std::io::Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for inner in inner(group)? {
        remove(&inner)?;
    }
    fs::remove_dir(group)
}

fn inner(group: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
