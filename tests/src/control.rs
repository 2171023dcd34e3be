//! A client of an agent's control socket.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_user::control::protocol::{Events, Ping, Request, Response, Status};

/// The time after which an agent counts as hung.
const PATIENCE: Duration = Duration::from_secs(2);

/// The control socket of one agent.
#[derive(Clone, Debug)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn status(&self) -> Result<Status> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => self.unexpected(&other),
        }
    }

    /// The events after number `after`. Fails if some of them are already forgotten.
    pub fn events(&self, after: u64) -> Result<Events> {
        match self.ask(&Request::Events { after })? {
            Response::Events(Events { lost, .. }) if lost > 0 => {
                bail!("{lost} events after number {after} are lost: ask earlier")
            }
            Response::Events(events) => Ok(events),
            other => self.unexpected(&other),
        }
    }

    pub fn ping(&self, node: &str, count: u32) -> Result<Ping> {
        match self.ask(&Request::Ping {
            node: node.to_owned(),
            count,
        })? {
            Response::Ping(ping) => Ok(ping),
            other => self.unexpected(&other),
        }
    }

    /// Sends one request and reads its answer.
    pub fn ask(&self, request: &Request) -> Result<Response> {
        let exchange = || -> Result<Response> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let mut line = serde_json::to_string(request)?;
            line.push('\n');
            stream.write_all(line.as_bytes())?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            Ok(serde_json::from_str(&answer)?)
        };
        exchange().with_context(|| format!("asking the agent at {}", self.socket.display()))
    }

    fn unexpected<T>(&self, response: &Response) -> Result<T> {
        match response {
            Response::Error { message } => {
                bail!("the agent at {} refused: {message}", self.socket.display())
            }
            other => bail!("the agent at {} answered {other:?}", self.socket.display()),
        }
    }
}
