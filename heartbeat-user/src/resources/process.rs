//! Runs one program to its end, without a shell, and never longer than it may.
//!
//! The program gets nothing of the agent: no environment, terminal, descriptors, priority or signal
//! settings but what is given. All that it started goes with it when it takes too long or when nobody
//! waits any more; what it leaves behind in the background otherwise is its own affair. Knows nothing of
//! what the exit code means.
//!
//! The agent asks its [`helper`](crate::helper) for it; here is what that does.

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use heartbeat_sys::process::{child, pidfd::Pidfd};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use super::runs::{Remains, Run};

pub const SAFE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// From the request to end to the order.
const GRACE: Duration = Duration::from_millis(500);
/// From the order to the end: what sleeps in the kernel and cannot be woken is not waited for any longer.
const KILLED: Duration = Duration::from_secs(1);
/// How long to wait for the end of its output after its own. What it wrote itself is there already; only
/// a child of it can keep the pipe open.
const DRAIN: Duration = Duration::from_millis(20);
/// What is kept of each stream.
pub const LAST_WORDS: usize = 4096;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// How many bytes of each stream to keep, the last ones; with 0 it has no streams.
    pub keep: usize,
    /// The resource that it is run for, if it is.
    pub resource: Option<String>,
}

impl Program {
    /// With the environment that every resource gets, and nothing else.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            environment: vec![
                ("PATH".into(), SAFE_PATH.into()),
                ("LC_ALL".into(), "C".into()),
            ],
            keep: LAST_WORDS,
            resource: None,
        }
    }

    /// Of a command line: the program and its arguments. Never empty, by the configuration's check.
    pub fn of(line: &[String]) -> Self {
        let (path, args) = match line {
            [path, args @ ..] => (path.as_str(), args),
            [] => ("", &[][..]),
        };
        Self {
            args: args.to_vec(),
            ..Self::new(path)
        }
    }

    /// The same, run for a resource.
    pub fn of_resource(self, name: &str) -> Self {
        Self {
            resource: Some(name.to_owned()),
            ..self
        }
    }

    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// As a command in a session of its own. Its standard streams are closed to it but for what the caller says.
    fn command(&self, run: &Run, register: Option<child::Register>) -> std::process::Command {
        let mut command = std::process::Command::new(&self.path);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        child::make_independent(&mut command, run.entrance(), register);
        command
    }
}

/// A file to which a program adds its own /proc/self/stat before it begins; the file then gets its name. So whoever
/// finds that knows the process, however its parent ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The file.
    pub from: PathBuf,
    /// What it is called in the end.
    pub to: PathBuf,
}

/// Starts a program that goes on when its parent ends, and registers itself.
///
/// # Panics
/// Outside a tokio runtime.
pub fn launch(program: &Program, registration: &Registration) -> io::Result<Child> {
    let register =
        child::Register::open(&registration.from, &registration.to).map_err(|error| {
            let file = registration.from.display();
            io::Error::other(format!("could not open {file} to register it: {error}"))
        })?;
    let run = Run::of_service(program.resource.as_deref());
    Command::from(program.command(&run, Some(register))).spawn()
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `None` if it was killed because it took too long.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    /// Some of it was killed and does not end.
    pub lingers: Option<Lingers>,
}

/// Something that was killed, and waits in the kernel. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Lingers(watch::Receiver<()>);

impl Lingers {
    /// What has ended with `gone`, which is dropped when nobody asks any more.
    pub(crate) fn until(gone: impl Future<Output = ()> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(());
        tokio::spawn(async move {
            tokio::select! {
                () = gone => {}
                () = sender.closed() => {}
            }
        });
        Self(receiver)
    }

    /// Waits until all of it has ended.
    pub async fn gone(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Runs `program` to its end, or kills it with all that it started after `limit`. Fails if it could not be started.
/// One that cannot be killed is not waited for.
///
/// Dropping the future kills all of it at once.
pub async fn run(program: &Program, limit: Duration) -> io::Result<Ended> {
    let began = Instant::now();
    let mut run = Run::new(program.resource.as_deref());
    let mut command = program.command(&run, None);
    if program.keep > 0 {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = Command::from(command).spawn()?;
    let mut stdout = Stream::new(child.stdout.take(), program.keep);
    let mut stderr = Stream::new(child.stderr.take(), program.keep);
    // It leads its session and so its group: they share their number.
    let leader = child.id().and_then(|id| i32::try_from(id).ok());
    let leader = Pid::from_raw(leader.ok_or_else(|| io::Error::other("it has no process id"))?);
    let group = Group(Some(leader));
    run.started(leader);
    let remains = run.remains(leader);
    // Tells of the end without reaping, so that the number stays the group's until we are done with it.
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
    let (mut stdout, mut stderr) = (stdout.kept(), stderr.kept());
    let (status, lingers) = match in_time {
        true => (Some(child.wait().await?), None),
        false => {
            let remaining = reap(child, end, remains).await;
            if let Some((process, _)) = &remaining {
                (stdout, stderr) = (String::new(), unkillable(*process));
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

/// Waits for the end of all that was killed, and reaps it. What does not end is reaped when it has: one of its
/// processes then, and how to learn of the end.
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
        // It fails only when this process ends.
        if reaped.await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    Some((remains.process(), lingers))
}

fn unkillable(process: Pid) -> String {
    format!(
        "killed, but process {process} does not end: it waits in the kernel for a disk or a file system that does not \
         answer"
    )
}

/// The process group of a program that runs. Dropping it ends the group.
///
/// Its leader must not have been waited for yet: then the number cannot be another's.
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

/// What a program says on one of its streams.
struct Stream<R> {
    /// `None` after its end.
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

    /// Reads to the end. Cancel-safe: what was read is kept.
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
