//! Reports at once that a watched process ends, by the kernel program `process_exit` and by a pidfd
//! of each process.
//!
//! The program reports the begin of an end, a pidfd its completion. A pidfd is therefore late where
//! much memory is to be freed. The pidfd stands in where the program reports nothing: where the
//! kernel refuses the program, where this agent has a PID namespace of its own, or where the
//! process had begun to end before it was watched. Each end is reported once. This module does not
//! depend on the purpose of a process, and ends none.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, RingBuf},
    programs::{ProgramError, RawTracePoint, raw_trace_point::RawTracePointLink},
    sys::SyscallError,
};
use heartbeat_common::{
    exits::{ExitEvent, WatchedProcess},
    time::Boottime,
    wire::Health,
};
use heartbeat_sys::{
    host::clock,
    process::{namespace::sees_all_processes, pidfd::Pidfd},
};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use crate::object::kernel;

const TRACEPOINT: &str = "sched_process_exit";
/// The watched processes, and the sources of the reports.
#[derive(Debug)]
pub struct ProcessExits {
    kernel: Option<Kernel>,
    /// The processes by id. The order is fixed, so that ends at the same time are reported in the
    /// same order.
    watched: BTreeMap<u32, Watched>,
}

#[derive(Debug)]
struct Watched {
    token: u32,
    process: Pidfd,
}

/// The reason why a process is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("there is no process {pid} any more")]
    Gone { pid: u32 },
    #[error("could not watch process {pid}: {error}; is it the id of a process, not of a thread?")]
    Refused { pid: u32, error: io::Error },
}

/// The end of a watched process. The process is no longer watched.
///
/// The process may still exist for a moment, with its id and its bound ports. Before a replacement
/// starts, wait until the process is [`gone`](Self::gone).
#[derive(Debug)]
pub struct Exit {
    pub pid: u32,
    /// The token given to [`ProcessExits::watch`].
    pub token: u32,
    /// Time at which the kernel program saw the end begin, or at which the agent found it complete.
    pub at: Boottime,
    process: Pidfd,
}

impl Exit {
    /// Waits until nothing is left of the process but the entry that its parent reaps. The future
    /// can be dropped at any await.
    pub async fn gone(&self) {
        poll_fn(|context| self.process.poll_gone(context)).await;
    }
}

/// The attached program before its events are read, or the reason why there is none.
pub struct ExitProgram(Result<Attached>);

impl fmt::Debug for ExitProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitProgram").finish_non_exhaustive()
    }
}

impl ExitProgram {
    /// Loads and attaches the program. This is possible once for each `ebpf`.
    pub fn attach(ebpf: &mut Ebpf) -> Self {
        Self(Attached::new(ebpf))
    }
}

impl ProcessExits {
    /// See [`ExitProgram::attach`] and [`listen`](Self::listen).
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn attach(ebpf: &mut Ebpf) -> Self {
        Self::listen(ExitProgram::attach(ebpf))
    }

    /// Reads the program's events. The program stays attached for as long as the value lives.
    /// Without a program, this logs the loss and continues without it.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn listen(program: ExitProgram) -> Self {
        let kernel = program.0.and_then(Kernel::listen).inspect_err(|error| {
            log::warn!(
                "the kernel does not report the end of processes ({error:#}): the end of a watched \
                process is noticed only when all its memory is freed"
            );
        });
        Self {
            kernel: kernel.ok(),
            watched: BTreeMap::new(),
        }
    }

    /// Watches without a kernel program, by pidfds alone.
    pub const fn by_pidfd() -> Self {
        Self {
            kernel: None,
            watched: BTreeMap::new(),
        }
    }

    /// Whether the kernel program reports ends.
    pub const fn by_kernel(&self) -> bool {
        self.kernel.is_some()
    }

    /// Watches the process that has the id `pid` now, also if its end has begun already. A process
    /// that is watched twice is reported once, with the later `token`.
    ///
    /// `health` is the effect of the end on the node's health. The kernel program sets it in every
    /// heartbeat from the end on, before the report here, until
    /// [`LocalView::set_health`](crate::LocalView::set_health) clears it. Without the program the
    /// value has no effect.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn watch(&mut self, pid: u32, token: u32, health: Health) -> Result<(), WatchError> {
        // The pidfd comes first, so that it refers to this process whatever happens to the id
        // later.
        let process = open(pid).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => WatchError::Gone { pid },
            _ => WatchError::Refused { pid, error },
        })?;
        if let Some(kernel) = &mut self.kernel
            && let Err(error) = kernel.watch(pid, token, health)
        {
            log::warn!(
                "the kernel does not watch process {pid} ({error}): its end is noticed only when \
                all its memory is freed"
            );
        }
        self.watched.insert(pid, Watched { token, process });
        Ok(())
    }

    /// Changes the effect of the end of a watched process on the node's health.
    pub fn set_health(&mut self, pid: u32, health: Health) {
        if let Some(kernel) = &mut self.kernel
            && let Some(watched) = self.watched.get(&pid)
        {
            kernel.set_health(pid, watched.token, health);
        }
    }

    /// Stops the reports about this process.
    pub fn unwatch(&mut self, pid: u32) {
        if self.watched.remove(&pid).is_some() {
            self.forget(pid);
        }
    }

    /// The next watched process that ends. The future can be dropped at any await.
    pub async fn next(&mut self) -> Exit {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Exit> {
        while let Some(kernel) = &mut self.kernel
            && let Poll::Ready(event) = kernel.poll_event(context)
        {
            // Otherwise the event is about an earlier process with this id, which is no longer
            // watched.
            if !kernel.watches(event.pid)
                && let Some(watched) = self.watched.remove(&event.pid)
            {
                return Poll::Ready(watched.exit(event.pid, Boottime::from_nanos(event.at)));
            }
        }
        let over = |(pid, watched): (&u32, &Watched)| {
            let gone = watched.process.poll_gone(context);
            gone.is_ready().then_some(*pid)
        };
        let Some(pid) = self.watched.iter().find_map(over) else {
            return Poll::Pending;
        };
        self.forget(pid);
        match self.watched.remove(&pid) {
            Some(watched) => Poll::Ready(watched.exit(pid, clock::now())),
            None => Poll::Pending,
        }
    }

    /// Ensures that the next process with this id is not watched.
    fn forget(&mut self, pid: u32) {
        if let Some(kernel) = &mut self.kernel {
            kernel.unwatch(pid);
        }
    }
}

impl Watched {
    fn exit(self, pid: u32, at: Boottime) -> Exit {
        let Self { token, process } = self;
        Exit {
            pid,
            token,
            at,
            process,
        }
    }
}

/// The attached program and its maps.
struct Attached {
    processes: HashMap<MapData, u32, WatchedProcess>,
    exits: RingBuf<MapData>,
    link: RawTracePointLink,
}

/// The attached program with a reader of its events.
struct Kernel {
    processes: HashMap<MapData, u32, WatchedProcess>,
    exits: AsyncFd<RingBuf<MapData>>,
    /// Dropping the link detaches the program.
    _link: RawTracePointLink,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

impl Attached {
    fn new(ebpf: &mut Ebpf) -> Result<Self> {
        ensure!(
            sees_all_processes()?,
            "this agent is in a pid namespace of its own, where processes have other ids"
        );
        let link = match attach(ebpf, "process_exit") {
            // The tracepoint has fewer arguments than the program reads.
            Err(error) if errno(&error) == Some(libc::EINVAL) => {
                log::warn!(
                    "Linux {} does not report which thread of a process is its last: a watched \
                    process counts as ended when its first thread ends",
                    kernel::release()
                );
                attach(ebpf, "leader_exit")
            }
            result => result,
        };
        let link = link.with_context(|| format!("could not attach to {TRACEPOINT}"))?;
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("the map `{name}` is gone"))
        };
        Ok(Self {
            processes: take("processes")?.try_into()?,
            exits: take("exits")?.try_into()?,
            link,
        })
    }
}

impl Kernel {
    fn listen(program: Attached) -> Result<Self> {
        let Attached {
            processes,
            exits,
            link,
        } = program;
        // SAFETY: the registered value owns the descriptor, and closes it only when dropped.
        let exits = unsafe { AsyncFd::register(exits) }.context("could not wait for exits")?;
        Ok(Self {
            processes,
            exits,
            _link: link,
        })
    }

    fn watch(&mut self, pid: u32, token: u32, health: Health) -> Result<(), MapError> {
        self.processes.insert(pid, entry(token, health), 0)
    }

    fn set_health(&mut self, pid: u32, token: u32, health: Health) {
        // This fails if the program has removed the entry meanwhile: then the event is on its way.
        let exist = u64::from(aya_obj::generated::BPF_EXIST);
        match self.processes.insert(pid, entry(token, health), exist) {
            Ok(()) => {}
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => log::warn!(
                "could not tell the kernel what the end of process {pid} means: {error}; the agent \
                 notices the end itself, a little later"
            ),
        }
    }

    fn watches(&self, pid: u32) -> bool {
        self.processes.get(&pid, 0).is_ok()
    }

    fn unwatch(&mut self, pid: u32) {
        match self.processes.remove(&pid) {
            // The program was faster.
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => log::warn!("could not unwatch process {pid}: {error}"),
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<ExitEvent> {
        loop {
            while let Some(item) = self.exits.get_mut().next() {
                match bytemuck::try_pod_read_unaligned(&item) {
                    Ok(event) => return Poll::Ready(event),
                    Err(error) => log::error!(
                        "could not read an exit event of {} bytes: {error}",
                        item.len()
                    ),
                }
            }
            match self.exits.poll_read_ready_mut(context) {
                // The ring is read once more afterwards: later events make the descriptor readable
                // again.
                Poll::Ready(Ok(mut ready)) => ready.clear_ready(),
                // An error means that the runtime ends, and its tasks with it.
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Opens the process that has this id now; `ESRCH` if there is none.
fn open(pid: u32) -> io::Result<Pidfd> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    Pidfd::open(Pid::from_raw(pid))
}

fn entry(token: u32, health: Health) -> WatchedProcess {
    WatchedProcess {
        since: clock::now().as_nanos(),
        token,
        health: health.0.into(),
    }
}

fn attach(ebpf: &mut Ebpf, name: &str) -> Result<RawTracePointLink, ProgramError> {
    let program = ebpf.program_mut(name);
    let program: &mut RawTracePoint = program
        .ok_or(ProgramError::UnexpectedProgramType)?
        .try_into()?;
    program.load()?;
    match program.attach(TRACEPOINT) {
        Ok(id) => program.take_link(id),
        Err(error) => {
            program.unload()?;
            Err(error)
        }
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
        _ => None,
    }
}
