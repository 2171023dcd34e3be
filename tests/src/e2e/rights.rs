//! The rights of processes, as the kernel shows them (proc_pid_status(5), capabilities(7)).

use std::fs;

use anyhow::{Context as _, Result, ensure};

/// The rights of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
    /// Whether no program can give it new rights (no_new_privs).
    pub sealed: bool,
    /// The seccomp mode: 2 with a filter of system calls, 0 without (proc_pid_status(5)).
    pub seccomp: u64,
}

impl Rights {
    /// Parses a /proc/PID/status.
    pub fn parse(status: &str) -> Result<Self> {
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            value.with_context(|| format!("no {name} in {status}"))
        };
        let set = |name: &str| anyhow::Ok(u64::from_str_radix(field(name)?, 16)?);
        Ok(Self {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
            sealed: field("NoNewPrivs")? == "1",
            seccomp: field("Seccomp")?.parse()?,
        })
    }

    /// The rights of the first thread of a process.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        Self::parse(&fs::read_to_string(&path).context(path)?)
    }

    /// The rights of all threads of a process, with their names. A thread that ends meanwhile is
    /// left out.
    pub fn of_threads(pid: u32) -> Result<Vec<(String, Self)>> {
        let mut all = Vec::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = thread?.path();
            let (Ok(name), Ok(status)) = (
                fs::read_to_string(path.join("comm")),
                fs::read_to_string(path.join("status")),
            ) else {
                continue;
            };
            all.push((name.trim_end().to_owned(), Self::parse(&status)?));
        }
        Ok(all)
    }
}

/// The helper process of an agent.
pub fn helper_of(agent: u32) -> Result<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let has = |line: &str| status.lines().any(|one| one == line);
        if has("Name:\theartbeat-help") && has(&format!("PPid:\t{agent}")) {
            found.push(pid);
        }
    }
    ensure!(found.len() == 1, "agent {agent} has the helpers {found:?}");
    Ok(found[0])
}
