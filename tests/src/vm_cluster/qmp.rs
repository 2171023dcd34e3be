//! A client of a virtual machine's monitor (QMP): one command, one answer.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::wait_until;

/// The longest time until a machine's monitor exists.
const START: Duration = Duration::from_secs(20);
/// The longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor at `socket`. Fails as soon as `alive` fails.
    pub(super) fn connect(socket: &Path, mut alive: impl FnMut() -> Result<()>) -> Result<Self> {
        let mut connected = None;
        wait_until(START, "the machine's monitor exists", || {
            alive()?;
            connected = UnixStream::connect(socket).ok();
            Ok(connected.is_some())
        })?;
        let stream = connected.context("no connection to the monitor")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self {
            reader: BufReader::new(stream),
        };
        monitor.line().context("the monitor sends no greeting")?;
        monitor.ask("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Runs a command and returns its result.
    pub(super) fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.reader.get_mut(), "{request}")?;
        loop {
            let answer = self.line().with_context(|| format!("after {command}"))?;
            if let Some(error) = answer.get("error") {
                bail!("the monitor refuses {command}: {error}");
            }
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
            // Anything else is an event.
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line)?;
        if read == 0 {
            bail!("the monitor closed the connection");
        }
        Ok(serde_json::from_str(&line)?)
    }
}
