//! The client end of the control socket.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::Pid,
};

use super::protocol::{Request, Response};

/// Time that an agent may take to answer, beside the time that the request itself needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a running agent. After a request without an answer the next request opens a new
/// connection, because the late answer of the former would be read as its own.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

/// The reason why a request that was sent has no answer. The agent may have carried it out.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("the agent did not answer in time: is it stopped or overloaded?")]
    TimedOut,
    #[error("the agent closed the connection: see its log")]
    Closed,
    #[error("could not read the agent's answer")]
    Broken(#[source] io::Error),
}

impl Client {
    /// Connects to the agent at `socket`.
    pub fn connect(socket: &Path) -> Result<Self> {
        Self::try_connect(socket).map_err(|error| refused(socket, &error))
    }

    /// Connects to the agent at `socket`, if one runs.
    pub fn find(socket: &Path) -> Result<Option<Self>> {
        match Self::try_connect(socket) {
            Ok(client) => Ok(Some(client)),
            Err(error) if is_absence(error.kind()) => Ok(None),
            Err(error) => Err(refused(socket, &error)),
        }
    }

    fn try_connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        Ok(Self {
            socket: socket.to_owned(),
            stream: Some(BufReader::new(stream)),
        })
    }

    /// Process id of the agent that opened the socket, in this PID namespace; 0 if the agent runs
    /// in another one. Fails after a request without an answer.
    pub fn agent(&self) -> Result<Pid> {
        let stream = self.stream.as_ref();
        let stream = stream.context("the connection to the agent is closed")?;
        getsockopt(stream.get_ref(), PeerCredentials)
            .map(|peer| Pid::from_raw(peer.pid()))
            .context("could not read the agent's process id from the control socket")
    }

    /// Sends the request and waits for the answer. `takes` is the time that the request itself
    /// needs. The error is a [`NoAnswer`] if the request was sent.
    pub fn ask(&mut self, request: &Request, takes: Duration) -> Result<Response> {
        self.ask_within(request, takes.saturating_add(PATIENCE))
    }

    fn ask_within(&mut self, request: &Request, patience: Duration) -> Result<Response> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        // Only a complete answer puts the connection back.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(
                UnixStream::connect(&self.socket).map_err(|error| refused(&self.socket, &error))?,
            ),
        };
        let socket = stream.get_mut();
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket
            .write_all(line.as_bytes())
            .context("could not send the request to the agent")?;
        line.clear();
        match stream.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {}
            Ok(_) => return Err(NoAnswer::Closed.into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(NoAnswer::TimedOut.into());
            }
            Err(error) => return Err(NoAnswer::Broken(error).into()),
        }
        self.stream = Some(stream);
        match serde_json::from_str(&line).context("could not decode the agent's answer")? {
            Response::Error { message } => bail!("{message}"),
            response => Ok(response),
        }
    }
}

/// Whether the error means that no agent listens on the socket.
fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn refused(socket: &Path, error: &io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        kind if is_absence(kind) => {
            "no agent runs: start it with `heartbeat run`, or name its configuration with --config"
        }
        ErrorKind::PermissionDenied => {
            "only root may connect to it, and the users of the group in [control]: run as root, or \
             as a user of that group"
        }
        _ => "see the agent's log",
    };
    anyhow!(
        "could not connect to the agent at {}: {error}\n  {remedy}",
        socket.display()
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener, sync::mpsc, thread};

    use super::*;

    fn done(text: &str) -> Response {
        Response::Done {
            text: text.to_owned(),
        }
    }

    fn answer(stream: &mut UnixStream, text: &str) {
        let line = serde_json::to_string(&done(text)).expect("JSON") + "\n";
        stream.write_all(line.as_bytes()).expect("an open socket");
    }

    fn receive(stream: &UnixStream) {
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut line).expect("a request");
    }

    #[test]
    fn late_answer_of_a_request_is_not_the_answer_of_the_next() {
        let name = format!("heartbeat-client-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let (timed_out, wait) = mpsc::channel();
        let (written, is_written) = mpsc::channel();
        let agent = thread::spawn(move || {
            let (mut first, _) = listener.accept().expect("a client");
            receive(&first);
            wait.recv().expect("the end of the first request");
            // The client may have closed this connection.
            let line = serde_json::to_string(&done("late")).expect("JSON") + "\n";
            let _ = first.write_all(line.as_bytes());
            written.send(()).expect("a waiting test");
            let (mut second, _) = listener.accept().expect("a new connection");
            receive(&second);
            answer(&mut second, "second");
            receive(&second);
            answer(&mut second, "third");
        });
        let mut client = Client::connect(&path).expect("an agent");
        let error = client.ask_within(&Request::Reload, Duration::from_millis(20));
        let error = error.expect_err("no answer");
        assert!(
            matches!(error.downcast_ref(), Some(NoAnswer::TimedOut)),
            "{error}"
        );
        timed_out.send(()).expect("a waiting agent");
        is_written.recv().expect("a late answer");
        let second = client.ask(&Request::Status, Duration::ZERO);
        assert_eq!(second.expect("an answer"), done("second"));
        // A request with an answer keeps its connection.
        let third = client.ask(&Request::Status, Duration::ZERO);
        assert_eq!(third.expect("an answer"), done("third"));
        agent.join().expect("an agent without errors");
        fs::remove_file(path).expect("a socket");
    }

    #[test]
    fn incomplete_answer_is_no_answer() {
        let (mut agent, stream) = UnixStream::pair().expect("sockets");
        agent.write_all(b"{\"answer\"").expect("an open socket");
        agent
            .shutdown(std::net::Shutdown::Write)
            .expect("an open socket");
        let mut client = Client {
            socket: PathBuf::new(),
            stream: Some(BufReader::new(stream)),
        };
        let error = client.ask(&Request::Status, Duration::ZERO);
        let error = error.expect_err("no answer");
        assert!(
            matches!(error.downcast_ref(), Some(NoAnswer::Closed)),
            "{error}"
        );
        assert!(client.agent().is_err());
    }
}
