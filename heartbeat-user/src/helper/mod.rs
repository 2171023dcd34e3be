//! The helper: a process beside the agent that keeps the rights which the agent drops, and executes
//! what needs them.
//!
//! Resource agents, hooks and checks are the operator's programs and may need all rights of root.
//! The agent talks to the network and needs few. So the agent first starts the helper and then
//! drops its rights; from then on the helper starts every program. A process without a helper
//! (one-shot commands, tests) executes the same functions itself.
//!
//! ```text
//!   resources, health,    functions of     client ── Question ──▶ server
//!   load, hooks        ─▶ this module  ─▶         ◀── Answer ────   │
//!                              │ no helper           (message.rs)   │
//!                              ╰────────────▶ process, disk ◀───────╯
//! ```
//!
//! The helper's code refers neither to resources nor to checks.
//!
//! Agent and helper live and die together. When the agent ends, the kernel kills the helper and the
//! runs under way, so that this node starts nothing that another node is about to start; services
//! stay. An agent without a helper could neither monitor anything nor start another helper. So it
//! ends at once, as if killed, and its next start continues from there.

mod client;
mod disk;
mod install;
mod message;
mod server;

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitStatus,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{sys::signal::Signal, unistd::Pid};

use self::client::Client;
use crate::process::{self, Ended, Process, Program, Registration, signal_group};
pub use install::content_number;
pub use server::serve;

/// The client of this process. Like the logger, there is at most one.
static HELPER: OnceLock<Client> = OnceLock::new();

/// Starts the helper of this process, which executes from now on. Must be called once, with all
/// rights, before there are other threads.
pub fn start(instance: &str) -> Result<()> {
    let client = Client::start(instance).context("could not start the helper process")?;
    ensure!(HELPER.set(client).is_ok(), "there is a helper already");
    Ok(())
}

/// Ends the helper with its running programs, and waits for their end.
pub fn end() {
    if let Some(helper) = HELPER.get() {
        helper.end();
    }
}

/// Ends this process if its helper has ended.
pub fn check() {
    if let Some(helper) = HELPER.get() {
        helper.check();
    }
}

/// See [`process::run`].
pub async fn run(program: &Program, limit: Duration) -> io::Result<Ended> {
    match HELPER.get() {
        Some(helper) => helper.run(program, limit).await,
        None => process::run(program, limit).await,
    }
}

/// A program that outlives agent and helper.
pub struct Launched {
    pub pid: Option<u32>,
    /// The end of the program, however long that takes. The future may be dropped.
    pub end: Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send>>,
}

impl std::fmt::Debug for Launched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launched")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// See [`process::launch`].
pub async fn launch(
    program: &Program,
    registration: &Registration,
    output: &Path,
) -> io::Result<Launched> {
    match HELPER.get() {
        Some(helper) => helper.launch(program, registration, output).await,
        None => {
            let mut child = process::launch(program, registration, output).await?;
            Ok(Launched {
                pid: child.id(),
                end: Box::pin(async move { child.wait().await }),
            })
        }
    }
}

/// Sends a signal to the process group of `leader`.
pub async fn signal(leader: Process, signal: Signal) -> io::Result<()> {
    match HELPER.get() {
        Some(helper) => helper.signal(leader, signal).await,
        None => {
            signal_group(leader, signal);
            Ok(())
        }
    }
}

/// See [`process::runs::clear`].
pub async fn clear(resource: &str) -> io::Result<()> {
    match HELPER.get() {
        Some(helper) => helper.clear(resource).await,
        // Without a helper there are no control groups.
        None => Ok(()),
    }
}

/// See [`process::read_pidfile`]. Blocks, as reading a file does.
pub fn read_pidfile(path: &Path) -> io::Result<Option<Pid>> {
    match HELPER.get() {
        Some(helper) => helper.read_pidfile(path),
        None => process::read_pidfile(path),
    }
}

/// See [`disk::write`]. Blocks, for as long as the disk hangs.
pub fn write_disk(directory: PathBuf, mark: String) -> Result<String, String> {
    match HELPER.get() {
        Some(helper) => helper.write_disk(directory, mark),
        None => disk::write(&directory, &mark),
    }
}

/// See [`install::may_install`]. Blocks, like `install`.
pub fn may_install(path: &Path) -> Result<PathBuf, String> {
    match HELPER.get() {
        Some(helper) => helper.may_install(path),
        None => install::may_install(path),
    }
}

/// See [`install::install`].
pub fn install(path: &Path, text: String, replaces: u64) -> Result<PathBuf, String> {
    match HELPER.get() {
        Some(helper) => helper.install(path, text, replaces),
        None => install::install(path, &text, replaces),
    }
}
