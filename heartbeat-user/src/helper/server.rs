//! The helper's side of the protocol: each question is executed in a task of its own.

use std::{
    io::{self, stdin},
    os::fd::AsFd as _,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_sys::{files::readiness::readable, process::passing};
use nix::{
    errno::Errno,
    sys::{
        prctl::{set_name, set_pdeathsig},
        signal,
        socket::{SockType, getsockopt, sockopt},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    task::{JoinSet, spawn_blocking},
};

use super::message::{self, Answer, HEADER, Question};
use super::{disk, install};
use crate::{
    logging,
    logging::rate_limit::RateLimit,
    process::{self, runs, signal_group},
};

/// The helper's name in process lists. The kernel keeps 15 bytes.
const NAME: &std::ffi::CStr = c"heartbeat-help";

/// Serves the agent, which holds the other end of standard input, until the agent ends.
pub fn serve(instance: Option<&str>) -> Result<()> {
    if !matches!(
        getsockopt(&stdin(), sockopt::SockType),
        Ok(SockType::SeqPacket)
    ) {
        bail!("`heartbeat run` starts its helper by itself: there is nothing to do for you here");
    }
    logging::limit_wait();
    // The kernel kills this process at the agent's end, so that no program outlives it, however
    // busy the machine is. If the agent has ended already, standard input is at its end.
    set_pdeathsig(signal::Signal::SIGKILL).context("could not ask to end with the agent")?;
    let _ = set_name(NAME);
    if let Some(instance) = instance {
        runs::begin(instance).context("could not start the process that watches over runs")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the tokio runtime")?;
    let result = runtime.block_on(answer_all());
    // The check of a disk that hangs has no reader any more.
    runtime.shutdown_background();
    result
}

async fn answer_all() -> Result<()> {
    // A signal sent by process name is meant for the agent. The agent ends in order and needs this
    // process for that.
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    let _caught: Vec<_> = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
    let door = stdin().as_fd().try_clone_to_owned()?;
    let door = readable(door)?;
    let mut tasks = JoinSet::new();
    let rate_limit = RateLimit::default();
    loop {
        tokio::select! {
            ready = door.readable() => {
                let mut ready = ready?;
                match passing::receive(door.get_ref()) {
                    Ok(Some(connection)) => {
                        connection.set_nonblocking(true)?;
                        let connection = UnixStream::from_std(connection)?;
                        tasks.spawn(answer(connection));
                    }
                    // Dropping the tasks kills their programs.
                    Ok(None) => return Ok(()),
                    Err(Errno::EAGAIN) => ready.clear_ready(),
                    // The kernel has closed the connection, which the client sees. The agent needs
                    // this process for other questions, too.
                    Err(Errno::ENOBUFS) => rate_limit.warn((), || {
                        "could not take a question of the agent: this process has as many files \
                         open as it may; raise the limit (LimitNOFILE)".to_owned()
                    }),
                    Err(error) => bail!("the agent's socket failed: {error}"),
                }
            }
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    bail!("a task of the helper ended in disorder: {error}");
                }
            }
        }
    }
}

/// Answers one question. The client may close the connection at any time.
async fn answer(mut connection: UnixStream) {
    let question = match read(&mut connection).await {
        Ok(question) => question,
        // The agent has dropped the question.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
        Err(error) => {
            log::error!("a question of the agent could not be read: {error}");
            return;
        }
    };
    let answer = match question {
        Question::Run { program, limit } => {
            tokio::select! {
                ended = process::run(&program, limit) => return send_end(connection, ended).await,
                () = closed(&mut connection) => return,
            }
        }
        Question::Launch {
            program,
            registration,
            output,
        } => match process::launch(&program, &registration, &output).await {
            Ok(mut child) => {
                send(&mut connection, &Answer::Launched { pid: child.id() }).await;
                match child.wait().await {
                    Ok(status) => Answer::Exited {
                        status: std::os::unix::process::ExitStatusExt::into_raw(status),
                    },
                    Err(error) => error.into(),
                }
            }
            Err(error) => error.into(),
        },
        Question::Signal { leader, signal } => match message::signal(signal) {
            Ok(signal) => {
                signal_group(leader.into(), signal);
                Answer::Signalled
            }
            Err(error) => error.into(),
        },
        Question::Clear { resource } => match in_thread(move || runs::clear(&resource)).await {
            Ok(()) => Answer::Cleared,
            Err(error) => error.into(),
        },
        Question::Pidfile { path } => {
            match in_thread(move || process::read_pidfile(&path))
                .await
                .and_then(|read| read)
            {
                Ok(pid) => Answer::Pidfile {
                    pid: pid.map(nix::unistd::Pid::as_raw),
                },
                Err(error) => error.into(),
            }
        }
        Question::Disk { directory, mark } => {
            match in_thread(move || disk::write(&directory, &mark)).await {
                Ok(verdict) => Answer::Disk(verdict),
                Err(error) => error.into(),
            }
        }
        Question::MayInstall { path } => match in_thread(move || install::may_install(&path)).await
        {
            Ok(result) => Answer::Installed(result),
            Err(error) => error.into(),
        },
        Question::Install {
            path,
            text,
            replaces,
        } => match in_thread(move || install::install(&path, &text, replaces)).await {
            Ok(result) => Answer::Installed(result),
            Err(error) => error.into(),
        },
    };
    send(&mut connection, &answer).await;
}

/// Sends how a program ended, and later the end of its last process, if some remain.
async fn send_end(mut connection: UnixStream, ended: io::Result<process::Ended>) {
    let lingers = ended.as_ref().ok().and_then(|ended| ended.lingers.clone());
    send(&mut connection, &ended.into()).await;
    let Some(lingers) = lingers else { return };
    tokio::select! {
        () = lingers.gone() => send(&mut connection, &Answer::Gone).await,
        () = closed(&mut connection) => {}
    }
}

/// Executes `work` in another thread, since it may hang.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)
}

async fn read(connection: &mut UnixStream) -> io::Result<Question> {
    let mut header = [0; HEADER];
    connection.read_exact(&mut header).await?;
    let mut message = vec![0; message::length(header)?];
    connection.read_exact(&mut message).await?;
    message::unpack(&message)
}

async fn send(connection: &mut UnixStream, answer: &Answer) {
    let packed = message::pack(answer).or_else(|error| message::pack(&Answer::from(error)));
    if let Ok(packed) = packed {
        let _ = connection.write_all(&packed).await;
    }
}

/// Ends when the client closes the connection. A client sends nothing after its question.
async fn closed(connection: &mut UnixStream) {
    let mut byte = [0];
    let _ = connection.read(&mut byte).await;
}
