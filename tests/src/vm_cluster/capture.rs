//! The heartbeats at the switch's ports: who sent which request for a lease, and when.

use std::{
    fmt::{self, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use etherparse::{SlicedPacket, TransportSlice};
use heartbeat_common::{
    lease::{Operation, Vote},
    time::Boottime,
    wire::{self, DEFAULT_PORT, Header, Kind, LEASE_LEN, LeaseEntry, offset},
};
use nix::sys::{
    socket::{LinkAddr, SockProtocol, recvfrom, setsockopt, sockopt},
    time::TimeVal,
};

use crate::{e2e::flood::raw_socket, netns::Namespace, sys};

/// A length above that of any heartbeat with its headers.
const MAX_FRAME: usize = 512;

/// A heartbeat that a node sent.
#[derive(Clone, Debug)]
pub(super) struct Beat {
    /// Its arrival at the switch, on the host's clock.
    pub(super) at: Boottime,
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) kind: Kind,
    pub(super) entries: Vec<LeaseEntry>,
}

impl Beat {
    /// Whether the heartbeat is a request of the kind `operation`.
    pub(super) fn asks(&self, operation: Operation) -> bool {
        let is = |entry: &LeaseEntry| Operation::from_wire(entry.operation) == Some(operation);
        self.kind == Kind::Probe && self.entries.iter().any(is)
    }
}

impl fmt::Display for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} node {} > {}:", self.at, self.from, self.to)?;
        for entry in &self.entries {
            let operation = match Operation::from_wire(entry.operation) {
                Some(Operation::Prepare) => "prepare",
                Some(Operation::Accept) => "accept",
                Some(Operation::Release) => "release",
                Some(Operation::Renew) => "renew",
                None => "unknown",
            };
            let LeaseEntry { group, micros, .. } = entry;
            let (round, node) = (entry.ballot >> 16, entry.ballot & 0xffff);
            write!(
                f,
                " {operation} group {group} ballot {round}.{node} {micros} us"
            )?;
            if self.kind == Kind::Reply {
                write!(f, " {:?}", Vote::from_wire(entry.vote))?;
            }
        }
        Ok(())
    }
}

/// A running capture. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Capture {
    beats: Arc<Mutex<Vec<Beat>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Capture {
    /// Starts to record the heartbeats that arrive at `ports` of the switch in `ns`.
    pub(super) fn start(ns: &Namespace, ports: &[String]) -> Result<Self> {
        let mut capture = Self {
            beats: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for port in ports {
            let ear = raw_socket(ns, port, Some(SockProtocol::EthAll))?;
            setsockopt(&ear, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000))?;
            let (beats, stop) = (Arc::clone(&capture.beats), Arc::clone(&capture.stop));
            let thread = thread::Builder::new().name(format!("capture-{port}"));
            let thread = thread.spawn(move || listen(&ear, &beats, &stop));
            capture
                .threads
                .push(thread.context("cannot start a capture")?);
        }
        Ok(capture)
    }

    /// The heartbeats since `since`, by arrival.
    pub(super) fn since(&self, since: Boottime) -> Vec<Beat> {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = beats
            .iter()
            .filter(|beat| beat.at >= since)
            .cloned()
            .collect();
        found.sort_by_key(|beat| beat.at);
        found
    }

    /// The last `count` heartbeats since `since` about a change of a lease, a line each. Renewals
    /// are none.
    pub(super) fn changes(&self, since: Boottime, count: usize) -> String {
        let beats = self.since(since);
        let changes = beats.iter().filter(|beat| {
            let renews = |entry: &LeaseEntry| entry.operation == Operation::Renew as u8;
            !beat.entries.is_empty() && !beat.entries.iter().all(renews)
        });
        let changes: Vec<_> = changes.collect();
        let mut text = String::new();
        for beat in &changes[changes.len().saturating_sub(count)..] {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {beat}");
        }
        text
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of the thread was shown when it happened.
            let _ = thread.join();
        }
    }
}

fn listen(ear: &OwnedFd, beats: &Mutex<Vec<Beat>>, stop: &AtomicBool) {
    let mut frame = [0; MAX_FRAME];
    while !stop.load(Ordering::Relaxed) {
        // A time-out without a frame is no error. Neither is a port without a machine.
        let Ok((len, from)) = recvfrom::<LinkAddr>(ear.as_raw_fd(), &mut frame) else {
            continue;
        };
        let leaves = from.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
        if leaves {
            continue;
        }
        if let Some(beat) = decode(&frame[..len], sys::boottime()) {
            beats
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(beat);
        }
    }
}

/// The heartbeat in a frame. Checksums are not compared: the card of a machine leaves them to the
/// host.
fn decode(frame: &[u8], at: Boottime) -> Option<Beat> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        return None;
    };
    if udp.destination_port() != DEFAULT_PORT && udp.source_port() != DEFAULT_PORT {
        return None;
    }
    let payload = udp.payload();
    let header = Header::decode(payload).ok()?;
    let end = wire::authenticated_len(header.lease_count.into());
    let (entries, _) = payload.get(offset::LEASES..end)?.as_chunks::<LEASE_LEN>();
    Some(Beat {
        at,
        from: header.source.0,
        to: header.destination.0,
        kind: header.kind,
        entries: entries.iter().map(LeaseEntry::decode).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::frames::FrameSpec;

    #[test]
    fn request_in_a_frame_is_read() {
        let mut probe = FrameSpec::probe(2, 0, 7);
        probe.leases.push(LeaseEntry {
            group: 9,
            operation: Operation::Release as u8,
            ..LeaseEntry::default()
        });
        let frame = probe.frame().unwrap();
        let beat = decode(&frame, Boottime::from_nanos(5)).unwrap();
        assert_eq!((beat.from, beat.to, beat.entries[0].group), (2, 1, 9));
        assert!(beat.asks(Operation::Release) && !beat.asks(Operation::Renew));
        assert!(
            beat.to_string()
                .ends_with("node 2 > 1: release group 9 ballot 0.0 0 us")
        );
        assert!(decode(&frame[..frame.len() - 30], beat.at).is_none());
    }
}
