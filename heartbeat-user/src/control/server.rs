//! The agent's side of the control socket.
//!
//! Root may send every request, and the users of the configured group those that change nothing.
//! The kernel enforces the first rule by the socket's owner and mode. This module enforces the
//! second one by the user id that the kernel gives for the other end.

use std::{
    collections::VecDeque,
    fs,
    io::ErrorKind,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixListener as StdListener,
    },
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use nix::unistd::{Gid, Group};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::protocol::{Request, Response};
use crate::{config::Config, logging, logging::rate_limit::RateLimit};

/// Limit for the length of a request. The longest contain a configuration.
const MAX_REQUEST: u64 = 1024 * 1024;
/// Time that a client has to send a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Number of clients served at the same time.
const MAX_CLIENTS: usize = 32;

/// A request, and the channel for its response.
pub type Asked = (Request, oneshot::Sender<Response>);

/// Returns the group that may read, by its number on this host.
pub fn readers(config: &Config) -> Result<Option<Gid>> {
    let Some(name) = &config.control_group else {
        return Ok(None);
    };
    let path = config.path.display();
    let found = Group::from_name(name)
        .with_context(|| format!("{path}: [control]: could not look up the group \"{name}\""))?;
    let group = found.ok_or_else(|| {
        anyhow!(
            "{path}: [control]: this host has no group \"{name}\"\n  create it (`groupadd {name}`), \
             or name one that `getent group` shows"
        )
    })?;
    Ok(Some(group.gid))
}

/// Opens the socket at `path`: mode 0600, or 0660 for the group `readers`. The caller holds the
/// instance's lock, so an existing socket is that of a dead agent. Needs `CAP_CHOWN` for a group,
/// which the agent gives up once its programs are loaded.
pub fn bind(path: &Path, readers: Option<Gid>) -> Result<StdListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("could not remove the old {}", path.display()));
        }
        _ => {}
    }
    // The umask keeps others from opening the socket before its mode is set.
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = StdListener::bind(path);
    nix::sys::stat::umask(old);
    let listener =
        bound.with_context(|| format!("could not open the control socket {}", path.display()))?;
    let mode = match readers {
        None => 0o600,
        Some(group) => {
            chown(path, None, Some(group.as_raw())).with_context(|| {
                format!(
                    "could not give the group {group} access to {}",
                    path.display()
                )
            })?;
            0o660
        }
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Everything: root.
    All,
    /// Requests that change nothing.
    Read,
}

impl Access {
    const fn of(uid: u32) -> Self {
        match uid {
            0 => Self::All,
            _ => Self::Read,
        }
    }

    const fn allows(self, request: &Request) -> bool {
        matches!(self, Self::All) || request.is_for_readers()
    }
}

/// The connected clients, the oldest first.
#[derive(Debug, Default)]
struct Clients(VecDeque<(Access, AbortHandle)>);

impl Clients {
    /// Makes room for one more client, and returns whether there is room. The oldest connection is
    /// closed: an idle client cannot keep others out. No reader takes the place of root.
    fn make_room(&mut self, access: Access) -> bool {
        self.0.retain(|(_, client)| !client.is_finished());
        if self.0.len() < MAX_CLIENTS {
            return true;
        }
        let reader = self.0.iter().position(|(of, _)| *of == Access::Read);
        let oldest = match (reader, access) {
            (Some(reader), _) => reader,
            (None, Access::All) => 0,
            (None, Access::Read) => return false,
        };
        if let Some((_, client)) = self.0.remove(oldest) {
            client.abort();
        }
        true
    }
}

/// Serves clients until the task is dropped. Requests are sent to `asked`.
pub async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let mut clients = Clients::default();
    let rate_limit = RateLimit::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(caller) = stream.peer_cred() else {
                    continue;
                };
                let access = Access::of(caller.uid());
                if !clients.make_room(access) {
                    continue;
                }
                let asked = asked.clone();
                let client = tokio::spawn(async move {
                    // A client that closes early is no error of the agent.
                    let _ = serve_client(stream, (caller, access), &asked).await;
                });
                clients.0.push_back((access, client.abort_handle()));
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
async fn serve_client(
    stream: UnixStream,
    (caller, access): (UCred, Access),
    asked: &mpsc::Sender<Asked>,
) -> Result<()> {
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
            Ok(request) if !access.allows(&request) => refuse(&request, caller),
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

/// Returns the refusal of a request from a user who may only read, and logs it.
fn refuse(request: &Request, caller: UCred) -> Response {
    let command = logging::one_line(request.to_string().as_bytes());
    log::warn!("refused a command from {}: {command}", name(caller));
    Response::Error {
        message: format!(
            "`{command}` is for root: users of the group in [control] may read, and change nothing"
        ),
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
    use std::{
        os::unix::{fs::MetadataExt as _, net::UnixStream as StdStream},
        path::PathBuf,
    };

    use super::*;
    use crate::control::protocol::ConfigureStep;

    fn socket(name: &str) -> PathBuf {
        let name = format!("heartbeat-{name}-{}.sock", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn socket_belongs_to_root_alone_or_to_the_group_too() {
        let path = socket("bind");
        for (readers, mode) in [(None, 0o600), (Some(nix::unistd::getgid()), 0o660)] {
            let listener = bind(&path, readers).unwrap();
            let found = fs::metadata(&path).unwrap();
            assert_eq!(found.mode() & 0o7777, mode);
            assert_eq!(found.uid(), nix::unistd::geteuid().as_raw());
            if let Some(group) = readers {
                assert_eq!(found.gid(), group.as_raw());
            }
            drop(listener);
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn only_root_may_change_anything() {
        let text = String::new();
        let check = Request::Configure {
            node: "b".to_owned(),
            step: ConfigureStep::Check { text },
        };
        let events = Request::Events {
            after: 0,
            node: None,
        };
        for (request, allowed) in [
            (Request::Status, true),
            (events, true),
            (Request::Report, true),
            (Request::Reload, false),
            (
                Request::Cleanup {
                    resource: None,
                    node: None,
                },
                false,
            ),
            (check, false),
        ] {
            assert_eq!(Access::of(1000).allows(&request), allowed, "{request}");
            assert!(Access::of(0).allows(&request), "{request}");
        }
    }

    #[tokio::test]
    async fn request_of_a_reader_that_changes_something_reaches_no_agent() {
        let (client, server) = UnixStream::pair().unwrap();
        let caller = server.peer_cred().unwrap();
        let (asked, mut requests) = mpsc::channel(1);
        let serving = tokio::spawn(async move {
            let _ = serve_client(server, (caller, Access::Read), &asked).await;
        });
        let (reader, mut writer) = client.into_split();
        let mut lines = BufReader::new(reader).lines();
        let command = "{\"command\":\"standby\",\"node\":\"a\"}\n";
        writer.write_all(command.as_bytes()).await.unwrap();
        let answer = lines.next_line().await.unwrap().unwrap();
        assert!(answer.contains("`standby a` is for root"), "{answer}");
        assert!(requests.try_recv().is_err(), "it reached the agent");
        writer
            .write_all(b"{\"command\":\"status\"}\n")
            .await
            .unwrap();
        let (request, _answer) = requests.recv().await.unwrap();
        assert_eq!(request, Request::Status);
        serving.abort();
    }

    #[tokio::test]
    async fn readers_take_no_place_of_root() {
        let client = || tokio::spawn(std::future::pending::<()>()).abort_handle();
        let mut clients = Clients::default();
        for _ in 0..MAX_CLIENTS {
            assert!(clients.make_room(Access::All));
            clients.0.push_back((Access::All, client()));
        }
        assert!(!clients.make_room(Access::Read));
        assert!(clients.make_room(Access::All));
        clients.0.push_back((Access::Read, client()));
        assert!(clients.make_room(Access::All));
        assert!(clients.0.iter().all(|(access, _)| *access == Access::All));
        assert_eq!(clients.0.len(), MAX_CLIENTS - 1);
    }

    #[test]
    fn client_of_a_bound_socket_waits_until_it_is_served() {
        let path = socket("waits");
        let listener = bind(&path, None).unwrap();
        let _client = StdStream::connect(&path).unwrap();
        assert!(listener.accept().is_ok());
        fs::remove_file(path).unwrap();
    }

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
