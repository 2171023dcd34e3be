//! The time from the kill of a process to the agent's event, by the kernel program and by a pidfd.
//!
//! A pidfd tells when all is over, so a process with much memory is measured, too. The processes
//! take turns within each round.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::wire::Health;
use heartbeat_user::dataplane::ProcessExits;
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{
    children::{LARGE, Process, Role},
    cpu::{CpuTime, CpuUse},
    pair::Pair,
    quantiles::Quantiles,
};
use crate::{interrupt, sys::boottime, wait::wait_until};

/// An end that is not reported within this time counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest time until a process has its memory.
const READY: Duration = Duration::from_secs(10);

/// The time from the kill of a process to the report of its end, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Exits {
    pub small: Ends,
    pub large: Ends,
    /// The memory of each large process.
    pub large_mib: usize,
    /// Of the whole machine, all of this included.
    pub cpu: CpuUse,
}

/// Of processes of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Ends {
    /// Until the kernel program ran.
    pub seen: Quantiles,
    /// Until the agent had its event.
    pub told: Quantiles,
    /// Until the agent knew by a pidfd.
    pub pidfd: Quantiles,
}

pub(super) fn measure(pair: &mut Pair, phase: Duration) -> Result<Exits> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the tokio runtime")?;
    let mut kernel = {
        let _inside = runtime.enter();
        ProcessExits::listen(pair.near_plane_mut().exit_program())
    };
    ensure!(
        kernel.by_kernel(),
        "the kernel tells of no exits, see the log"
    );
    let mut pidfds = ProcessExits::by_pidfd();
    let (mut small, mut large) = (Books::default(), Books::default());
    let cpu = CpuTime::now()?;
    let start = Instant::now();
    while start.elapsed() < phase {
        interrupt::check()?;
        for (role, samples) in [(Role::Stay, &mut small), (Role::StayLarge, &mut large)] {
            let received = receive(&runtime, &mut kernel, role)?;
            samples.rounds += 1;
            samples.seen.extend(received.map(|received| received.seen));
            samples.told.extend(received.map(|received| received.told));
            let received = receive(&runtime, &mut pidfds, role)?;
            samples.pidfd.extend(received.map(|received| received.told));
        }
    }
    Ok(Exits {
        small: small.ends(),
        large: large.ends(),
        large_mib: LARGE >> 20,
        cpu: cpu.until_now()?,
    })
}

/// Nanoseconds since the kill.
#[derive(Clone, Copy, Debug)]
struct Received {
    seen: u64,
    told: u64,
}

#[derive(Debug, Default)]
struct Books {
    rounds: usize,
    seen: Vec<u64>,
    told: Vec<u64>,
    pidfd: Vec<u64>,
}

impl Books {
    fn ends(self) -> Ends {
        let Self {
            rounds,
            seen,
            told,
            pidfd,
        } = self;
        Ends {
            seen: Quantiles::new(seen, rounds),
            told: Quantiles::new(told, rounds),
            pidfd: Quantiles::new(pidfd, rounds),
        }
    }
}

/// Kills a process that is watched by `exits`. `None` if its end is not reported.
fn receive(runtime: &Runtime, exits: &mut ProcessExits, role: Role) -> Result<Option<Received>> {
    let process = Process::start(role, PATIENCE + READY, Stdio::null())?;
    wait_until(READY, "a process has its memory and sleeps", || {
        settled(process.pid(), role)
    })?;
    runtime.block_on(async {
        exits.watch(process.pid(), 0, Health::default())?;
        let killed = boottime();
        process.kill()?;
        let exit = tokio::time::timeout(PATIENCE, exits.next()).await;
        let told = boottime().since(killed).as_nanos() as u64;
        exits.unwatch(process.pid());
        Ok(exit.ok().map(|exit| Received {
            seen: exit.at.since(killed).as_nanos() as u64,
            told,
        }))
    })
}

/// Whether a process has all the memory that its role takes, and has nothing more to do.
fn settled(pid: u32, role: Role) -> Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("it ended early")?;
    // After the name, which may hold anything: state, and 22nd from there the pages in memory,
    // proc(5).
    let fields: Vec<&str> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').collect())
        .unwrap_or_default();
    let pages: usize = fields.get(21).context("a short stat")?.parse()?;
    let page = sysconf(SysconfVar::PAGE_SIZE)?.context("no page size")?;
    let resident = pages * usize::try_from(page)?;
    let wanted = if role == Role::StayLarge { LARGE } else { 1 };
    Ok(fields[0] == "S" && resident >= wanted)
}
