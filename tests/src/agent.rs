//! A real agent as a child process in a node's namespace.

use std::{
    fs::{self, File, OpenOptions},
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::{netns::Namespace, sandbox::Sandbox, wait_until};

/// A running agent. It is killed when this value is dropped, and by the kernel if the thread that
/// started it ends.
#[derive(Debug)]
pub struct Agent {
    child: Child,
}

impl Agent {
    /// Runs `binary run --config config` in `ns`, and in `sandbox` if there is one. Its output is
    /// appended to `log`.
    pub fn start(
        binary: &Path,
        ns: &Namespace,
        sandbox: Option<&Sandbox>,
        config: &Path,
        log: &Path,
    ) -> Result<Self> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let errors: File = output.try_clone()?;
        let namespace = ns.fd().as_raw_fd();
        let mut command = Command::new(binary);
        command
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A group of its own keeps Ctrl-C from the agent: the rig ends its agents itself.
            .process_group(0);
        // SAFETY: between fork and exec only two system calls are made, both async-signal-safe;
        // the descriptor stays open in the parent, which waits for the exec.
        unsafe {
            command.pre_exec(move || {
                setns(BorrowedFd::borrow_raw(namespace), CloneFlags::CLONE_NEWNET)?;
                set_pdeathsig(Signal::SIGKILL)?;
                Ok(())
            });
        }
        let child = match sandbox {
            Some(sandbox) => sandbox.spawn(&mut command),
            None => command.spawn(),
        };
        let child =
            child.with_context(|| format!("cannot run {}; build it first", binary.display()))?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to process {pid}"))
    }

    /// The exit status of the agent, if it has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails if the agent has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => bail!("the agent ended by itself ({status}); its log tells why"),
        }
    }

    /// Sends SIGTERM to the agent, and waits for its end.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(deadline)
    }

    /// Kills the agent, which cannot clean up.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the end of the agent.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_until(deadline, "the agent ends", || {
            status = self.exited()?;
            Ok(status.is_some())
        })?;
        status.context("the agent has not ended")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Fails only for a child that was waited for, which is the aim.
        let _ = self.kill();
    }
}

/// The last lines of a log.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read_to_string(log).unwrap_or_else(|error| format!("(no log: {error})"));
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
