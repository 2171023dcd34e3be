//! A client that requests a page periodically, each time by a new connection.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use anyhow::Result;
use heartbeat_common::time::Boottime;
use nix::sched::{CloneFlags, setns};

use crate::{
    client::{Answer, Client, Pen},
    netns::Namespace,
    sys::{self, Ticker},
};

const PORT: u16 = 80;
/// The time between two requests.
pub const PERIOD: Duration = Duration::from_millis(20);
/// The longest time for a connection, and then for the page.
const PATIENCE: Duration = Duration::from_millis(100);
/// A number of threads that suffices for all requests that wait for an answer at a time.
const WORKERS: usize = 16;

type Questions = Arc<Mutex<Receiver<(usize, Boottime)>>>;

impl Client {
    /// Starts a client in `ns` of the page at `address`. The page's last line is the name of the
    /// node.
    ///
    /// The instant of an answer is unknown. The records have the instant of its request instead,
    /// which is earlier.
    pub fn of_pages(ns: &Namespace, address: IpAddr) -> Result<Self> {
        let (mut client, pen) = Self::idle(PERIOD);
        let (ask, questions) = mpsc::channel();
        let questions: Questions = Arc::new(Mutex::new(questions));
        for number in 0..WORKERS {
            let (questions, pen) = (Arc::clone(&questions), pen.clone());
            let ns = ns.fd().try_clone_to_owned()?;
            client.spawn(&format!("page-{number}"), move || {
                // If this fails, every request stays without an answer, and the test fails.
                if setns(&ns, CloneFlags::CLONE_NEWNET).is_ok() {
                    work(&questions, SocketAddr::new(address, PORT), &pen);
                }
            })?;
        }
        client.spawn("pages", move || {
            sys::realtime();
            let mut ticker = Ticker::new(PERIOD);
            for number in 0.. {
                ticker.wait();
                let now = sys::boottime();
                if !pen.sent(now) || ask.send((number, now)).is_err() {
                    return;
                }
            }
        })?;
        Ok(client)
    }
}

/// Works until there are no more requests.
fn work(questions: &Questions, server: SocketAddr, pen: &Pen) {
    loop {
        let question = questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((number, given)) = question else {
            return;
        };
        // A page that does not come is a request without an answer.
        if let Some(node) = page(server) {
            let node = Arc::from(node);
            let at = sys::boottime();
            pen.answered(number, Answer { given, at, node });
        }
    }
}

/// The last line of the page, if the server serves one.
fn page(server: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let question = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.ip()
    );
    stream.write_all(question.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let well = head.starts_with("HTTP/1.1 200 ");
    well.then(|| body.lines().last().map(str::to_owned))?
}
