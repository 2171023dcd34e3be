//! Processes that end, and the readers of their exits.

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

/// The longest wait for anything that must happen, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The distribution's Python, which sees the distribution's packages.
const PYTHON: &str = "/usr/bin/python3";

/// The agent's side: it watches processes and reads their exits.
pub(crate) struct Agent {
    pub(crate) exits: ProcessExits,
    /// The id of the kernel program, if there is one.
    pub(crate) program: Option<u32>,
    runtime: Runtime,
}

impl Agent {
    fn new(open: impl FnOnce() -> Result<(ProcessExits, Option<u32>)>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let (exits, program) = open()?;
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

    /// Watches a process; the call needs the runtime.
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

    /// Checks that no event is left. The exit of one more process comes after all earlier ones.
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

/// Runs `test` with the kernel program, then with pidfds alone, or skips it.
pub(crate) fn both_ways(test: impl Fn(&mut Agent) -> Result<()>) -> Result<()> {
    needs!(Kernel);
    let mut kernel = Agent::with_kernel()?;
    test(&mut kernel).context("with the kernel program")?;
    test(&mut Agent::with_pidfds()?).context("with pidfds alone")
}

/// One program and its maps, without an agent.
pub(crate) struct Bare {
    processes: HashMap<MapData, u32, WatchedProcess>,
    exits: RingBuf<MapData>,
    local: Array<MapData, Local>,
    /// The object holds the program's link.
    _ebpf: Ebpf,
}

impl Bare {
    /// Attaches the program. `None` if the tracepoint lacks an argument that the program reads.
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

    /// The health of this node, as the kernel knows it.
    pub(crate) fn kernel_health(&self) -> Result<u32> {
        Ok(self.local.get(&0, 0)?.kernel_health)
    }

    /// The pids and tokens of all events since the last call.
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

/// Starts a process that ends when its input is closed.
pub(crate) fn stays() -> Result<Program> {
    Program::start(None, Command::new("cat"))
}

/// Starts a process with `count` threads beside the first. At SIGUSR1 the first one ends before
/// them.
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

/// Kills a process, and waits for its end before its id is free.
pub(crate) fn kill(program: Program) -> Result<()> {
    program.signal(Signal::SIGKILL)?;
    program.end(PATIENCE).map(drop)
}

/// Waits until thread `tid` of process `pid` has ended and waits to be reaped.
pub(crate) fn wait_zombie(pid: u32, tid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/task/{tid}/stat");
    wait_until(PATIENCE, "the thread has ended", || {
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        // The process name before the state may contain anything.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        Ok(state.is_some_and(|state| state.starts_with('Z')))
    })
}
