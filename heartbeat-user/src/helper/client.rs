//! The agent's side of the helper.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use heartbeat_sys::process::passing;
use nix::{errno::Errno, sys::signal::Signal, unistd::Pid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Launched,
    message::{Answer, HEADER, Question, length, pack, unpack},
};
use crate::{
    logging,
    process::{Ended, Lingers, Process, Program, Registration},
};

/// The running program, even if another has been installed in its place.
const OURSELVES: &str = "/proc/self/exe";
/// The subcommand of the helper.
pub(super) const SUBCOMMAND: &str = "helper";
/// The time until the client tries again to hand over a connection.
const RETRY: Duration = Duration::from_millis(1);
/// Longest time from the close of the helper's files to its end.
const CLOSE_TO_END: Duration = Duration::from_millis(50);
/// Time that the helper has to kill its programs and to end.
const END_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Client {
    process: Mutex<Child>,
    /// The socket through which connections go to the helper. `None` after the request to end.
    socket: Mutex<Option<OwnedFd>>,
}

impl Client {
    pub(super) fn start(instance: &str) -> io::Result<Self> {
        let (ours, theirs) = passing::pair()?;
        let process = Command::new(OURSELVES)
            .arg0("heartbeat")
            .arg(SUBCOMMAND)
            .arg(instance)
            .stdin(theirs)
            // Signals of the terminal are for the agent only.
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::other(format!("could not run {OURSELVES}: {error}")))?;
        Ok(Self {
            process: Mutex::new(process),
            socket: Mutex::new(Some(ours)),
        })
    }

    pub(super) fn end(&self) {
        // The helper ends when it sees the end of this socket.
        drop(lock(&self.socket).take());
        let mut process = lock(&self.process);
        let until = Instant::now() + END_PATIENCE;
        while matches!(process.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(RETRY);
        }
        // The helper still runs only if it hangs.
        let _ = process.kill();
        let _ = process.wait();
    }

    pub(super) fn check(&self) {
        if let Ok(Some(_)) = lock(&self.process).try_wait() {
            let _ = self.lost();
        }
    }

    pub(super) async fn run(
        &'static self,
        program: &Program,
        limit: Duration,
    ) -> io::Result<Ended> {
        let question = Question::Run {
            program: program.clone(),
            limit,
        };
        let mut connection = self.connect().await?;
        connection.write_all(&pack(&question)?).await?;
        let answer = self.answer(&mut connection).await?;
        answer.ended(|| {
            Lingers::until(async move {
                // Without an answer the end is not known.
                if !matches!(self.answer(&mut connection).await, Ok(Answer::Gone)) {
                    std::future::pending::<()>().await;
                }
            })
        })
    }

    pub(super) async fn launch(
        &'static self,
        program: &Program,
        registration: &Registration,
        output: &Path,
    ) -> io::Result<Launched> {
        let question = Question::Launch {
            program: program.clone(),
            registration: registration.clone(),
            output: output.to_owned(),
        };
        let mut connection = self.connect().await?;
        connection.write_all(&pack(&question)?).await?;
        let pid = self.answer(&mut connection).await?.launched()?;
        let end = async move { self.answer(&mut connection).await?.exited() };
        Ok(Launched {
            pid,
            end: Box::pin(end),
        })
    }

    pub(super) async fn signal(&self, leader: Process, signal: Signal) -> io::Result<()> {
        let question = Question::Signal {
            leader: leader.into(),
            signal: signal as i32,
        };
        self.ask(&question).await?.signalled()
    }

    pub(super) async fn clear(&self, resource: &str) -> io::Result<()> {
        let resource = resource.to_owned();
        self.ask(&Question::Clear { resource }).await?.cleared()
    }

    pub(super) fn read_pidfile(&self, path: &Path) -> io::Result<Option<Pid>> {
        let path = path.to_owned();
        self.ask_and_block(&Question::Pidfile { path })?.pidfile()
    }

    pub(super) fn write_disk(&self, directory: PathBuf, mark: String) -> Result<String, String> {
        let question = Question::Disk { directory, mark };
        let answer = self.ask_and_block(&question);
        answer.map_err(|error| error.to_string())?.disk()
    }

    pub(super) fn may_install(&self, path: &Path) -> Result<PathBuf, String> {
        let path = path.to_owned();
        let answer = self.ask_and_block(&Question::MayInstall { path });
        answer.map_err(|error| error.to_string())?.installed()
    }

    pub(super) fn install(
        &self,
        path: &Path,
        text: String,
        replaces: u64,
    ) -> Result<PathBuf, String> {
        let path = path.to_owned();
        let answer = self.ask_and_block(&Question::Install {
            path,
            text,
            replaces,
        });
        answer.map_err(|error| error.to_string())?.installed()
    }

    /// Asks a question. Dropping the future closes the connection.
    async fn ask(&self, question: &Question) -> io::Result<Answer> {
        let question = pack(question)?;
        let mut connection = self.connect().await?;
        connection.write_all(&question).await?;
        self.answer(&mut connection).await
    }

    async fn answer(&self, connection: &mut tokio::net::UnixStream) -> io::Result<Answer> {
        let read = async {
            let mut header = [0; HEADER];
            connection.read_exact(&mut header).await?;
            let mut message = vec![0; length(header)?];
            connection.read_exact(&mut message).await?;
            unpack(&message)
        };
        read.await.map_err(|error| self.gone_or(error))
    }

    async fn connect(&self) -> io::Result<tokio::net::UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        while !self.hand_over(&theirs)? {
            tokio::time::sleep(RETRY).await;
        }
        tokio::net::UnixStream::from_std(ours)
    }

    fn ask_and_block(&self, question: &Question) -> io::Result<Answer> {
        let question = pack(question)?;
        let (mut ours, theirs) = UnixStream::pair()?;
        while !self.hand_over(&theirs)? {
            std::thread::sleep(RETRY);
        }
        drop(theirs);
        let mut read = || {
            ours.write_all(&question)?;
            let mut header = [0; HEADER];
            ours.read_exact(&mut header)?;
            let mut message = vec![0; length(header)?];
            ours.read_exact(&mut message)?;
            unpack(&message)
        };
        read().map_err(|error| self.gone_or(error))
    }

    /// Hands the connection to the helper. Returns false if too many are on their way.
    fn hand_over(&self, connection: &UnixStream) -> io::Result<bool> {
        let socket = lock(&self.socket);
        let Some(socket) = socket.as_ref() else {
            return Err(ending());
        };
        match passing::send(socket, connection) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN | Errno::ETOOMANYREFS) => Ok(false),
            Err(error) => Err(error.into()),
        }
        .map_err(|error| self.gone_or(error))
    }

    /// Explains the end of a connection without an answer. Either the helper has ended, or it could
    /// not take the connection.
    fn gone_or(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionReset | UnexpectedEof if self.is_ending() => self.lost(),
            BrokenPipe | ConnectionReset | UnexpectedEof => {
                io::Error::other("the helper process could not take the question: its log says why")
            }
            _ => error,
        }
    }

    /// Whether the helper has ended or has been asked to end. The helper closes its files a moment
    /// before the kernel reports its end.
    fn is_ending(&self) -> bool {
        let until = Instant::now() + CLOSE_TO_END;
        loop {
            let asked = lock(&self.socket).is_none();
            if asked || matches!(lock(&self.process).try_wait(), Ok(Some(_))) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Ends this process. Without the helper the agent can neither monitor nor stop anything, and
    /// it lacks the rights to start another helper. The end is like that of a kill: everything
    /// stays in place for the next start, or the lease ends.
    fn lost(&self) -> io::Error {
        // The helper was asked to end.
        match lock(&self.socket).as_ref() {
            None => return ending(),
            Some(_) => log::error!(
                "the helper process, which runs resource agents and hooks, has ended: it was \
                 killed, or failed as the log above says. Without it nothing can be monitored: \
                 this agent ends at once and leaves everything in place; start it again"
            ),
        }
        logging::finish();
        std::process::exit(1)
    }
}

fn ending() -> io::Error {
    io::Error::other("the agent ends")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
