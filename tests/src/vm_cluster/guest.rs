//! Commands in a machine: a shell behind a TCP port of the machine's management card.
//!
//! A connection is one command. The caller sends its text and closes its direction; the machine
//! runs it, and sends the output and then four bytes with the exit status.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{interrupt, netns::Namespace, service};

/// The TCP port of the machine's shell.
const PORT: u16 = 7_701;
/// The longest time until a running machine takes a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// The period in which a caller checks whether it must end.
const POLL: Duration = Duration::from_millis(100);
/// The exit status that stands for a signal.
const BY_SIGNAL: i32 = 128;

/// The helper of a node, which runs in the machine: the service behind the virtual address, and the
/// shell. Ends only with an error.
pub fn serve(node: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || {
                // A caller that went away is no error of the machine.
                let _ = answer(connection);
            });
        }
    });
    service::run(node)
}

fn answer(mut connection: TcpStream) -> Result<()> {
    let mut text = String::new();
    connection.read_to_string(&mut text)?;
    let script = format!("exec 2>&1\n{text}");
    let output = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()?;
    let status = output.status.code().unwrap_or(BY_SIGNAL);
    connection.write_all(&output.stdout)?;
    connection.write_all(&status.to_be_bytes())?;
    Ok(())
}

/// The shell of a machine, as the host sees it.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    ns: Arc<Namespace>,
    address: SocketAddr,
}

/// The result of a command.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) status: i32,
    /// Both streams.
    pub(super) text: String,
}

impl Shell {
    /// The shell at `address`, which `ns` reaches.
    pub(super) fn new(ns: Arc<Namespace>, address: Ipv4Addr) -> Self {
        Self {
            ns,
            address: (address, PORT).into(),
        }
    }

    /// Runs `command`, for at most `limit`.
    pub(super) fn run(&self, command: &str, limit: Duration) -> Result<Output> {
        self.exchange(command, limit)
            .with_context(|| format!("the machine did not run `{command}`"))
    }

    /// Runs `command`, and fails if it fails. Returns its output.
    pub(super) fn ok(&self, command: &str, limit: Duration) -> Result<String> {
        let Output { status, text } = self.run(command, limit)?;
        if status != 0 {
            bail!("`{command}` ended with {status}: {}", text.trim());
        }
        Ok(text)
    }

    fn exchange(&self, command: &str, limit: Duration) -> Result<Output> {
        let connect = || Ok(TcpStream::connect_timeout(&self.address, CONNECT)?);
        let mut connection = self.ns.enter(connect)?;
        connection.set_read_timeout(Some(POLL))?;
        connection.write_all(command.as_bytes())?;
        connection.shutdown(Shutdown::Write)?;
        let all = read(&mut connection, limit)?;
        let (text, status) = all.split_last_chunk().context("no exit status")?;
        Ok(Output {
            status: i32::from_be_bytes(*status),
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }
}

/// Reads to the end of the connection, for at most `limit`. An interrupt of the user ends it.
fn read(connection: &mut TcpStream, limit: Duration) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match connection.read(&mut part) {
            Ok(0) => return Ok(all),
            Ok(len) => all.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                interrupt::check()?;
                ensure!(begun.elapsed() < limit, "no end after {limit:?}");
            }
            Err(error) => return Err(error.into()),
        }
    }
}
