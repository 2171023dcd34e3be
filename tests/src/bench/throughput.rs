//! The additional time of ordinary packets because of the guard.
//!
//! One thread sends to a socket without a reader. The thread is bound to a CPU, and the kernel
//! delivers on the sending CPU. So the time between two packets includes all work for one of them:
//! in the sender's stack, in the programs on the way, and in the receiver's stack. Windows of all
//! kinds take turns. Each window is compared with the others of the same round, and the result is
//! the median round.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::guard::Direction::{self, In, Out};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use serde::Serialize;

use super::{
    cpu::{CpuTime, CpuUse},
    guarded::Subject::{NoVip, Other, Vip},
    ordinary::{Datagrams, Ordinary, Way},
    pair::Pair,
    probes::MANY,
};
use crate::interrupt;

const WINDOW: Duration = Duration::from_millis(3);
/// The number of packets after which the receiving socket is full: from then on all packets cost
/// the same.
const WARM_UP: usize = 2_048;

/// The way of a packet. These names are the keys in the JSON, so they are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Passage {
    /// No program is on either interface.
    ArrivingBare,
    ArrivingPassOnly,
    ArrivingNoVip,
    ArrivingOther,
    ArrivingVip,
    LeavingBare,
    LeavingNoVip,
    LeavingOther,
    LeavingVip,
}

/// The time of a packet.
#[derive(Clone, Debug, Serialize)]
pub struct PerPacket {
    /// From one packet to the next, in the median window.
    pub ns: f64,
    /// By the time that packets take where no program is on their way.
    pub to_bare: f64,
    /// By the time that they take through a program that only passes; there is none for leaving
    /// ones.
    pub to_pass_only: Option<f64>,
    pub packets: u64,
    pub windows: usize,
}

pub(super) type Passages = BTreeMap<Passage, PerPacket>;

#[derive(Clone, Debug)]
pub(super) struct Throughput {
    pub(super) passages: Passages,
    pub(super) cpu: CpuUse,
}

impl Passage {
    const ALL: [Self; 9] = [
        Self::ArrivingBare,
        Self::ArrivingPassOnly,
        Self::ArrivingNoVip,
        Self::ArrivingOther,
        Self::ArrivingVip,
        Self::LeavingBare,
        Self::LeavingNoVip,
        Self::LeavingOther,
        Self::LeavingVip,
    ];

    fn way(self) -> Way {
        match self {
            Self::ArrivingBare => Way::Bare(In),
            Self::ArrivingPassOnly => Way::PassOnly,
            Self::ArrivingNoVip => Way::Guard(In, NoVip),
            Self::ArrivingOther => Way::Guard(In, Other),
            Self::ArrivingVip => Way::Guard(In, Vip),
            Self::LeavingBare => Way::Bare(Out),
            Self::LeavingNoVip => Way::Guard(Out, NoVip),
            Self::LeavingOther => Way::Guard(Out, Other),
            Self::LeavingVip => Way::Guard(Out, Vip),
        }
    }

    fn direction(self) -> Direction {
        match self.way() {
            Way::Bare(direction) | Way::Guard(direction, _) => direction,
            Way::PassOnly | Way::Link | Way::GuardedLink(_) => In,
        }
    }

    /// For the table.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::ArrivingBare => "arriving: no program",
            Self::ArrivingPassOnly => "arriving: program that only passes",
            Self::ArrivingNoVip => "arriving: guard, no VIP at all",
            Self::ArrivingOther => "arriving: guard, to another address",
            Self::ArrivingVip => "arriving: guard, to the VIP, open",
            Self::LeavingBare => "leaving: no program",
            Self::LeavingNoVip => "leaving: guard, no VIP at all",
            Self::LeavingOther => "leaving: guard, from another address",
            Self::LeavingVip => "leaving: guard, from the VIP, open",
        }
    }
}

/// Measures for `phase`, at least one round.
pub(super) fn measure(pair: &mut Pair, phase: Duration) -> Result<Throughput> {
    let ordinary = Ordinary::new(pair, Passage::ALL.map(Passage::way))?;
    let dropped = pair.guarded.dropped();
    let cpu = CpuTime::now()?;
    // A thread of its own, so that nothing started later stays on its CPU.
    let rounds = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            stay_on_this_cpu()?;
            take_turns(pair, &ordinary, phase)
        });
        sending
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    ensure!(
        pair.guarded.dropped() == dropped,
        "the guard dropped traffic of an open address"
    );
    Ok(Throughput {
        passages: passages(&rounds),
        cpu: cpu.until_now()?,
    })
}

pub(super) fn stay_on_this_cpu() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("cannot bind the sender to its CPU")
}

/// Packets of one window, and their time in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    packets: u64,
    nanos: f64,
}

impl Window {
    fn per_packet(self) -> f64 {
        self.nanos / self.packets as f64
    }
}

/// A window of each passage.
type Round = [Window; Passage::ALL.len()];

fn take_turns(pair: &mut Pair, ordinary: &Ordinary, phase: Duration) -> Result<Vec<Round>> {
    for passage in Passage::ALL {
        let datagrams = ordinary.datagrams(passage.way());
        (0..WARM_UP).try_for_each(|_| datagrams.send())?;
    }
    let start = Instant::now();
    let mut rounds = Vec::new();
    while rounds.is_empty() || start.elapsed() < phase {
        interrupt::check()?;
        let mut round = Round::default();
        for (passage, window) in Passage::ALL.into_iter().zip(&mut round) {
            let way = passage.way();
            if let Some(present) = way.wants_vips() {
                pair.guarded.set_present(present)?;
            }
            *window = send(ordinary.datagrams(way))?;
        }
        rounds.push(round);
    }
    pair.guarded.set_present(true)?;
    Ok(rounds)
}

fn send(datagrams: &Datagrams) -> Result<Window> {
    // The caches still hold data of the window before.
    (0..MANY).try_for_each(|_| datagrams.send())?;
    let start = Instant::now();
    let mut packets = 0;
    while start.elapsed() < WINDOW {
        (0..MANY).try_for_each(|_| datagrams.send())?;
        packets += MANY as u64;
    }
    Ok(Window {
        packets,
        nanos: start.elapsed().as_nanos() as f64,
    })
}

fn passages(rounds: &[Round]) -> Passages {
    let of = |passage: Passage| rounds.iter().map(move |round| round[passage as usize]);
    let ratio = |over: Passage, under: Passage| {
        let pairs = of(over).zip(of(under));
        median(pairs.map(|(over, under)| over.per_packet() / under.per_packet()))
    };
    let per_packet = |passage: Passage| {
        let (bare, pass_only) = match passage.direction() {
            In => (Passage::ArrivingBare, Some(Passage::ArrivingPassOnly)),
            Out => (Passage::LeavingBare, None),
        };
        PerPacket {
            ns: median(of(passage).map(Window::per_packet)),
            to_bare: ratio(passage, bare),
            to_pass_only: pass_only.map(|pass_only| ratio(passage, pass_only)),
            packets: of(passage).map(|window| window.packets).sum(),
            windows: rounds.len(),
        }
    };
    let all = Passage::ALL.into_iter();
    all.map(|passage| (passage, per_packet(passage))).collect()
}

/// The middle one. There is at least one.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_compares_windows_of_one_round() {
        // The machine is twice as slow in the second round and ten times in the third.
        let round = |slow: f64| {
            Passage::ALL.map(|passage| {
                let nanos = match passage {
                    Passage::ArrivingBare | Passage::LeavingBare => 1_000.0,
                    Passage::ArrivingPassOnly => 2_000.0,
                    _ => 3_000.0,
                };
                Window {
                    packets: 10,
                    nanos: nanos * slow,
                }
            })
        };
        let passages = passages(&[1.0, 2.0, 10.0].map(round));
        let vip = &passages[&Passage::ArrivingVip];
        assert_eq!(
            (vip.ns, vip.to_bare, vip.to_pass_only),
            (600.0, 3.0, Some(1.5))
        );
        assert_eq!((vip.packets, vip.windows), (30, 3));
        let bare = &passages[&Passage::LeavingBare];
        assert_eq!(
            (bare.ns, bare.to_bare, bare.to_pass_only),
            (200.0, 1.0, None)
        );
    }

    #[test]
    fn each_passage_stands_at_its_own_index() {
        for (index, passage) in Passage::ALL.into_iter().enumerate() {
            assert_eq!(passage as usize, index);
        }
    }
}
