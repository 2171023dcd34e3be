//! Round trips through the kernel's responder and through echoes in userspace, side by side.
//!
//! All are asked from one thread over one cable, each once a millisecond, in turns, with datagrams
//! of one length. Whoever answers, the asking kernel stamps question and answer: when this thread
//! or any other process gets to see them does not matter, only the responder does.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use heartbeat_common::maps::{PeerRow, RTT_RING, rtt_slot, sent_slot};
use serde::Serialize;

use super::{
    children::Role,
    cpu::{CpuTime, CpuUse},
    echo::Echo,
    pair::Pair,
    probes::Prober,
    quantiles::Quantiles,
};
use crate::{
    interrupt,
    sys::{self, Ticker},
};

/// Each responder is asked once in this time.
const PERIOD: Duration = Duration::from_millis(1);
/// The wait for late replies after the last probe.
const PATIENCE: Duration = Duration::from_secs(1);
/// Beyond a phase: starting echoes, and waiting for the last answers.
const SLACK: Duration = Duration::from_secs(30);

/// Round trips by responder, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct RoundTrips {
    /// XDP.
    pub kernel: Quantiles,
    /// An ordinary process.
    pub userspace: Quantiles,
    /// A process of real-time priority.
    pub userspace_fifo: Quantiles,
    /// Of the whole machine, all of this included.
    pub cpu: CpuUse,
    /// Whether the asking thread was SCHED_FIFO, as an agent's pulse is.
    pub prober_realtime: bool,
}

/// A peer that answers probes. Probes may be outstanding.
pub(super) trait Asked {
    fn ask(&mut self) -> Result<()>;
    /// Takes over what was answered.
    fn collect(&mut self) -> Result<()>;
    fn outstanding(&self) -> bool;
    /// The probes and replies so far.
    fn quantiles(&self) -> Quantiles;
}

pub(super) fn measure(pair: &Pair, phase: Duration) -> Result<RoundTrips> {
    let limit = phase + SLACK;
    let mut kernel = KernelAsked::new(Prober::start(pair)?);
    let mut userspace = Echo::start(pair, Role::Echo, limit)?;
    let mut fifo = Echo::start(pair, Role::EchoFifo, limit)?;
    let cpu = CpuTime::now()?;
    let mut asked: [&mut (dyn Asked + Send); 3] = [&mut kernel, &mut userspace, &mut fifo];
    // A thread of its own, so that nothing started later inherits its priority.
    let prober_realtime = thread::scope(|scope| {
        let probing = scope.spawn(|| {
            let realtime = sys::realtime();
            ask_in_turns(&mut asked, phase).map(|()| realtime)
        });
        probing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let cpu = cpu.until_now()?;
    userspace.check()?;
    fifo.check()?;
    Ok(RoundTrips {
        kernel: kernel.quantiles(),
        userspace: userspace.quantiles(),
        userspace_fifo: fifo.quantiles(),
        cpu,
        prober_realtime,
    })
}

fn ask_in_turns(asked: &mut [&mut (dyn Asked + Send)], phase: Duration) -> Result<()> {
    let mut ticker = Ticker::new(PERIOD / asked.len() as u32);
    let start = Instant::now();
    let mut turn = 0;
    while start.elapsed() < phase {
        interrupt::check()?;
        ticker.wait();
        // Answers first: the question's own work must not delay the look at earlier ones.
        collect(asked)?;
        asked[turn].ask()?;
        turn = (turn + 1) % asked.len();
    }
    let end = Instant::now() + PATIENCE;
    while asked.iter().any(|asked| asked.outstanding()) && Instant::now() < end {
        interrupt::check()?;
        ticker.wait();
        collect(asked)?;
    }
    Ok(())
}

fn collect(asked: &mut [&mut (dyn Asked + Send)]) -> Result<()> {
    asked.iter_mut().try_for_each(|asked| asked.collect())
}

/// The kernel's responder. Its round trips are in the row of the peer.
struct KernelAsked {
    prober: Prober,
    /// Sequences without an answer as yet, the oldest first.
    open: Vec<u64>,
    sent: usize,
    nanos: Vec<u64>,
}

impl KernelAsked {
    fn new(prober: Prober) -> Self {
        Self {
            prober,
            open: Vec::new(),
            sent: 0,
            nanos: Vec::new(),
        }
    }
}

impl Asked for KernelAsked {
    fn ask(&mut self) -> Result<()> {
        let sequence = self.prober.send_one()?;
        self.sent += 1;
        self.open.push(sequence);
        // The row forgets it now; whatever has not come by then is lost.
        self.open.retain(|open| open + (RTT_RING as u64) > sequence);
        Ok(())
    }

    fn collect(&mut self) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let row = self.prober.row();
        let nanos = &mut self.nanos;
        self.open
            .retain(|sequence| match round_trip(&row, *sequence) {
                Some(trip) => {
                    nanos.push(trip);
                    false
                }
                None => true,
            });
        Ok(())
    }

    fn outstanding(&self) -> bool {
        !self.open.is_empty()
    }

    fn quantiles(&self) -> Quantiles {
        Quantiles::new(self.nanos.clone(), self.sent)
    }
}

/// From probe `sequence` leaving until its reply arriving, in nanoseconds.
pub(super) fn round_trip(row: &PeerRow, sequence: u64) -> Option<u64> {
    // The row's own figure leaves out what the responder took. An echo's cannot, so this must not.
    if row.last_reply_seq == sequence {
        return row
            .last_reply_at
            .checked_sub(row.sent_at[sent_slot(sequence)]);
    }
    // Overtaken by a later reply, hence at least a period old: half a microsecond is nothing.
    match row.rtt_ring[rtt_slot(sequence)] {
        0 => None,
        nanos => Some(nanos.into()),
    }
}

/// Loaded by idle, where both are known.
pub(super) fn ratio(over: Option<f64>, under: Option<f64>) -> Option<f64> {
    Some(over? / under.filter(|value| *value > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_contains_the_responder() {
        let mut row = PeerRow {
            last_reply_seq: 20,
            last_reply_at: 1_500,
            ..PeerRow::default()
        };
        row.sent_at[sent_slot(20)] = 1_000;
        row.rtt_ring[rtt_slot(20)] = 300;
        row.rtt_ring[rtt_slot(19)] = 70;
        assert_eq!(round_trip(&row, 20), Some(500));
        assert_eq!(round_trip(&row, 19), Some(70));
        assert_eq!(round_trip(&row, 18), None);
    }
}
