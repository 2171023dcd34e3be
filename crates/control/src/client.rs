//! A command's end of the control socket.

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

/// How long an agent may take to answer, beside the time that the request itself needs.
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

    /// Number of the agent's process when it opened the socket, as this PID namespace has it; 0
    /// from another one.
    pub fn agent(&self) -> Result<Pid> {
        getsockopt(self.stream.get_ref(), PeerCredentials)
            .map(|peer| Pid::from_raw(peer.pid()))
            .context("could not find out whose the control socket is")
    }

    /// Asks and waits for the answer. `takes` is how long the request itself will take.
    pub fn ask(&mut self, request: &Request, takes: Duration) -> Result<Response> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(takes.saturating_add(PATIENCE)))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream
            .write_all(line.as_bytes())
            .context("the agent did not take the request")?;
        line.clear();
        match self.stream.read_line(&mut line) {
            Ok(0) => bail!("the agent closed the connection: see its log"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the agent did not answer in time: is it stopped or overloaded?")
            }
            Err(error) => return Err(error).context("could not read the agent's answer"),
        }
        match serde_json::from_str(&line).context("the agent's answer is not understood")? {
            Response::Error { message } => bail!("{message}"),
            response => Ok(response),
        }
    }
}

/// Whether such an error means that no agent listens.
fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn refused(socket: &Path, error: &io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        kind if is_absence(kind) => {
            "no agent runs: start it with `heartbeat run`, or name its configuration with --config"
        }
        ErrorKind::PermissionDenied => "only root may ask the agent: run as root",
        _ => "is the agent well?",
    };
    anyhow!(
        "could not connect to the agent at {}: {error}\n  {remedy}",
        socket.display()
    )
}
