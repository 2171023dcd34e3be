//! The agent's end of the control socket.

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

/// No request is longer. The longest have a configuration in them.
const MAX_REQUEST: u64 = 1024 * 1024;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients served at the same time.
const MAX_CLIENTS: usize = 32;

/// A request, and where its answer goes.
pub type Asked = (Request, oneshot::Sender<Response>);

/// Opens the socket at `path`, 0600. The caller holds the instance's lock, so a socket that is
/// there already is a dead agent's.
pub fn bind(path: &Path) -> Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("could not remove the old {}", path.display()));
        }
        _ => {}
    }
    // Nobody else may open it in the moment before its mode is set.
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    nix::sys::stat::umask(old);
    let listener =
        bound.with_context(|| format!("could not open the control socket {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves clients until the task is dropped. Requests go to `asked`.
pub async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let mut clients: VecDeque<AbortHandle> = VecDeque::new();
    let rate_limit = RateLimit::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.retain(|client| !client.is_finished());
                // The oldest gives way: nobody keeps others out by saying or reading nothing.
                if clients.len() == MAX_CLIENTS
                    && let Some(oldest) = clients.pop_front()
                {
                    oldest.abort();
                }
                let asked = asked.clone();
                let client = tokio::spawn(async move {
                    // A client that goes away early is no concern of ours.
                    let _ = serve_client(stream, &asked).await;
                });
                clients.push_back(client.abort_handle());
            }
            Err(error) => {
                rate_limit.warn((), || {
                    format!("could not accept a control client: {error}; it waits until that is possible again")
                });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One line in, one line out, until the client is done.
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

/// A caller as the log names it: who, and which process of theirs, by number and by name. The name
/// is whatever the process says it is.
fn name(caller: UCred) -> String {
    let uid = caller.uid();
    // None, or 0, where the caller is in another PID namespace.
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
    async fn caller_is_named_by_user_process_and_the_name_that_it_gives_itself() {
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
        // That of the first thread, which the file is about.
        fs::write(format!("/proc/{pid}/comm"), "a\n<0>\x1b[2J").unwrap();
        let named = name_of().await;
        assert_eq!(
            named,
            format!("uid {uid} (process {pid}, a\\n<0>\\u{{1b}}[2J)")
        );
    }
}
