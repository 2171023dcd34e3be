//! An agent whose control task hangs gives its groups up, although its pulse goes on.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    e2e::{
        MILLISECOND, SOON,
        availability::wait_served,
        shortcuts::{options, wait_holder, wait_status, with_cluster},
    },
    needs,
    wait::observe,
    wait_until,
};
use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

/// Threads of another process, stopped until this value is dropped.
struct Frozen(Vec<Pid>);

impl Frozen {
    /// Stops all threads of process `pid` but those with these names.
    fn all_but(pid: u32, names: &[&str]) -> Result<Self> {
        let mut frozen = Self(Vec::new());
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task: PathBuf = entry?.path();
            let name = fs::read_to_string(task.join("comm"))?;
            if names.contains(&name.trim()) {
                continue;
            }
            let id = task.file_name().and_then(|id| id.to_str());
            let thread = Pid::from_raw(id.context("a thread without a number")?.parse()?);
            ptrace::seize(thread, ptrace::Options::empty())
                .with_context(|| format!("cannot trace thread {thread} ({})", name.trim()))?;
            frozen.0.push(thread);
            ptrace::interrupt(thread)?;
            waitpid(thread, Some(WaitPidFlag::__WALL))?;
        }
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for thread in &self.0 {
            // The thread may have ended.
            let _ = ptrace::detach(*thread, None);
        }
    }
}

#[test]
fn agent_with_a_hung_control_task_gives_its_groups_up() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let pid = cluster.node_mut("a")?.agent()?.pid();
        let frozen = Frozen::all_but(pid, &["pulse", "resources"])?;
        ensure!(!frozen.0.is_empty(), "nothing was stopped");
        wait_served(&client, "b", options().agent_stall + SOON)?;
        // The thread that moves addresses still runs.
        wait_holder(cluster, Some("b"))?;
        let asked = |status: &heartbeat_user::control::protocol::Status| {
            status
                .nodes
                .iter()
                .any(|node| node.name == "a" && node.state == "agent-stalled")
        };
        wait_status(cluster.node("b")?, "b sees that a is stalled", asked)?;
        // A hung agent gets nothing back.
        observe(2 * options().lease, || {
            let holders = cluster.holders()?;
            ensure!(holders == ["b"], "{holders:?} have the address");
            Ok(())
        })?;

        drop(frozen);
        wait_until(SOON, "the agent of a answers again", || {
            Ok(cluster.node("a")?.control.status().is_ok())
        })?;
        wait_served(&client, "a", SOON)?;
        cluster.wait_well(SOON, "a")
    })
}
