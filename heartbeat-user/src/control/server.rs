//! The agent's side of the control socket.

use std::{
    collections::VecDeque, fs, io::ErrorKind, os::unix::fs::PermissionsExt as _, path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::protocol::{Request, Response};
use crate::{logging, logging::rate_limit::RateLimit};

/// Limit for the length of a request. The longest contain a configuration.
const MAX_REQUEST: u64 = 1024 * 1024;
/// Time that a client has to send a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Number of clients served at the same time.
const MAX_CLIENTS: usize = 32;

/// A request, and the channel for its response.
pub type Asked = (Request, oneshot::Sender<Response>);

/// Opens the socket at `path`, mode 0600. The caller holds the instance's lock, so an existing
/// socket is that of a dead agent.
pub fn bind(path: &Path) -> Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("could not remove the old {}", path.display()));
        }
        _ => {}
    }
    // The umask keeps others from opening the socket before its mode is set.
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    nix::sys::stat::umask(old);
    let listener =
        bound.with_context(|| format!("could not open the control socket {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves clients until the task is dropped. Requests are sent to `asked`.
pub async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let mut clients: VecDeque<AbortHandle> = VecDeque::new();
    let rate_limit = RateLimit::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.retain(|client| !client.is_finished());
                // The oldest connection is closed: an idle client cannot keep others out.
                if clients.len() == MAX_CLIENTS
                    && let Some(oldest) = clients.pop_front()
                {
                    oldest.abort();
                }
                let asked = asked.clone();
                let client = tokio::spawn(async move {
                    // A client that closes early is no error of the agent.
                    let _ = serve_client(stream, &asked).await;
                });
                clients.push_back(client.abort_handle());
            }
            Err(error) => {
                rate_limit.warn((), || {
                    format!(
                        "could not accept a control client: {error}; it waits until that is \
                         possible again"
                    )
                });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers each request line with one line, until the client closes.
async fn serve_client(stream: UnixStream, asked: &mpsc::Sender<Asked>) -> Result<()> {
    let caller = stream.peer_cred()?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST));
    let mut line = String::new();
    loop {
        line.clear();
        reader.get_mut().set_limit(MAX_REQUEST);
        let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let response = match serde_json::from_str::<Request>(&line) {
            Ok(request) => {
                if !request.is_question() {
                    let command = logging::one_line(request.to_string().as_bytes());
                    logging::notice!("command from {}: {command}", name(caller));
                }
                ask(request, asked).await
            }
            Err(error) => Response::Error {
                message: format!("not a request: {error}"),
            },
        };
        let mut answer = serde_json::to_string(&response)?;
        answer.push('\n');
        writer.write_all(answer.as_bytes()).await?;
    }
}

/// Formats a caller for the log: the user id, and the process by number and name. The name is
/// chosen by the process itself.
fn name(caller: UCred) -> String {
    let uid = caller.uid();
    // The pid is none, or 0, for a caller in another PID namespace.
    match caller.pid().filter(|pid| *pid > 0) {
        Some(pid) => match fs::read(format!("/proc/{pid}/comm")) {
            Ok(comm) => format!(
                "uid {uid} (process {pid}, {})",
                logging::one_line(comm.trim_ascii_end())
            ),
            Err(_) => format!("uid {uid} (process {pid})"),
        },
        None => format!("uid {uid}"),
    }
}

async fn ask(request: Request, asked: &mpsc::Sender<Asked>) -> Response {
    let (sender, answer) = oneshot::channel();
    let gone = || Response::Error {
        message: "the agent is stopping".to_owned(),
    };
    match asked.send((request, sender)).await {
        Ok(()) => answer.await.unwrap_or_else(|_| gone()),
        Err(_) => gone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn caller_is_named_by_user_process_and_its_own_name() {
        let name_of = || async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let caller = ours.peer_cred().unwrap();
            drop(theirs);
            name(caller)
        };
        let pid = std::process::id();
        let uid = nix::unistd::getuid();
        let named = name_of().await;
        assert!(
            named.starts_with(&format!("uid {uid} (process {pid}, ")),
            "{named}"
        );
        // The main thread's name is the one under test.
        fs::write(format!("/proc/{pid}/comm"), "a\n<0>\x1b[2J").unwrap();
        let named = name_of().await;
        assert_eq!(
            named,
            format!("uid {uid} (process {pid}, a\\n<0>\\u{{1b}}[2J)")
        );
    }
}
