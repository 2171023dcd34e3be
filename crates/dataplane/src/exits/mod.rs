//! Tells at once that a watched process ends, by the kernel program `process_exit` and by a pidfd
//! of each process.
//!
//! The program tells when the end begins, a pidfd when all is over. So the pidfd is late where
//! there is much memory to free, but it stands in wherever the program cannot tell: the kernel
//! refuses it, this agent has a pid namespace of its own, or the process had begun to end before it
//! was watched. Each end is told once. Nothing here knows what a process is for, or ends any.

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
/// The processes whose end is to be told, and where it is told.
#[derive(Debug)]
pub struct ProcessExits {
    kernel: Option<Kernel>,
    /// By process id. Ordered, so that ends at the same time are told in the same order.
    watched: BTreeMap<u32, Watched>,
}

#[derive(Debug)]
struct Watched {
    token: u32,
    process: Pidfd,
}

/// Why a process is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("there is no process {pid} any more")]
    Gone { pid: u32 },
    #[error("could not watch process {pid}: {error}; is it the id of a process, not of a thread?")]
    Refused { pid: u32, error: io::Error },
}

/// A watched process ends. It is not watched any more.
///
/// The process may still be there for a moment: its id is found, its ports are bound. Before
/// anything is started in its place, wait until it is [`gone`](Self::gone).
#[derive(Debug)]
pub struct Exit {
    pub pid: u32,
    /// As given to [`ProcessExits::watch`].
    pub token: u32,
    /// When the kernel program saw the end begin; or when the agent found it over.
    pub at: Boottime,
    process: Pidfd,
}

impl Exit {
    /// Waits until nothing of the process is left but what its parent has to reap. Can be dropped
    /// at any await.
    pub async fn gone(&self) {
        poll_fn(|context| self.process.poll_gone(context)).await;
    }
}

/// The program, attached, to which nobody listens yet; or why there is none.
pub struct ExitProgram(Result<Attached>);

impl fmt::Debug for ExitProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitProgram").finish_non_exhaustive()
    }
}

impl ExitProgram {
    /// Loads and attaches it. Can be done once for each `ebpf`.
    pub fn attach(ebpf: &mut Ebpf) -> Self {
        Self(Attached::new(ebpf))
    }
}

impl ProcessExits {
    /// See [`ExitProgram::attach`] and [`listen`](Self::listen).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn attach(ebpf: &mut Ebpf) -> Self {
        Self::listen(ExitProgram::attach(ebpf))
    }

    /// The program stays attached for as long as this lives. Where there is none, says in the log
    /// what is lost, and goes on without.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen(program: ExitProgram) -> Self {
        let kernel = program.0.and_then(Kernel::listen).inspect_err(|error| {
            log::warn!(
                "the kernel does not tell when a process ends ({error:#}): going on without; the \
                end of a watched process is noticed only when all its memory is freed"
            );
        });
        Self {
            kernel: kernel.ok(),
            watched: BTreeMap::new(),
        }
    }

    /// Without a kernel program: by pidfds alone.
    pub const fn by_pidfd() -> Self {
        Self {
            kernel: None,
            watched: BTreeMap::new(),
        }
    }

    /// Whether the kernel program tells.
    pub const fn by_kernel(&self) -> bool {
        self.kernel.is_some()
    }

    /// Tells of the end of the process that has the id `pid` now, also if that has begun already.
    /// Who watches a process twice is told once, of the later `token`.
    ///
    /// `health` is what the end means for the node: the kernel program says so in every heartbeat
    /// from the end on, before anybody is told here, until
    /// [`LocalView::set_health`](crate::LocalView::set_health) takes it away. Without the program
    /// it is of no effect.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn watch(&mut self, pid: u32, token: u32, health: Health) -> Result<(), WatchError> {
        // First, so that whatever happens to the id from here on, this process is the one we mean.
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

    /// Changes what the end of a watched process means for the node.
    pub fn set_health(&mut self, pid: u32, health: Health) {
        if let Some(kernel) = &mut self.kernel
            && let Some(watched) = self.watched.get(&pid)
        {
            kernel.set_health(pid, watched.token, health);
        }
    }

    /// From here on the end of this process is not told.
    pub fn unwatch(&mut self, pid: u32) {
        if self.watched.remove(&pid).is_some() {
            self.forget(pid);
        }
    }

    /// The next watched process that ends. Can be dropped at any await.
    pub async fn next(&mut self) -> Exit {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Exit> {
        while let Some(kernel) = &mut self.kernel
            && let Poll::Ready(event) = kernel.poll_event(context)
        {
            // Else it is of an earlier process with this id, whose watcher has lost interest.
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

    /// Takes care that whoever gets this id next is not watched.
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

/// The same, listened to.
struct Kernel {
    processes: HashMap<MapData, u32, WatchedProcess>,
    exits: AsyncFd<RingBuf<MapData>>,
    /// The program detaches when this drops.
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
                    "Linux {} does not tell which thread of a process is its last: a watched \
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
        // SAFETY: the descriptor is owned by what is registered, and closed only when that drops.
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
        // Not if the program has removed it meanwhile: then its end is on its way to us.
        let exist = u64::from(aya_obj::generated::BPF_EXIST);
        match self.processes.insert(pid, entry(token, health), exist) {
            Ok(()) => {}
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => log::warn!(
                "could not tell the kernel what the end of process {pid} means: {error}; the agent \
                 goes by it all the same, a little later"
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
                    Err(error) => log::error!("an exit event of {} bytes: {error}", item.len()),
                }
            }
            match self.exits.poll_read_ready_mut(context) {
                // Then looked at once more: what comes from here on is announced anew.
                Poll::Ready(Ok(mut ready)) => ready.clear_ready(),
                // An error means that the runtime ends, and with it whoever waits.
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// The process that has this id now; `ESRCH` if there is none.
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
