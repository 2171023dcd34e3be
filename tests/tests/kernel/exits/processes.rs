//! Processes that end, and who is told of it.

use std::{env, fs, future::Future, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, RingBuf},
    programs::{ProgramError, RawTracePoint},
};
use heartbeat_common::{
    exits::{ExitEvent, WatchedProcess},
    maps::Local,
    wire::Health,
};
use heartbeat_tests::{e2e::Program, kernel, needs, wait_until};
use heartbeat_user::dataplane::{Exit, ProcessExits, WatchError};
use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

/// How long anything may take that must happen, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The distribution's.
const PYTHON: &str = "/usr/bin/python3";

/// As the agent hears of exits.
pub(crate) struct Agent {
    pub(crate) exits: ProcessExits,
    /// Of the kernel program, if there is one.
    pub(crate) program: Option<u32>,
    runtime: Runtime,
}

impl Agent {
    fn new(hears: impl FnOnce() -> Result<(ProcessExits, Option<u32>)>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let (exits, program) = hears()?;
        drop(inside);
        Ok(Self {
            exits,
            program,
            runtime,
        })
    }

    pub(crate) fn with_kernel() -> Result<Self> {
        let object = kernel::object()?;
        Self::new(|| {
            let mut ebpf = Ebpf::load_file(&object)?;
            let exits = ProcessExits::attach(&mut ebpf);
            ensure!(exits.by_kernel(), "the kernel refused both programs");
            let loaded = ["process_exit", "leader_exit"]
                .into_iter()
                .find_map(|name| {
                    let program: &RawTracePoint = ebpf.program(name)?.try_into().ok()?;
                    program.info().ok()
                });
            Ok((exits, loaded.map(|info| info.id())))
        })
    }

    pub(crate) fn with_pidfds() -> Result<Self> {
        Self::new(|| Ok((ProcessExits::by_pidfd(), None)))
    }

    /// Watches within the runtime.
    pub(crate) fn watch(&mut self, pid: u32, token: u32) -> Result<(), WatchError> {
        let _inside = self.runtime.enter();
        self.exits.watch(pid, token, Health::default())
    }

    pub(crate) fn next(&mut self) -> Result<Exit> {
        in_time(&self.runtime, self.exits.next())
    }

    pub(crate) fn wait_gone(&self, exit: &Exit) -> Result<()> {
        in_time(&self.runtime, exit.gone())
    }

    /// That nothing is to be told: of one more process, which is told after all that came before.
    pub(crate) fn is_quiet(&mut self) -> Result<()> {
        const TOKEN: u32 = u32::MAX;
        let fence = stays()?;
        let pid = fence.pid();
        self.watch(pid, TOKEN)?;
        fence.signal(Signal::SIGKILL)?;
        let exit = self.next()?;
        ensure!((exit.pid, exit.token) == (pid, TOKEN), "{exit:?}");
        Ok(())
    }
}

fn in_time<T>(runtime: &Runtime, what: impl Future<Output = T>) -> Result<T> {
    let limited = async { tokio::time::timeout(PATIENCE, what).await };
    runtime.block_on(limited).context("nothing was told")
}

/// Plays `test` with the kernel program, then with pidfds alone.
pub(crate) fn both_ways(test: impl Fn(&mut Agent) -> Result<()>) -> Result<()> {
    needs!(Kernel);
    let mut kernel = Agent::with_kernel()?;
    test(&mut kernel).context("with the kernel program")?;
    test(&mut Agent::with_pidfds()?).context("with pidfds alone")
}

/// One of the programs and its maps, without an agent.
pub(crate) struct Bare {
    processes: HashMap<MapData, u32, WatchedProcess>,
    exits: RingBuf<MapData>,
    local: Array<MapData, Local>,
    /// Holds the program's link.
    _ebpf: Ebpf,
}

impl Bare {
    /// `None` if the tracepoint does not say what the program asks for.
    pub(crate) fn attach(object: &Path, name: &str, tracepoint: &str) -> Result<Option<Self>> {
        let mut ebpf = Ebpf::load_file(object)?;
        let program: &mut RawTracePoint =
            ebpf.program_mut(name).context("no program")?.try_into()?;
        program.load()?;
        match program.attach(tracepoint) {
            Ok(_) => {}
            Err(ProgramError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EINVAL) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context(format!("could not attach {name}")),
        }
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        Ok(Some(Self {
            processes: take("processes")?.try_into()?,
            exits: take("exits")?.try_into()?,
            local: take("local")?.try_into()?,
            _ebpf: ebpf,
        }))
    }

    pub(crate) fn watch(&mut self, pid: u32, token: u32, health: Health) -> Result<()> {
        let entry = WatchedProcess {
            token,
            health: health.0.into(),
            ..WatchedProcess::default()
        };
        Ok(self.processes.insert(pid, entry, 0)?)
    }

    pub(crate) fn watches(&self, pid: u32) -> bool {
        self.processes.get(&pid, 0).is_ok()
    }

    /// What the kernel knows of this node's health.
    pub(crate) fn kernel_health(&self) -> Result<u32> {
        Ok(self.local.get(&0, 0)?.kernel_health)
    }

    /// Pid and token of all that was told since the last call.
    pub(crate) fn told(&mut self) -> Result<Vec<(u32, u32)>> {
        let mut told = Vec::new();
        while let Some(item) = self.exits.next() {
            match bytemuck::try_pod_read_unaligned::<ExitEvent>(&item) {
                Ok(event) => told.push((event.pid, event.token)),
                Err(error) => bail!("an exit event of {} bytes: {error}", item.len()),
            }
        }
        Ok(told)
    }
}

/// A process that stays until its input is closed.
pub(crate) fn stays() -> Result<Program> {
    Program::start(None, Command::new("cat"))
}

/// A process of `count` threads beside its first one, which leaves before them at SIGUSR1.
pub(crate) fn threads(count: usize) -> Result<Program> {
    let package = env::var_os("CARGO_MANIFEST_DIR").context("no CARGO_MANIFEST_DIR")?;
    let mut command = Command::new(PYTHON);
    command
        .arg("-B")
        .arg(Path::new(&package).join("fixtures/threads.py"))
        .arg(count.to_string());
    let mut program = Program::start(None, command)?;
    program.line(1, PATIENCE)?;
    Ok(program)
}

/// Ends it by a signal, and lets nobody have its id before.
pub(crate) fn kill(program: Program) -> Result<()> {
    program.signal(Signal::SIGKILL)?;
    program.end(PATIENCE).map(drop)
}

/// Waits until thread `tid` of process `pid` has ended and waits to be reaped.
pub(crate) fn wait_zombie(pid: u32, tid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/task/{tid}/stat");
    wait_until(PATIENCE, "the thread has ended", || {
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        // The name before it may hold anything.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        Ok(state.is_some_and(|state| state.starts_with('Z')))
    })
}
