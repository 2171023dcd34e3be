//! The observer outside the nodes: it asks all of them for the virtual address, and records the
//! answers and its own lateness.
//!
//! A question is an ICMP echo request to the virtual address in an Ethernet broadcast. The kernel
//! of each node that serves the address answers: no process of a node takes part, so a late process
//! there delays no answer. Two answers to one question have two owners.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use etherparse::{Icmpv4Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use heartbeat_common::time::Boottime;
use heartbeat_sys::process::scheduling::{Granter, Reservation};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{
            ControlMessageOwned, LinkAddr, MsgFlags, SockProtocol, recvmsg, setsockopt, sockopt,
        },
        time::TimeSpec,
    },
    unistd::write,
};

use crate::{
    Cluster,
    config::Family,
    e2e::flood::raw_socket,
    interrupt,
    netns::Namespace,
    sys::{self, Ticker, boottime},
};

/// The time between two questions.
pub(super) const PERIOD: Duration = Duration::from_millis(1);
/// The time for which answers are still recorded after the last question.
const PATIENCE: Duration = Duration::from_millis(200);
/// The part of a CPU that the observer reserves, as a fraction of [`PERIOD`].
const SHARE: u32 = 4;
/// The priority without SCHED_DEADLINE: as high as any.
const PRIORITY: u8 = 99;
/// The identifier of all questions.
const IDENTIFIER: u16 = 0x4862;
const BROADCAST: Mac = [0xff; 6];
/// No router is on the way.
const TTL: u8 = 1;
/// Longer than any answer.
const BUFFER: usize = 256;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// The name of the observer's interface.
const INTERFACE: &str = "watch1";
/// The last part of the observer's address: no node has it, nor the client.
const HOST: u8 = 210;

/// A host on the switch of a cluster, beside its nodes.
#[derive(Debug)]
pub(super) struct Post {
    ns: Namespace,
    own: Ipv4Addr,
    vip: Ipv4Addr,
}

impl Post {
    /// Plugs a host into the first network of `cluster`.
    pub(super) fn new(cluster: &mut Cluster) -> Result<Self> {
        let family = Family::V4;
        let address = family.address(0, HOST);
        let (IpAddr::V4(own), IpAddr::V4(vip)) = (address, cluster.vip()) else {
            bail!("the observer asks for IPv4 addresses only");
        };
        let ns = Namespace::new("observer")?;
        cluster.plug(&ns, INTERFACE, 0)?;
        ns.add_address(INTERFACE, address, family.prefix_len())?;
        Ok(Self { ns, own, vip })
    }
}

/// A question. Its place in the list is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) sent: Boottime,
    /// The time from the instant at which it was due until the observer ran.
    pub(super) late: Duration,
}

/// The answer of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) number: usize,
    /// The arrival at the observer's kernel, whenever the observer read it.
    pub(super) at: Boottime,
    pub(super) node: Mac,
}

/// All that the observer recorded.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) questions: Vec<Question>,
    pub(super) answers: Vec<Answer>,
    /// The observer's scheduling policy, and the refusals of stronger ones.
    pub(super) scheduling: String,
}

/// A running observer. It ends on drop.
#[derive(Debug)]
pub(super) struct Observer {
    thread: Option<JoinHandle<Result<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl Observer {
    /// Asks from now on until `until`.
    pub(super) fn start(post: &Post, until: Boottime) -> Result<Self> {
        let mut line = Line::open(post)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("observer".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || line.watch(until, &stop)
        })?;
        Ok(Self {
            thread: Some(thread),
            stop,
        })
    }

    /// Waits for the last question and its answers.
    pub(super) fn finish(mut self) -> Result<Seen> {
        let thread = self.thread.take().context("the observer has ended")?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The observer's socket, and the frames on it.
#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    mac: Mac,
    own: Ipv4Addr,
    vip: Ipv4Addr,
    frame: Vec<u8>,
    control: Vec<u8>,
}

impl Line {
    fn open(post: &Post) -> Result<Self> {
        let Post { ns, own, vip } = post;
        let socket = raw_socket(ns, INTERFACE, Some(SockProtocol::EthIp))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
            .context("the kernel does not stamp frames")?;
        let mac = ns.mac_address(INTERFACE)?;
        Ok(Self {
            socket,
            mac: mac.with_context(|| format!("{INTERFACE} has no Ethernet address"))?,
            own: *own,
            vip: *vip,
            frame: Vec::with_capacity(BUFFER),
            control: cmsg_space!(TimeSpec),
        })
    }

    fn watch(&mut self, until: Boottime, stop: &AtomicBool) -> Result<Seen> {
        let granted = Granter::start()?.ask(Reservation::share(PERIOD, SHARE), PRIORITY);
        let refused = granted.reason();
        let mut seen = Seen::for_span(until.since(boottime()));
        seen.scheduling = match refused.as_str() {
            "" => granted.scheduling.to_string(),
            refused => format!("{} ({refused})", granted.scheduling),
        };
        let mut ticker = Ticker::new(PERIOD);
        let goes_on = || {
            interrupt::check()?;
            Ok::<bool, anyhow::Error>(!stop.load(Ordering::Relaxed))
        };
        while boottime() < until && goes_on()? {
            let late = ticker.wait();
            self.collect(&mut seen)?;
            let sent = boottime();
            self.ask(seen.questions.len())?;
            seen.questions.push(Question { sent, late });
            // The kernel answers on the spot if its own queue is empty.
            self.collect(&mut seen)?;
        }
        while boottime() < until.after(PATIENCE) && goes_on()? {
            ticker.wait();
            self.collect(&mut seen)?;
        }
        Ok(seen)
    }

    fn ask(&mut self, number: usize) -> Result<()> {
        self.frame.clear();
        let [own, vip] = [self.own, self.vip].map(|address| address.octets());
        PacketBuilder::ethernet2(self.mac, BROADCAST)
            .ipv4(own, vip, TTL)
            .icmpv4_echo_request(IDENTIFIER, number as u16)
            .write(&mut self.frame, &(number as u64).to_be_bytes())?;
        match write(&self.socket, &self.frame) {
            // A question that does not fit in a queue stays without an answer.
            Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
            Err(errno) => Err(errno).context("the observer cannot send"),
        }
    }

    fn collect(&mut self, seen: &mut Seen) -> Result<()> {
        // The clock may have been set since the last look.
        let (now, wall) = (boottime(), sys::realtime_clock());
        let mut buffer = [0; BUFFER];
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<LinkAddr>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match received {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno).context("the observer cannot receive"),
            };
            let stamp = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                _ => None,
            });
            let at = stamp.map_or(now, |stamp| now.before(wall.saturating_sub(stamp)));
            let length = message.bytes;
            if let Some((number, node)) = answer(&buffer[..length], self.vip) {
                seen.answers.push(Answer { number, at, node });
            }
        }
    }
}

impl Seen {
    /// Room for the questions of `span`, so that nothing is allocated meanwhile.
    fn for_span(span: Duration) -> Self {
        let questions = (span.as_nanos() / PERIOD.as_nanos()) as usize + 1;
        Self {
            questions: Vec::with_capacity(questions),
            answers: Vec::with_capacity(2 * questions),
            scheduling: String::new(),
        }
    }
}

/// The number of the question that `frame` answers in the name of `vip`, and the node that does.
fn answer(frame: &[u8], vip: Ipv4Addr) -> Option<(usize, Mac)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Ipv4(ip)) = &packet.net else {
        return None;
    };
    if ip.header().source_addr() != vip {
        return None;
    }
    let Some(TransportSlice::Icmpv4(icmp)) = &packet.transport else {
        return None;
    };
    let Icmpv4Type::EchoReply(header) = icmp.icmp_type() else {
        return None;
    };
    if header.id != IDENTIFIER {
        return None;
    }
    let number = u64::from_be_bytes(*icmp.payload().first_chunk()?);
    let node = *frame.get(6..)?.first_chunk()?;
    Some((usize::try_from(number).ok()?, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const NODE: Mac = [2, 0, 0, 0, 0, 1];

    fn reply(from: Ipv4Addr, identifier: u16, number: u64) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(NODE, [2, 0, 0, 0, 0, 9])
            .ipv4(from.octets(), [10, 77, 0, 200], 64)
            .icmpv4_echo_reply(identifier, number as u16)
            .write(&mut frame, &number.to_be_bytes())
            .unwrap();
        frame
    }

    #[test]
    fn answer_has_the_number_and_the_node() {
        let found = answer(&reply(VIP, IDENTIFIER, 70_000), VIP);
        assert_eq!(found, Some((70_000, NODE)));
    }

    #[test]
    fn reply_to_others_is_no_answer() {
        let other = Ipv4Addr::new(10, 77, 0, 1);
        assert_eq!(answer(&reply(other, IDENTIFIER, 1), VIP), None);
        assert_eq!(answer(&reply(VIP, 1, 1), VIP), None);
        let mut request = Vec::new();
        PacketBuilder::ethernet2(NODE, BROADCAST)
            .ipv4(VIP.octets(), [10, 77, 0, 200], 64)
            .icmpv4_echo_request(IDENTIFIER, 1)
            .write(&mut request, &1_u64.to_be_bytes())
            .unwrap();
        assert_eq!(answer(&request, VIP), None);
        assert_eq!(answer(&reply(VIP, IDENTIFIER, 1)[..20], VIP), None);
    }
}
