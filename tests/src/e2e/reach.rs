//! Reachability of an address from a network namespace: by UDP with the service of each node, by
//! TCP with an echo.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    netns::Namespace,
    service::{self, GIVEN_LEN, NUMBER_LEN, POLL},
};

/// The TCP port of the echo.
const PORT: u16 = 7_701;
/// The wait for an answer that should not come.
pub const BRIEF: Duration = Duration::from_millis(100);

/// The node that answers a datagram from `ns` to `address` within `patience`; `None` if no node
/// does, or the datagram could not be sent.
pub fn ask(ns: &Namespace, address: IpAddr, patience: Duration) -> Result<Option<String>> {
    const QUESTION: [u8; NUMBER_LEN] = *b"question";
    ns.enter(|| {
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(patience))?;
        let to = SocketAddr::new(address, service::PORT);
        if socket.send_to(&QUESTION, to).is_err() {
            return Ok(None);
        }
        let mut answer = [0; 64];
        Ok(match socket.recv_from(&mut answer) {
            Ok((len, from)) if from == to && answer[..len].starts_with(&QUESTION) => {
                let name = &answer[NUMBER_LEN + GIVEN_LEN..len];
                Some(String::from_utf8_lossy(name).into_owned())
            }
            _ => None,
        })
    })
}

/// A TCP echo on all addresses of a namespace, until it is dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn start(ns: &Namespace) -> Result<Self> {
        let listener = ns.enter(|| Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("echo".to_owned())
            .spawn(move || serve(&listener, &ended))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One thread serves all clients, since there are few.
fn serve(listener: &TcpListener, stop: &AtomicBool) {
    let mut clients: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while let Ok((client, _)) = listener.accept() {
            if client.set_nonblocking(true).is_ok() {
                clients.push(client);
            }
        }
        let mut buffer = [0; 64];
        clients.retain_mut(|client| match client.read(&mut buffer) {
            Ok(0) => false,
            Ok(len) => client.write_all(&buffer[..len]).is_ok(),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        thread::sleep(POLL / 20);
    }
}

/// A connection to an echo.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    said: u8,
}

impl Connection {
    /// Connects from `ns`. `None` without a connection within `patience`.
    pub fn open(ns: &Namespace, address: IpAddr, patience: Duration) -> Result<Option<Self>> {
        let to = SocketAddr::new(address, PORT);
        let stream = ns.enter(|| Ok(TcpStream::connect_timeout(&to, patience).ok()))?;
        let stream = stream.map(|stream| Self { stream, said: 0 });
        Ok(stream)
    }

    /// Whether a new byte is echoed within `patience`.
    pub fn echoes(&mut self, patience: Duration) -> Result<bool> {
        self.said += 1;
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_nodelay(true)?;
        self.stream
            .write_all(&[self.said])
            .context("the connection was broken")?;
        let mut heard = [0];
        while self.stream.read_exact(&mut heard).is_ok() {
            if heard[0] == self.said {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
