//! The client of the virtual address: it sends requests periodically, and records all answers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use heartbeat_common::time::Boottime;

use crate::{
    netns::Namespace,
    service::{self, GIVEN_LEN, NUMBER_LEN},
    sys::{self, Ticker},
};

/// The age up to which a datagram may still get its answer.
const IN_FLIGHT: Duration = Duration::from_millis(20);
/// The share of datagrams, in percent, that a node must answer to serve steadily.
const STEADY_PERCENT: usize = 95;

/// The record of one request, a datagram. Its place in the list is its number.
#[derive(Clone, Debug)]
pub struct Record {
    pub sent: Boottime,
    pub answer: Option<Answer>,
    /// Further answers to the same datagram.
    pub again: Vec<Answer>,
}

impl Record {
    /// All answers to this datagram.
    pub fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.answer.iter().chain(&self.again)
    }
}

/// An answer: the node and its instants.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The instant at which the node gave it, before its kernel let it out.
    pub given: Boottime,
    /// The instant at which it reached the client.
    pub at: Boottime,
    pub node: Arc<str>,
}

/// A report of a client's thread. It goes through a channel, since no thread may wait for a reader.
enum ClientEvent {
    Sent(Boottime),
    Answered(usize, Answer),
}

/// The writing end of a client's records, for its threads.
#[derive(Clone, Debug)]
pub(crate) struct Pen {
    report: Sender<ClientEvent>,
    stop: Arc<AtomicBool>,
}

impl Pen {
    /// Whether the client still exists.
    pub(crate) fn writes(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Records that the next request is about to be sent. One thread must call it, before the
    /// answer comes. Returns whether the client still exists.
    pub(crate) fn sent(&self, at: Boottime) -> bool {
        self.writes() && self.report.send(ClientEvent::Sent(at)).is_ok()
    }

    pub(crate) fn answered(&self, number: usize, answer: Answer) -> bool {
        self.report
            .send(ClientEvent::Answered(number, answer))
            .is_ok()
    }
}

/// A client that sends a request each period until it is dropped.
#[derive(Debug)]
pub struct Client {
    period: Duration,
    books: Mutex<Books>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Books {
    reports: Receiver<ClientEvent>,
    records: Vec<Record>,
}

impl Client {
    /// Starts a client in `ns` of the service at `vip`.
    pub fn start(ns: &Namespace, vip: IpAddr, period: Duration) -> Result<Self> {
        let any: IpAddr = match vip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let to = SocketAddr::new(vip, service::PORT);
        // The socket is not connected, so errors of the network about a dead owner do not reach it.
        let sender = ns.enter(|| Ok(UdpSocket::bind((any, 0))?))?;
        sender.set_read_timeout(Some(service::POLL))?;
        let receiver = sender.try_clone()?;
        // The client owns the threads from the start: if the second fails, the first ends.
        let (mut client, pen) = Self::idle(period);
        let sent = pen.clone();
        client.spawn("client-send", move || send(&sender, to, period, &sent))?;
        client.spawn("client-receive", move || receive(&receiver, to, &pen))?;
        Ok(client)
    }

    /// A client without threads, and what they need.
    pub(crate) fn idle(period: Duration) -> (Self, Pen) {
        let (report, reports) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let books = Mutex::new(Books {
            reports,
            records: Vec::new(),
        });
        let client = Self {
            period,
            books,
            stop: Arc::clone(&stop),
            threads: Vec::new(),
        };
        (client, Pen { report, stop })
    }

    pub(crate) fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        self.threads
            .push(thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    /// Calls `read` with the records of all requests so far, in the order of their numbers.
    pub fn with_records<R>(&self, look: impl FnOnce(&[Record]) -> R) -> R {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let Books { reports, records } = &mut *books;
        for report in reports.try_iter() {
            match report {
                ClientEvent::Sent(sent) => records.push(Record {
                    sent,
                    answer: None,
                    again: Vec::new(),
                }),
                ClientEvent::Answered(number, answer) => {
                    // Each datagram is reported as sent before it leaves.
                    match records.get_mut(number) {
                        Some(record) if record.answer.is_none() => record.answer = Some(answer),
                        Some(record) => record.again.push(answer),
                        None => {}
                    }
                }
            }
        }
        look(records)
    }

    /// The node that alone served throughout the last `span`, if there was one.
    pub fn steady(&self, span: Duration) -> Option<Arc<str>> {
        let many = |d: Duration| (d.as_nanos() / self.period.as_nanos().max(1)) as usize;
        self.with_records(|records| {
            let settled = &records[..records.len().saturating_sub(many(IN_FLIGHT))];
            let last = &settled[settled.len().checked_sub(many(span).max(1))?..];
            let answers = || last.iter().filter_map(|record| record.answer.as_ref());
            let node = &answers().next_back()?.node;
            let alone = answers().all(|answer| answer.node == *node);
            let enough = answers().count() * 100 >= last.len() * STEADY_PERCENT;
            (alone && enough).then(|| Arc::clone(node))
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, period: Duration, pen: &Pen) {
    sys::realtime();
    let mut ticker = Ticker::new(period);
    for number in 0_u64.. {
        ticker.wait();
        if !pen.sent(sys::boottime()) {
            return;
        }
        // A datagram that cannot be sent stays without an answer.
        let _ = socket.send_to(&number.to_be_bytes(), to);
    }
}

fn receive(socket: &UdpSocket, vip: SocketAddr, pen: &Pen) {
    sys::realtime();
    let mut buffer = [0; 64];
    // The node names so far, which answers share.
    let mut names: Vec<Arc<str>> = Vec::new();
    while pen.writes() {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let at = sys::boottime();
        let Some((number, rest)) = buffer[..len].split_first_chunk::<NUMBER_LEN>() else {
            continue;
        };
        let Some((given, name)) = rest.split_first_chunk::<GIVEN_LEN>() else {
            continue;
        };
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if from != vip {
            continue;
        }
        let known = names
            .iter()
            .position(|known| **known == *name)
            .unwrap_or_else(|| {
                names.push(Arc::from(name));
                names.len() - 1
            });
        let node = Arc::clone(&names[known]);
        let number = u64::from_be_bytes(*number) as usize;
        let given = Boottime::from_nanos(u64::from_be_bytes(*given));
        if !pen.answered(number, Answer { given, at, node }) {
            return;
        }
    }
}
