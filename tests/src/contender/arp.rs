//! An observer that asks for the virtual address by ARP, and counts the questions that two nodes
//! answer: two owners on the wire.
//!
//! Each question has a sender address of its own, which the answer repeats. So an answer belongs to
//! one question, however late it is.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::time::Boottime;
use nix::sys::socket::{MsgFlags, SockProtocol, recv, send};

use crate::{
    e2e::flood::raw_socket,
    netns::Namespace,
    sys::{self, Ticker},
};

type Mac = [u8; 6];

/// The last part of the first sender address, and their number.
const FIRST: u8 = 224;
const SENDERS: usize = 16;
/// An ARP packet for Ethernet and IPv4, without the Ethernet header.
const ETHERNET_LEN: usize = 14;
const ARP_LEN: usize = 28;
const BROADCAST: Mac = [0xff; 6];
const ETHERTYPE: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, and the lengths of their addresses.
const KINDS: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// A question and those who answered it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Boottime,
    first: Option<Mac>,
    /// Whether another node answered, too.
    another: bool,
}

/// The questions that two nodes answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoOwners {
    pub questions: usize,
    /// The number of questions times their period.
    pub time: Duration,
}

/// A running observer. It ends when this value is dropped.
#[derive(Debug)]
pub struct Observer {
    asked: Arc<Mutex<Vec<Asked>>>,
    period: Duration,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Starts to ask for `vip` each `period` at `interface` of `ns`.
    pub(super) fn start(
        ns: &Namespace,
        interface: &str,
        vip: IpAddr,
        period: Duration,
    ) -> Result<Self> {
        let IpAddr::V4(vip) = vip else {
            bail!("{vip} has no ARP");
        };
        let own = ns.mac_address(interface)?;
        let own = own.with_context(|| format!("{interface} has no Ethernet address"))?;
        let socket = raw_socket(ns, interface, Some(SockProtocol::EthAll))?;
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let thread = thread::Builder::new().name("observer".to_owned()).spawn({
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            move || {
                sys::realtime();
                let mut ticker = Ticker::new(period);
                while !stop.load(Ordering::Relaxed) {
                    ticker.wait();
                    turn(&socket, own, vip.octets(), &asked);
                }
            }
        })?;
        Ok(Self {
            asked,
            period,
            stop,
            thread: Some(thread),
        })
    }

    /// The questions from `since` on, and before `until`, that two nodes answered.
    pub fn two_owners(&self, since: Boottime, until: Boottime) -> TwoOwners {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let within = asked.iter().filter(|one| (since..until).contains(&one.at));
        let questions = within.filter(|one| one.another).count();
        TwoOwners {
            questions,
            time: self.period * u32::try_from(questions).unwrap_or(u32::MAX),
        }
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

/// Reads the answers that have come, and asks again.
fn turn(socket: &OwnedFd, own: Mac, vip: [u8; 4], asked: &Mutex<Vec<Asked>>) {
    let mut frame = [0; 256];
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(len) = recv(socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
        if let Some((by, sender)) = answer(&frame[..len], own, vip) {
            note(&mut asked, by, sender);
        }
    }
    let number = asked.len() % SENDERS;
    asked.push(Asked {
        at: sys::boottime(),
        first: None,
        another: false,
    });
    // A question that cannot be sent stays without an answer.
    let _ = send(
        socket.as_raw_fd(),
        &question(own, vip, number),
        MsgFlags::empty(),
    );
}

/// Notes that `by` answered the latest question of sender number `sender`.
fn note(asked: &mut [Asked], by: Mac, sender: usize) {
    let Some(last) = asked.len().checked_sub(1) else {
        return;
    };
    let back = (last % SENDERS + SENDERS - sender) % SENDERS;
    if let Some(one) = last.checked_sub(back).and_then(|at| asked.get_mut(at)) {
        one.another |= *one.first.get_or_insert(by) != by;
    }
}

/// The frame that asks for `vip` as sender number `sender`.
fn question(own: Mac, vip: [u8; 4], sender: usize) -> [u8; ETHERNET_LEN + ARP_LEN] {
    let mut from = vip;
    from[3] = FIRST + sender as u8;
    let parts: [&[u8]; 9] = [
        &BROADCAST, &own, &ETHERTYPE, &KINDS, &REQUEST, &own, &from, &[0; 6], &vip,
    ];
    let mut frame = [0; ETHERNET_LEN + ARP_LEN];
    let bytes = parts.into_iter().flatten();
    frame
        .iter_mut()
        .zip(bytes)
        .for_each(|(at, byte)| *at = *byte);
    frame
}

/// The node that answers with this frame, and the number of the sender that asked.
fn answer(frame: &[u8], own: Mac, vip: [u8; 4]) -> Option<(Mac, usize)> {
    let arp = frame.get(ETHERNET_LEN..ETHERNET_LEN + ARP_LEN)?;
    let ours = frame[12..14] == ETHERTYPE
        && arp[..6] == KINDS
        && arp[6..8] == REPLY
        && arp[14..18] == vip
        && arp[18..24] == own;
    let by: Mac = arp[8..14].try_into().ok()?;
    let sender = usize::from(arp[27].checked_sub(FIRST)?);
    (ours && sender < SENDERS).then_some((by, sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 9];
    const A: Mac = [2, 0, 0, 0, 0, 1];
    const B: Mac = [2, 0, 0, 0, 0, 2];
    const VIP: [u8; 4] = [10, 77, 0, 100];

    fn asked(count: usize) -> Vec<Asked> {
        let at = |number: usize| Asked {
            at: Boottime::from_nanos(number as u64),
            first: None,
            another: false,
        };
        (0..count).map(at).collect()
    }

    #[test]
    fn answer_names_its_node_and_question() {
        let mut frame = question(OWN, VIP, 5);
        assert_eq!(answer(&frame, OWN, VIP), None);
        let (ethernet, arp) = frame.split_at_mut(ETHERNET_LEN);
        ethernet[..6].copy_from_slice(&OWN);
        arp[7] = 2;
        arp[8..14].copy_from_slice(&A);
        arp[14..18].copy_from_slice(&VIP);
        arp[18..24].copy_from_slice(&OWN);
        arp[24..28].copy_from_slice(&[10, 77, 0, FIRST + 5]);
        assert_eq!(answer(&frame, OWN, VIP), Some((A, 5)));
        assert_eq!(answer(&frame, OWN, [10, 77, 0, 99]), None);
        assert_eq!(answer(&frame[..20], OWN, VIP), None);
    }

    #[test]
    fn late_answer_belongs_to_its_question() {
        let mut questions = asked(20);
        for (by, sender) in [(A, 2), (B, 1), (A, 3), (A, 3), (B, 3)] {
            note(&mut questions, by, sender);
        }
        // The last question is number 19, of sender 3.
        let twice: Vec<_> = (0..20).filter(|at| questions[*at].another).collect();
        assert_eq!(twice, [19]);
        assert_eq!(
            (questions[18].first, questions[17].first),
            (Some(A), Some(B))
        );
        note(&mut questions, A, 4);
        assert_eq!(questions[4].first, Some(A));
    }
}
