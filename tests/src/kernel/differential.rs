//! Gives the same frame, on the same maps, to a program in the kernel and to the function of
//! `heartbeat-common` that it was compiled from, and compares all that can be seen afterwards.

use std::{
    collections::{BTreeMap, HashMap},
    env, fmt,
};

use anyhow::{Context as _, Result, bail, ensure};
use heartbeat_common::{
    lease::{Operation, Slot, Vote},
    maps::{PeerRow, VoteEvent},
    packet::{Packet, SlicePacket},
    receive::receive,
    stamp::stamp,
    tables::Tables,
    verdict::{Action, Verdict},
    wire::{self, GroupId, LeaseEntry, offset},
};

use super::{
    Kernel, OBJECT, Rng, generate, mutate,
    programs::shortest,
    world::{Program, World},
};
use crate::sys::boottime;

/// Frames given to one set of maps.
const EPISODE: u64 = 100;
/// After so many frames a campaign says how far it is, to whom listens by `--nocapture`.
const PROGRESS: u64 = 500_000;
const SEED: &str = "HEARTBEAT_FUZZ_SEED";
const FRAMES: &str = "HEARTBEAT_FUZZ_FRAMES";
/// The function that judges frames in userspace. [`honest`] calls the functions under test.
pub type Judge = fn(Program, &mut World, &mut [u8]) -> Option<Verdict>;

/// The very function that the program wraps. `None` is "not our business", which only `stamp` says.
pub fn honest(program: Program, world: &mut World, frame: &mut [u8]) -> Option<Verdict> {
    run(program, &mut SlicePacket(frame), world)
}

/// As [`honest`], with any packet and tables.
pub fn run(
    program: Program,
    packet: &mut impl Packet,
    tables: &mut impl Tables,
) -> Option<Verdict> {
    match program {
        Program::Receive => Some(receive(packet, tables).verdict),
        Program::Stamp => stamp(packet, tables),
    }
}

/// All that can be seen of one frame's way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    action: Action,
    verdict: Option<Verdict>,
    frame: Vec<u8>,
    rows: Vec<PeerRow>,
    slots: BTreeMap<GroupId, Slot>,
    /// The reports of votes to the agent.
    votes: Vec<VoteEvent>,
}

/// A frame that kernel and userspace do not treat alike.
#[derive(Debug)]
pub struct Difference {
    program: Program,
    given: Vec<u8>,
    kernel: Outcome,
    userspace: Outcome,
}

impl std::error::Error for Difference {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            program,
            given,
            kernel,
            userspace,
        } = self;
        writeln!(
            f,
            "kernel and userspace differ in {program:?} about {}",
            Hex(given)
        )?;
        for (who, outcome) in [("kernel", kernel), ("userspace", userspace)] {
            let (verdict, action) = (outcome.verdict, outcome.action);
            writeln!(
                f,
                "{who:>9}: {verdict:?}, {action:?}, {}",
                Hex(&outcome.frame)
            )?;
        }
        for (number, (left, right)) in kernel.rows.iter().zip(&userspace.rows).enumerate() {
            if left != right {
                writeln!(f, "row {number}\n   kernel: {left:?}\nuserspace: {right:?}")?;
            }
        }
        if kernel.slots != userspace.slots {
            let (left, right) = (&kernel.slots, &userspace.slots);
            writeln!(f, "slots\n   kernel: {left:?}\nuserspace: {right:?}")?;
        }
        if kernel.votes != userspace.votes {
            let (left, right) = (&kernel.votes, &userspace.votes);
            writeln!(f, "votes\n   kernel: {left:?}\nuserspace: {right:?}")?;
        }
        Ok(())
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The results of a campaign's frames, with their counts.
#[derive(Clone, Debug, Default)]
pub struct Met {
    pub verdicts: HashMap<Option<Verdict>, u64>,
    /// The acceptor's answers, by what was asked.
    pub votes: HashMap<(Operation, Vote), u64>,
    /// Events that told the agent of votes.
    pub told: u64,
}

impl Met {
    fn note(&mut self, outcome: &Outcome) {
        *self.verdicts.entry(outcome.verdict).or_default() += 1;
        self.told += outcome.votes.len() as u64;
        if outcome.verdict == Some(Verdict::Answered) {
            for entry in leases(&outcome.frame) {
                if let Some(operation) = Operation::from_wire(entry.operation) {
                    let vote = Vote::from_wire(entry.vote);
                    *self.votes.entry((operation, vote)).or_default() += 1;
                }
            }
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdicts = self.verdicts.iter();
        let verdicts: BTreeMap<_, _> = verdicts
            .map(|(verdict, times)| (verdict.map_or("other", Verdict::name), times))
            .collect();
        for (name, times) in verdicts {
            write!(f, "{times} {name}, ")?;
        }
        let votes = self.votes.values().sum::<u64>();
        write!(f, "{votes} votes, {} told to the agent", self.told)
    }
}

/// The number of random frames, and their seed.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    pub seed: u64,
    pub frames: u64,
}

impl Campaign {
    /// From `HEARTBEAT_FUZZ_SEED` and `HEARTBEAT_FUZZ_FRAMES`, else `default`.
    pub fn from_env(default: Self) -> Result<Self> {
        Ok(Self {
            seed: number(SEED)?.unwrap_or(default.seed),
            frames: number(FRAMES)?.unwrap_or(default.frames),
        })
    }

    /// Gives the frames to `program` and to `judge`; returns what they met.
    ///
    /// Fails with a [`Difference`] at the first frame that is not treated alike.
    pub fn run(self, kernel: &mut Kernel, program: Program, judge: Judge) -> Result<Met> {
        let mut met = Met::default();
        let mut left = self.frames;
        let mut seed = self.seed;
        while left > 0 {
            let done = self.frames - left;
            if done != 0 && done.is_multiple_of(PROGRESS) {
                println!("{program:?}: {done} of {} frames", self.frames);
            }
            let frames = left.min(EPISODE);
            episode(kernel, program, judge, seed, frames, &mut met).with_context(|| {
                format!(
                    "to see it again, as root: {OBJECT}={} {SEED}={seed} {FRAMES}={frames} \
                     cargo test -p heartbeat-tests --test kernel differential::",
                    env::var(OBJECT).unwrap_or_default()
                )
            })?;
            left -= frames;
            seed = seed.wrapping_add(1);
        }
        Ok(met)
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    match env::var(variable) {
        Ok(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(error) => bail!("{variable}={text:?} is no number: {error}"),
        },
        Err(_) => Ok(None),
    }
}

/// Some frames on maps of their own: a seed says all about them.
fn episode(
    kernel: &mut Kernel,
    program: Program,
    judge: Judge,
    seed: u64,
    frames: u64,
    met: &mut Met,
) -> Result<()> {
    let mut rng = Rng::new(seed);
    let mut world = generate::world(&mut rng, boottime().as_nanos());
    kernel.install(&world)?;
    for _ in 0..frames {
        if rng.one_in(20) {
            let row = rng.index(world.rows.len());
            world.rows[row] = generate::row(&mut rng);
            kernel.install(&world)?;
        }
        let spec = generate::frame(&mut rng, program, &mut world, boottime().as_nanos());
        kernel.send_by(world.sender);
        let mut frame = spec.frame()?;
        mutate::mutate(&mut rng, &world, &spec, &mut frame);
        if frame.len() < shortest(program, &frame) {
            frame.resize(shortest(program, &frame), 0);
        }
        met.note(&compare(kernel, &mut world, program, &frame, judge)?);
    }
    Ok(())
}

/// Runs one frame through both implementations. `world` must agree with the kernel's maps, and
/// agrees with them again afterwards.
fn compare(
    kernel: &mut Kernel,
    world: &mut World,
    program: Program,
    frame: &[u8],
    judge: Judge,
) -> Result<Outcome> {
    let before = boottime().as_nanos();
    let run = kernel.run(program, frame)?;
    let after = boottime().as_nanos();
    let in_kernel = Outcome {
        action: run.action,
        verdict: run.verdict,
        frame: run.frame,
        rows: (0..)
            .zip(&world.rows)
            .map(|(n, _)| Ok(unwatched(kernel.row(n)?)))
            .collect::<Result<_>>()?,
        slots: kernel.slots()?,
        votes: kernel.votes()?,
    };
    let readings = clock_readings(&in_kernel, &world.rows)?;
    ensure!(
        readings.is_sorted() && readings.iter().all(|at| (before..=after).contains(at)),
        "the kernel read its clock as {readings:?}, between {before} and {after}"
    );
    let candidates = if readings.is_empty() {
        vec![vec![after], vec![before]]
    } else {
        vec![readings]
    };
    let mut difference = None;
    for readings in candidates {
        let mut copy = world.clone();
        copy.set_clock(&readings);
        copy.votes.clear();
        let in_userspace = judged(&mut copy, program, frame, judge);
        if in_userspace == in_kernel {
            *world = copy;
            return Ok(in_kernel);
        }
        difference.get_or_insert(in_userspace);
    }
    let userspace = difference.context("the clock was not read at all")?;
    Err(Difference {
        program,
        given: frame.to_vec(),
        kernel: in_kernel,
        userspace,
    }
    .into())
}

fn judged(world: &mut World, program: Program, frame: &[u8], judge: Judge) -> Outcome {
    let mut frame = frame.to_vec();
    let verdict = judge(program, world, &mut frame);
    Outcome {
        action: verdict.map_or(Action::Pass, Verdict::action),
        verdict,
        frame,
        rows: world.rows.iter().copied().map(unwatched).collect(),
        slots: world.slots.clone(),
        // The kernel does not show whom a vote wakes.
        votes: world.votes.iter().map(|(event, _)| *event).collect(),
    }
}

/// The kernel's clock readings that the result shows. If a verdict shows none, the start or the end
/// of the run must explain the result.
fn clock_readings(outcome: &Outcome, old_rows: &[PeerRow]) -> Result<Vec<u64>> {
    let at = |field| {
        let at = payload_at(&outcome.frame) + field;
        let bytes = outcome.frame.get(at..).and_then(<[u8]>::first_chunk);
        bytes
            .copied()
            .map(u64::from_be_bytes)
            .context("a heartbeat without its times")
    };
    let changed = |field: fn(&PeerRow) -> u64| {
        let mut rows = outcome.rows.iter().zip(old_rows);
        rows.find(|(new, old)| field(new) != field(old))
            .map(|(new, _)| *new)
    };
    match outcome.verdict {
        // On the way out nothing is booked for an unknown key.
        Some(Verdict::BadTag | Verdict::UnknownKey) => {
            let row = changed(|row| row.bad_tags).or_else(|| changed(|row| row.unknown_keys));
            Ok(row.map(|row| row.refused_at).into_iter().collect())
        }
        Some(Verdict::Answered) => Ok(vec![at(offset::T2)?, at(offset::T3)?]),
        Some(Verdict::Stamped) => Ok(vec![at(offset::T1)?]),
        Some(Verdict::Recorded) => {
            let row = changed(|row| row.replies).context("recorded, but in no row")?;
            Ok(vec![row.last_reply_at])
        }
        _ => Ok(Vec::new()),
    }
}

/// The offset of the heartbeat in a frame that has one.
pub fn payload_at(frame: &[u8]) -> usize {
    let ethertype = |at: usize| frame.get(at..at + 2);
    let mut at = 12;
    while matches!(ethertype(at), Some([0x81, 0x00] | [0x88, 0xa8])) {
        at += 4;
    }
    let ip = if ethertype(at) == Some(&[0x08, 0x00]) {
        20
    } else {
        40
    };
    at + 2 + ip + 8
}

/// The lease entries of a heartbeat.
fn leases(frame: &[u8]) -> impl Iterator<Item = LeaseEntry> {
    let payload = frame.get(payload_at(frame)..).unwrap_or_default();
    let count = payload.get(offset::LEASE_COUNT).copied().unwrap_or(0);
    let entries = payload.get(offset::LEASES..wire::authenticated_len(count.into()));
    let (entries, _) = entries.unwrap_or_default().as_chunks();
    entries.iter().map(LeaseEntry::decode)
}

/// `row` without the fields of the deadline timer, which runs on its own.
fn unwatched(row: PeerRow) -> PeerRow {
    PeerRow {
        deadline_fired_at: 0,
        deadlines: 0,
        events_lost: 0,
        ..row
    }
}
