//! Runs one program to its end, without a shell, and within a time limit.
//!
//! The program inherits no environment, terminal, descriptors, priority or signal settings from the
//! agent except the given ones. If it takes too long, or the future is dropped, all processes that
//! it started end with it. Otherwise the daemons that it leaves stay. Exit codes have no meaning in
//! this file.
//!
//! The agent sends a run to its [`helper`](crate::helper), and the helper calls this file.

use std::{
    io,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use heartbeat_sys::process::{child, pidfd::Pidfd};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
};

use super::{
    ended::{Ended, Lingers},
    output,
    program::{Program, Registration},
    runs::{Remains, Run},
    setting::Resolved,
};

/// Time from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// Longest wait from SIGKILL to the end. A process in an uninterruptible sleep is not waited for
/// any longer.
const KILLED: Duration = Duration::from_secs(1);
/// Time from the end of a program to the end of its output. The program's own output is there
/// already; only a child can keep the pipe open.
const DRAIN: Duration = Duration::from_millis(20);

/// Returns the program as a command in a session of its own, with its standard streams closed. The
/// caller may open some.
fn spawnable(
    program: &Program,
    resolved: Resolved,
    run: &Run,
    register: Option<child::Register>,
) -> std::process::Command {
    let mut command = std::process::Command::new(&program.path);
    let directory = program.setting.directory.as_deref();
    command
        .args(&program.args)
        .env_clear()
        .envs(resolved.environment)
        // The program's own variables override the defaults.
        .envs(
            program
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .current_dir(directory.unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    child::make_independent(&mut command, run.entrance(), register, resolved.confines);
    command
}

/// Starts a program that outlives its parent, and registers itself. The program writes to a new
/// file at `output`.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn launch(
    program: &Program,
    registration: &Registration,
    output: &Path,
) -> io::Result<Child> {
    let resolved = program.setting.resolve().await?;
    let register =
        child::Register::open(&registration.from, &registration.to).map_err(|error| {
            let file = registration.from.display();
            io::Error::other(format!("could not open {file} to register it: {error}"))
        })?;
    let run = Run::of_service(program.resource.as_deref());
    let owner = resolved.owner();
    let mut command = spawnable(program, resolved, &run, Some(register));
    output::attach(&mut command, output, owner);
    Command::from(command).spawn().map_err(child::spawn_error)
}

/// Runs `program` to its end, or kills it after `limit` with all that it started. Fails if the
/// start failed. Does not wait for a program that cannot be killed.
///
/// Dropping the future kills the whole run at once.
pub async fn run(program: &Program, limit: Duration) -> io::Result<Ended> {
    let began = Instant::now();
    let resolved = program.setting.resolve().await?;
    let mut run = Run::new(program.resource.as_deref());
    let mut command = spawnable(program, resolved, &run, None);
    if program.keep > 0 {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = Command::from(command).spawn().map_err(child::spawn_error)?;
    let mut stdout = Stream::new(child.stdout.take(), program.keep);
    let mut stderr = Stream::new(child.stderr.take(), program.keep);
    // The child leads its session and so its group: both have its id.
    let leader = child.id().and_then(|id| i32::try_from(id).ok());
    let leader = Pid::from_raw(leader.ok_or_else(|| io::Error::other("it has no process id"))?);
    let group = Group(Some(leader));
    run.started(leader);
    let remains = run.remains(leader);
    // The pidfd reports the end without reaping, so that the group's number is not reused before we
    // are done with it.
    let end = Pidfd::open(leader)?;
    let in_time = tokio::select! {
        ended = timeout(limit, end.ended()) => ended.is_ok(),
        never = async {
            tokio::join!(stdout.read(), stderr.read());
            std::future::pending().await
        } => never,
    };
    if in_time {
        group.leave();
        run.ended();
    } else {
        let _ = killpg(leader, Signal::SIGTERM);
        let _ = timeout(GRACE, end.ended()).await;
        drop((group, run));
    }
    let _ = timeout(DRAIN, async { tokio::join!(stdout.read(), stderr.read()) }).await;
    let (stdout, mut stderr) = (stdout.kept(), stderr.kept());
    let (status, lingers) = match in_time {
        true => (Some(child.wait().await?), None),
        false => {
            let remaining = reap(child, end, remains).await;
            if let Some((process, _)) = &remaining {
                stderr += &format!("\n{}", unkillable(*process));
            }
            (None, remaining.map(|(_, lingers)| lingers))
        }
    };
    Ok(Ended {
        status,
        stdout,
        stderr,
        took: began.elapsed(),
        lingers,
    })
}

/// Waits for the end of all killed processes, and reaps them. If a process does not end, it is
/// reaped later. The result is then the process and a future for the end.
async fn reap(mut child: Child, end: Pidfd, remains: Remains) -> Option<(Pid, Lingers)> {
    let remains = Arc::new(remains);
    let rest = Arc::clone(&remains);
    let mut reaped = tokio::spawn(async move {
        let _ = end.ended().await;
        rest.gone().await;
        let _ = child.wait().await;
    });
    if timeout(KILLED, &mut reaped).await.is_ok() {
        return None;
    }
    let lingers = Lingers::until(async {
        // The task fails only when this process ends.
        if reaped.await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    Some((remains.process(), lingers))
}

fn unkillable(process: Pid) -> String {
    format!(
        "killed, but process {process} does not end: it waits in the kernel for a disk or a file \
         system that does not answer"
    )
}

/// The process group of a running program. Dropping this value ends the group.
///
/// The leader must not have been reaped yet, so that its number cannot be another's.
struct Group(Option<Pid>);

impl Group {
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// The output of a program on one of its streams.
struct Stream<R> {
    /// `None` after the end of the stream.
    from: Option<R>,
    keep: usize,
    said: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn new(from: Option<R>, keep: usize) -> Self {
        Self {
            from,
            keep,
            said: Vec::new(),
        }
    }

    /// Reads to the end. Cancel-safe: bytes already read are kept.
    async fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(from) = &mut self.from {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => self.from = None,
                Ok(count) => {
                    self.said.extend_from_slice(&buffer[..count]);
                    let excess = self.said.len().saturating_sub(self.keep);
                    self.said.drain(..excess);
                }
            }
        }
    }

    fn kept(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }
}
