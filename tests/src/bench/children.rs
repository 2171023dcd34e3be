//! The child processes of the benchmark: echoes, load, and processes to be killed.
//!
//! They run this program with a hidden argument, take no options from the user, and end by
//! themselves after a limit.

use std::{
    env, hint,
    io::{ErrorKind, stdin},
    net::UdpSocket,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::sys;

/// Longer than any datagram here.
const BUFFER: usize = 2_048;
/// The memory of a large process.
pub(super) const LARGE: usize = 256 << 20;
/// The period in which an echo checks the clock.
const POLL: Duration = Duration::from_millis(500);

/// The task of a child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Returns the datagrams that come by standard input, a UDP socket.
    Echo,
    /// The same, scheduled by SCHED_FIFO.
    EchoFifo,
    /// Uses all the time it gets of one core.
    Spin,
    /// Does nothing.
    Stay,
    /// The same, with [`LARGE`] bytes in memory.
    StayLarge,
}

impl Role {
    fn argument(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::EchoFifo => "echo-fifo",
            Self::Spin => "spin",
            Self::Stay => "stay",
            Self::StayLarge => "stay-large",
        }
    }

    /// Plays the role for `limit`, or until it is ended.
    pub fn play(self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        match self {
            Self::Echo => echo(end),
            Self::EchoFifo if !sys::realtime() => {
                bail!("SCHED_FIFO is refused: it needs root or CAP_SYS_NICE")
            }
            Self::EchoFifo => echo(end),
            Self::Spin => {
                while Instant::now() < end {
                    compute();
                }
                Ok(())
            }
            Self::Stay => {
                thread::sleep(limit);
                Ok(())
            }
            Self::StayLarge => {
                // Not zeros, which would be no memory of its own.
                let memory = hint::black_box(vec![1_u8; LARGE]);
                thread::sleep(limit);
                drop(memory);
                Ok(())
            }
        }
    }
}

/// Uses a core for about 0.1 ms.
pub(super) fn compute() {
    // Not `spin_loop`, which tells the processor, and a hypervisor, that we only wait.
    let mut work = 1_u64;
    for step in 0..100_000 {
        work = hint::black_box(work.wrapping_mul(31).wrapping_add(step));
    }
}

/// Starts this program with `arguments` as a child that the kernel kills with the calling thread.
pub(super) fn spawn(arguments: &[&str], stdin: Stdio, stdout: Stdio) -> Result<Child> {
    let program = env::current_exe().context("cannot find this program itself")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(stdin)
        .stdout(stdout)
        // Ctrl-C is for us: we end our children ourselves.
        .process_group(0);
    // SAFETY: between fork and exec only one system call is made, an async-signal-safe one.
    unsafe {
        command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
    }
    command.spawn().context("cannot start a child process")
}

/// As simple as an echo gets: one datagram in, one datagram out.
fn echo(end: Instant) -> Result<()> {
    let socket: OwnedFd = stdin().as_fd().try_clone_to_owned()?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(POLL))?;
    let mut buffer = [0; BUFFER];
    while Instant::now() < end {
        match socket.recv_from(&mut buffer) {
            // A datagram that cannot be sent back is lost, as on a network.
            Ok((len, from)) => drop(socket.send_to(&buffer[..len], from)),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("could not receive"),
        }
    }
    Ok(())
}

/// A running child. It is killed on drop, and by the kernel if the thread that started it ends.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    role: Role,
}

impl Process {
    pub(super) fn start(role: Role, limit: Duration, stdin: Stdio) -> Result<Self> {
        let limit = limit.as_millis().to_string();
        let arguments = ["--role", role.argument(), "--limit-ms", &limit];
        let child = spawn(&arguments, stdin, Stdio::null())
            .with_context(|| format!("cannot start the child process {role:?}"))?;
        Ok(Self { child, role })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process. No other process gets its id before this value is dropped.
    pub(super) fn kill(&self) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGKILL)
            .with_context(|| format!("cannot kill the child process {:?}", self.role))
    }

    /// Fails if the agent has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the child process {:?} ended ({status})", self.role),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both calls fail only if the child has ended, and then nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes of ordinary priority that compete for the cores.
#[derive(Debug)]
pub(super) struct Spinners {
    processes: Vec<Process>,
}

impl Spinners {
    pub(super) fn start(count: usize, limit: Duration) -> Result<Self> {
        let start = |_| Process::start(Role::Spin, limit, Stdio::null());
        Ok(Self {
            processes: (0..count).map(start).collect::<Result<_>>()?,
        })
    }

    /// Fails if one of them ended: the machine was less busy than it should have been.
    pub(super) fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }
}
