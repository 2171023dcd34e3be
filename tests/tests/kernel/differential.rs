//! A comparison of the kernel programs with the functions in `heartbeat-common` on thousands of
//! random and damaged frames. `HEARTBEAT_FUZZ_FRAMES=1000000` runs more of them,
//! `HEARTBEAT_FUZZ_SEED=2` others.

use std::collections::HashMap;

use anyhow::Result;
use heartbeat_common::{
    lease::{Answer, Operation, Slot, Vote},
    maps::{Address, Config, Key, Link, Local, PeerRow, PeerSlot, VoteEvent},
    packet::{Packet, SlicePacket, Word},
    tables::Tables,
    verdict::Verdict,
    wire::GroupId,
};
use heartbeat_tests::{
    kernel::{
        self, Program, World,
        differential::{Campaign, Difference, Judge, Met, honest, run},
    },
    needs,
};

const CAMPAIGN: Campaign = Campaign {
    seed: 1,
    frames: 20_000,
};

/// The verdicts that `program` can reach.
fn reachable(program: Program) -> Vec<Option<Verdict>> {
    let on_egress = [
        Verdict::Stamped,
        Verdict::StampRefused,
        Verdict::ForeignSocket,
    ];
    match program {
        Program::Receive => Verdict::ALL
            .into_iter()
            .filter(|v| !on_egress.contains(v))
            .map(Some)
            .collect(),
        Program::Stamp => on_egress
            .into_iter()
            .chain([Verdict::UnknownKey])
            .map(Some)
            .chain([None])
            .collect(),
    }
}

/// Runs a campaign. Returns what it met, unless it was too short for a conclusion.
fn agrees(program: Program) -> Result<Option<Met>> {
    let mut kernel = kernel::open()?;
    let campaign = Campaign::from_env(CAMPAIGN)?;
    let met = campaign.run(&mut kernel, program, honest)?;
    // `--nocapture` shows this.
    println!(
        "{program:?}: {} frames were treated alike: {met}",
        campaign.frames
    );
    if campaign.frames < CAMPAIGN.frames {
        return Ok(None);
    }
    // A campaign whose frames all fail the first check would prove nothing.
    for verdict in reachable(program) {
        let times = met.verdicts.get(&verdict).copied().unwrap_or(0);
        assert!(
            times >= 10,
            "{verdict:?} was met only {times} times: {met:?}"
        );
    }
    Ok(Some(met))
}

#[test]
fn arriving_frames_meet_the_same_verdict_in_kernel_and_userspace() -> Result<()> {
    use Operation::{Accept, Prepare, Release, Renew};
    needs!(Kernel);
    let Some(met) = agrees(Program::Receive)? else {
        return Ok(());
    };
    for operation in [Prepare, Accept, Release, Renew] {
        for vote in [Vote::Abstains, Vote::Granted, Vote::Refused] {
            let times = met.votes.get(&(operation, vote)).copied().unwrap_or(0);
            assert!(
                times >= 50,
                "{operation:?}: {vote:?} was met only {times} times: {met:?}"
            );
        }
    }
    assert!(met.told >= 500, "{met:?}");
    Ok(())
}

#[test]
fn leaving_frames_meet_the_same_verdict_in_kernel_and_userspace() -> Result<()> {
    needs!(Kernel);
    agrees(Program::Stamp)?;
    Ok(())
}

/// Maps or packets with one planted mistake each. The comparison must notice each.
struct Wrong<'a, T> {
    right: &'a mut T,
    mistake: Mistake,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// The clock is a nanosecond late.
    Clock,
    /// Every interface is accepted.
    Interface,
    /// The two keys are swapped.
    Key,
    /// Two rows are swapped.
    Row,
    /// Two groups are swapped.
    Group,
    /// The agent gets one vote too many.
    Votes,
    /// A bug that reads one byte beyond the end of a frame.
    Bounds,
}

impl Tables for Wrong<'_, World> {
    fn now(&mut self) -> u64 {
        self.right.now() + u64::from(self.mistake == Mistake::Clock)
    }

    fn ifindex(&self) -> u32 {
        match self.mistake {
            Mistake::Interface => kernel::OTHER_IFINDEX,
            _ => self.right.ifindex(),
        }
    }

    fn config(&self) -> Option<&Config> {
        Tables::config(self.right)
    }

    fn local(&self) -> Option<&Local> {
        Tables::local(self.right)
    }

    fn key(&self, slot: u32) -> Option<&Key> {
        self.right
            .key(slot ^ u32::from(self.mistake == Mistake::Key))
    }

    fn link(&self, address: &Address) -> Option<&Link> {
        self.right.link(address)
    }

    fn peer(&self, address: &Address) -> Option<&PeerSlot> {
        self.right.peer(address)
    }

    fn sender(&self) -> Option<u32> {
        self.right.sender()
    }

    fn row(&mut self, row: u32) -> Option<&mut PeerRow> {
        self.right
            .row(row ^ u32::from(self.mistake == Mistake::Row))
    }

    fn lease(
        &mut self,
        group: GroupId,
        decide: impl FnOnce(&mut Slot) -> Answer,
    ) -> Option<Answer> {
        let mixed_up = u16::from(self.mistake == Mistake::Group);
        self.right.lease(GroupId(group.0 ^ mixed_up), decide)
    }

    fn votes(&mut self, fill: impl FnOnce(&mut VoteEvent) -> Option<bool>) {
        let mistake = self.mistake;
        self.right.votes(|event| {
            let wakes = fill(event)?;
            event.count += u32::from(mistake == Mistake::Votes);
            Some(wakes)
        });
    }
}

impl Packet for Wrong<'_, Vec<u8>> {
    fn read<T: Word>(&self, at: usize) -> Option<T> {
        let mut longer = self.right.clone();
        longer.extend((self.mistake == Mistake::Bounds).then_some(0));
        SlicePacket(&mut longer).read(at)
    }

    fn write<T: Word>(&mut self, at: usize, value: T) -> Option<()> {
        SlicePacket(self.right).write(at, value)
    }
}

/// A reference function with one mistake. Function pointers capture nothing, hence one for each.
macro_rules! mistaken {
    ($mistake:ident) => {{
        let judge: Judge = |program, world, frame| {
            let mistake = Mistake::$mistake;
            let mut packet = frame.to_vec();
            let verdict = run(
                program,
                &mut Wrong {
                    right: &mut packet,
                    mistake,
                },
                &mut Wrong {
                    right: world,
                    mistake,
                },
            );
            frame.copy_from_slice(&packet);
            verdict
        };
        (stringify!($mistake), judge)
    }};
}

/// The replay window forgets all sequences below the newest.
fn forgetful(program: Program, world: &mut World, frame: &mut [u8]) -> Option<Verdict> {
    let verdict = honest(program, world, frame);
    for row in &mut world.rows {
        row.asked_window = row.asked_window.min(1);
    }
    verdict
}

/// The acceptor votes at once after it is loaded.
fn hasty(program: Program, world: &mut World, frame: &mut [u8]) -> Option<Verdict> {
    let votes_from = std::mem::take(&mut world.config.votes_from);
    let verdict = honest(program, world, frame);
    world.config.votes_from = votes_from;
    verdict
}

/// Leases have no upper limit.
fn generous(program: Program, world: &mut World, frame: &mut [u8]) -> Option<Verdict> {
    let longest = std::mem::replace(&mut world.config.max_lease_ns, u64::MAX);
    let verdict = honest(program, world, frame);
    world.config.max_lease_ns = longest;
    verdict
}

/// The acceptor forgets its promises.
fn faithless(program: Program, world: &mut World, frame: &mut [u8]) -> Option<Verdict> {
    let kept = world.slots.clone();
    for slot in world.slots.values_mut() {
        slot.promised = 0;
    }
    let verdict = honest(program, world, frame);
    for (group, slot) in kept {
        let promised = &mut world.slots.entry(group).or_default().promised;
        *promised = slot.promised.max(*promised);
    }
    verdict
}

/// A reply has no UDP checksum.
fn unsummed(program: Program, world: &mut World, frame: &mut [u8]) -> Option<Verdict> {
    let verdict = honest(program, world, frame);
    if verdict == Some(Verdict::Answered) && frame[12..14] == [0x08, 0x00] {
        frame[40..42].fill(0);
    }
    verdict
}

#[test]
fn comparison_finds_each_planted_mistake() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let mistakes: HashMap<&str, Judge> = HashMap::from([
        mistaken!(Clock),
        mistaken!(Interface),
        mistaken!(Key),
        mistaken!(Row),
        mistaken!(Group),
        mistaken!(Votes),
        mistaken!(Bounds),
        ("forgetful", forgetful as Judge),
        ("unsummed", unsummed as Judge),
        ("hasty", hasty as Judge),
        ("generous", generous as Judge),
        ("faithless", faithless as Judge),
    ]);
    for (mistake, judge) in mistakes {
        let result = Campaign {
            seed: 1,
            frames: 5_000,
        }
        .run(&mut kernel, Program::Receive, judge);
        let error = result.expect_err(mistake);
        assert!(
            error.downcast_ref::<Difference>().is_some(),
            "{mistake}: {error:#}"
        );
    }
    Ok(())
}
