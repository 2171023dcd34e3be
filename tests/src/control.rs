//! A client of an agent's control socket.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_user::control::protocol::{Events, Ping, Request, Response, Status};
use serde_json::Value;

use crate::schema;

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
        match self.ask(&Request::Events { after, node: None })? {
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
            let answer: Value = serde_json::from_str(&answer)?;
            // Figures are measured with optimised builds, which spend no time here.
            if cfg!(debug_assertions) {
                check(&answer)?;
            }
            Ok(serde_json::from_value(answer)?)
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

/// Fails if a status or an event in an agent's answer is not what its schema in docs/reference
/// says.
fn check(answer: &Value) -> Result<()> {
    let problems = match answer["answer"].as_str() {
        Some("status") => {
            let mut status = answer.clone();
            status.as_object_mut().map(|fields| fields.remove("answer"));
            schema::problems_of_status(&status)
        }
        Some("events") => {
            let events = answer["events"].as_array().into_iter().flatten();
            events.flat_map(schema::problems_of_event).collect()
        }
        _ => return Ok(()),
    };
    if !problems.is_empty() {
        bail!("not as docs/reference says: {}", problems.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answer_with_a_field_that_its_schema_lacks_is_an_error() {
        let event = json!({
            "schema_version": 1, "number": 1, "at_ns": 1, "event": "quorum",
            "quorate": true, "alive": 3,
        });
        let mut answer = json!({"answer": "events", "lost": 0, "events": [event]});
        check(&answer).unwrap();
        answer["events"][0]["more"] = json!(1);
        let error = check(&answer).unwrap_err().to_string();
        assert!(error.contains("more"), "{error}");
        assert!(check(&json!({"answer": "status"})).is_err());
        check(&json!({"answer": "done", "text": ""})).unwrap();
    }
}
