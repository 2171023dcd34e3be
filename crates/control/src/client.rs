//! The client end of the control socket.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::net::UnixStream,
    path::Path,
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

/// A connection to a running agent.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
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
        let stream = BufReader::new(UnixStream::connect(socket)?);
        Ok(Self { stream })
    }

    /// Process id of the agent that opened the socket, in this PID namespace; 0 if the agent runs
    /// in another one.
    pub fn agent(&self) -> Result<Pid> {
        getsockopt(self.stream.get_ref(), PeerCredentials)
            .map(|peer| Pid::from_raw(peer.pid()))
            .context("could not read the agent's process id from the control socket")
    }

    /// Sends the request and waits for the answer. `takes` is the time that the request itself
    /// needs.
    pub fn ask(&mut self, request: &Request, takes: Duration) -> Result<Response> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(takes.saturating_add(PATIENCE)))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream
            .write_all(line.as_bytes())
            .context("could not send the request to the agent")?;
        line.clear();
        match self.stream.read_line(&mut line) {
            Ok(0) => bail!("the agent closed the connection: see its log"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the agent did not answer in time: is it stopped or overloaded?")
            }
            Err(error) => return Err(error).context("could not read the agent's answer"),
        }
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
        ErrorKind::PermissionDenied => "only root may connect to it: run as root",
        _ => "see the agent's log",
    };
    anyhow!(
        "could not connect to the agent at {}: {error}\n  {remedy}",
        socket.display()
    )
}
