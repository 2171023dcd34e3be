//! A disk that can hang: a small file system on a loop device, which can be frozen.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::Program;

/// The tools that are needed.
const TOOLS: [&str; 4] = ["mkfs.ext4", "mount", "umount", "fsfreeze"];
const PATIENCE: Duration = Duration::from_secs(20);

/// A mounted file system. It is unmounted on drop.
#[derive(Debug)]
pub struct Disk(PathBuf);

/// A frozen file system. Its writes wait until this value is dropped or this process ends.
#[derive(Debug)]
pub struct Frozen(Child);

impl Disk {
    /// The reason why there can be no such disk here.
    pub fn missing() -> Option<String> {
        let runs = |tool: &&str| {
            Command::new("which")
                .arg(tool)
                .output()
                .is_ok_and(|ran| ran.status.success())
        };
        let missing: Vec<_> = TOOLS.iter().filter(|tool| !runs(tool)).copied().collect();
        if !missing.is_empty() {
            return Some(format!("{} missing", missing.join(", ")));
        }
        (!Path::new("/dev/loop-control").exists()).then(|| "no loop devices".to_owned())
    }

    /// Makes a file system, and mounts it at `mount`, which is made as well.
    pub fn mount(mount: &Path) -> Result<Self> {
        let image = mount.with_extension("img");
        std::fs::create_dir_all(mount)?;
        std::fs::File::create(&image)?.set_len(16 << 20)?;
        tool("mkfs.ext4", ["-q".as_ref(), image.as_path()])?;
        tool("mount", ["-oloop".as_ref(), image.as_path(), mount])?;
        Ok(Self(mount.to_owned()))
    }

    /// Lets all writes wait from now on.
    pub fn freeze(&self) -> Result<Frozen> {
        // The standard input of the script ends with this process, too.
        let script =
            "fsfreeze --freeze \"$0\" && echo frozen; read -r _; fsfreeze --unfreeze \"$0\"";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut said)?;
        let frozen = Frozen(child);
        ensure!(said == "frozen\n", "{} cannot be frozen", self.0.display());
        Ok(frozen)
    }
}

fn tool<const N: usize>(program: &str, args: [&Path; N]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    Program::run(None, command, PATIENCE)?.success()
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The agent may be writing just now.
        let _ = tool("umount", ["--lazy".as_ref(), self.0.as_path()]);
    }
}
