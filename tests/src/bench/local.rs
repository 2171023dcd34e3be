//! The additional time of packets between two processes of one node because of the socket guard.
//!
//! One thread exchanges packets with itself over `lo`. An exchange is two packets. Each packet is
//! sent and received once, so it passes both programs. Windows of all kinds take turns. Each window
//! is compared with the window without programs of the same round, and the result is the median
//! round.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError, cgroup_skb::CgroupSkbLinkId,
};
use heartbeat_user::cgroup;
use serde::Serialize;

use super::{
    cpu::{CpuTime, CpuUse},
    guarded::VIP,
    pair::Pair,
    probes::{MANY, PROBE_LEN},
    throughput::{median, stay_on_this_cpu},
};
use crate::interrupt;

const WINDOW: Duration = Duration::from_millis(3);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The guard at the sockets.
pub(super) const PROGRAMS: [(&str, CgroupSkbAttachType); 2] = [
    ("guard_received", CgroupSkbAttachType::Ingress),
    ("guard_sent", CgroupSkbAttachType::Egress),
];

/// The situation of the programs. These names are the keys in the JSON, so they are only ever
/// added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// The programs are not attached.
    Without,
    /// No address is guarded.
    NoVip,
    /// Packets are of another address.
    Other,
    /// Packets are of a guarded address, which is open.
    Vip,
}

/// The time of an exchange.
#[derive(Clone, Debug, Serialize)]
pub struct PerExchange {
    /// In the median window.
    pub ns: f64,
    /// By the time without programs.
    pub to_without: f64,
    /// The additional time compared with no programs, in the median round.
    pub more_ns: f64,
    pub exchanges: u64,
}

pub(super) type Locals = BTreeMap<Local, PerExchange>;

#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) locals: Locals,
    pub(super) cpu: CpuUse,
}

impl Local {
    const ALL: [Self; 4] = [Self::Without, Self::NoVip, Self::Other, Self::Vip];

    /// For the table.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Without => "no program",
            Self::NoVip => "guard, no VIP at all",
            Self::Other => "guard, of another address",
            Self::Vip => "guard, of the VIP, open",
        }
    }
}

/// Measures for `phase`, at least one round.
pub(super) fn measure(pair: &mut Pair, phase: Duration) -> Result<Measured> {
    let mut guard = SocketGuard::take(pair)?;
    let balls = [Local::Other, Local::Vip].map(|local| Ball::new(pair, local));
    let [other, vip] = balls;
    let (other, vip) = (other?, vip?);
    let dropped = pair.guarded.dropped();
    let cpu = CpuTime::now()?;
    let rounds = thread::scope(|scope| {
        let playing = scope.spawn(|| {
            stay_on_this_cpu()?;
            let start = Instant::now();
            let mut rounds: Vec<Round> = Vec::new();
            while rounds.is_empty() || start.elapsed() < phase {
                interrupt::check()?;
                let mut round = Round::default();
                for (local, window) in Local::ALL.into_iter().zip(&mut round) {
                    guard.attach(local != Local::Without)?;
                    pair.guarded.set_present(local != Local::NoVip)?;
                    *window = play(if local == Local::Vip { &vip } else { &other })?;
                }
                rounds.push(round);
            }
            pair.guarded.set_present(true)?;
            Ok(rounds)
        });
        playing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .and_then(|rounds: Vec<Round>| {
        ensure!(
            pair.guarded.dropped() == dropped,
            "the guard dropped traffic of an open address"
        );
        Ok(rounds)
    })?;
    Ok(Measured {
        locals: locals(&rounds),
        cpu: cpu.until_now()?,
    })
}

/// The far node's programs, attached and taken off at will.
struct SocketGuard {
    root: File,
    programs: Vec<(CgroupSkb, CgroupSkbAttachType)>,
    links: Vec<CgroupSkbLinkId>,
}

impl SocketGuard {
    fn take(pair: &Pair) -> Result<Self> {
        let pins = pair.guarded.plane.pins();
        let mut programs = Vec::new();
        for (name, kind) in PROGRAMS {
            let program = CgroupSkb::from_pin(pins.path(&format!("prog_{name}")), kind)
                .with_context(|| format!("there is no program {name}: see the log"))?;
            programs.push((program, kind));
        }
        Ok(Self {
            root: File::open(cgroup::mount_point()?)?,
            programs,
            links: Vec::new(),
        })
    }

    fn attach(&mut self, attached: bool) -> Result<()> {
        if attached != self.links.is_empty() {
            return Ok(());
        }
        let root = &self.root;
        if attached {
            let attach = |(program, kind): &mut (CgroupSkb, CgroupSkbAttachType)| {
                program.attach(root, *kind, CgroupAttachMode::Single)
            };
            let links = self.programs.iter_mut().map(attach);
            self.links = links.collect::<Result<_, ProgramError>>()?;
        } else {
            let links = self.links.drain(..).zip(&mut self.programs);
            for (link, (program, _)) in links {
                program.detach(link)?;
            }
        }
        Ok(())
    }
}

/// Two sockets of the far node that throw something to each other.
struct Ball([UdpSocket; 2]);

impl Ball {
    fn new(pair: &Pair, local: Local) -> Result<Self> {
        let address = if local == Local::Vip { VIP } else { LOCALHOST };
        pair.far.enter(|| {
            let socket = || UdpSocket::bind(SocketAddr::new(address, 0));
            let (one, other) = (socket()?, socket()?);
            one.connect(other.local_addr()?)?;
            other.connect(one.local_addr()?)?;
            for socket in [&one, &other] {
                socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            }
            Ok(Self([one, other]))
        })
    }

    fn exchange(&self) -> Result<()> {
        let Self([one, other]) = self;
        let mut buffer = [0xaa; PROBE_LEN];
        for (from, to) in [(one, other), (other, one)] {
            from.send(&buffer).context("a datagram could not be sent")?;
            to.recv(&mut buffer).context("a datagram was lost")?;
        }
        Ok(())
    }
}

/// Exchanges of one window, and their time in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    exchanges: u64,
    nanos: f64,
}

impl Window {
    fn per_exchange(self) -> f64 {
        self.nanos / self.exchanges as f64
    }
}

/// A window of each kind.
type Round = [Window; Local::ALL.len()];

fn play(ball: &Ball) -> Result<Window> {
    // The caches still hold data of the window before.
    (0..MANY).try_for_each(|_| ball.exchange())?;
    let start = Instant::now();
    let mut exchanges = 0;
    while start.elapsed() < WINDOW {
        (0..MANY).try_for_each(|_| ball.exchange())?;
        exchanges += MANY as u64;
    }
    Ok(Window {
        exchanges,
        nanos: start.elapsed().as_nanos() as f64,
    })
}

fn locals(rounds: &[Round]) -> Locals {
    let per_exchange = |local: Local| {
        let of = |local: Local| {
            rounds
                .iter()
                .map(move |round| round[local as usize].per_exchange())
        };
        let pairs = || of(local).zip(of(Local::Without));
        PerExchange {
            ns: median(of(local)),
            to_without: median(pairs().map(|(with, without)| with / without)),
            more_ns: median(pairs().map(|(with, without)| with - without)),
            exchanges: rounds
                .iter()
                .map(|round| round[local as usize].exchanges)
                .sum(),
        }
    };
    let all = Local::ALL.into_iter();
    all.map(|local| (local, per_exchange(local))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_is_compared_with_that_of_its_own_round() {
        let round = |slow: f64| {
            Local::ALL.map(|local| Window {
                exchanges: 10,
                nanos: slow
                    * if local == Local::Without {
                        1_000.0
                    } else {
                        1_500.0
                    },
            })
        };
        let locals = locals(&[1.0, 2.0, 10.0].map(round));
        let vip = &locals[&Local::Vip];
        assert_eq!((vip.ns, vip.to_without, vip.more_ns), (300.0, 1.5, 100.0));
        assert_eq!(vip.exchanges, 30);
        assert_eq!(locals[&Local::Without].to_without, 1.0);
    }

    #[test]
    fn each_kind_stands_at_its_own_index() {
        for (index, local) in Local::ALL.into_iter().enumerate() {
            assert_eq!(local as usize, index);
        }
    }
}
