//! The answers of the kernel's acceptor to each kind of entry, and its slot afterwards.

use anyhow::Result;
use heartbeat_common::{
    lease::{Ballot, Operation, Slot, Successor, Vote},
    maps::VoteEvent,
    wire::{GroupId, LeaseEntry, NodeId},
};
use heartbeat_tests::{
    kernel::{self, Kernel, MAX_LEASE, World, frames::PEERS},
    needs,
    sys::boottime,
};

use super::{
    PEER, TIMEOUT_NS,
    leases::{
        GROUP, HOUR, LEASE_NS, accept, ask, bytes, granted, held, mine, prepare, release, renew,
    },
};

use Leaves::{AsItWas, Lease};

/// A node other than the asking one.
const OTHER: u16 = PEERS[1];
const LONGEST: u32 = (MAX_LEASE / 1_000) as u32;
const ANYBODY: Successor = Successor(0);
const CHOSEN: Successor = Successor::chosen(NodeId(OTHER));
/// The last ballot that the asking node can have.
const LAST: Ballot = Ballot::new(Ballot::MAX_ROUND, NodeId(PEER));

fn others(round: u64) -> Ballot {
    Ballot::new(round, NodeId(OTHER))
}

fn promised(slot: Slot, ballot: Ballot) -> Slot {
    Slot {
        promised: ballot.0,
        ..slot
    }
}

/// The slot after a release by its owner.
fn freed(slot: Slot, successor: Successor) -> Slot {
    Slot {
        owner: 0,
        successor: successor.0,
        promised: slot.promised.max(slot.ballot + 1),
        ..slot
    }
}

/// An entry, its answer, and the slot afterwards.
struct Case {
    name: &'static str,
    /// The slot before; `None` if the group is unknown.
    known: Option<Slot>,
    asked: LeaseEntry,
    says: Says,
    leaves: Leaves,
}

#[derive(Clone, Copy)]
enum Says {
    Nothing,
    Granted,
    /// A refusal with the higher ballot.
    Refused(Ballot),
    /// A refusal with the ballot and the rest of its lease.
    Held(Ballot),
}

#[derive(Clone, Copy)]
enum Leaves {
    AsItWas,
    Slot(Slot),
    /// The given slot, with a lease from the arrival of the probe on.
    Lease(Slot),
}

/// A case in which the acceptor abstains.
fn abstains(name: &'static str, known: Option<Slot>, asked: LeaseEntry) -> Case {
    Case {
        name,
        known,
        asked,
        says: Says::Nothing,
        leaves: AsItWas,
    }
}

/// A case in which the acceptor refuses, and the slot stays as it was.
fn refuses(name: &'static str, slot: Slot, asked: LeaseEntry, says: Says) -> Case {
    Case {
        name,
        known: Some(slot),
        asked,
        says,
        leaves: AsItWas,
    }
}

fn grants(name: &'static str, known: Option<Slot>, asked: LeaseEntry, leaves: Leaves) -> Case {
    Case {
        name,
        known,
        asked,
        says: Says::Granted,
        leaves,
    }
}

fn of_an_unknown_group() -> Vec<Case> {
    let first = prepare(mine(1));
    let lasting = |micros| LeaseEntry { micros, ..first };
    let doing = |operation| LeaseEntry { operation, ..first };
    let lease = |ballot| Lease(held(ballot, 0));
    let promise = Leaves::Slot(promised(Slot::default(), mine(1)));
    vec![
        grants("the first prepare", None, first, promise),
        grants("an accept", None, accept(mine(1)), lease(mine(1))),
        grants("a renewal", None, renew(mine(1)), lease(mine(1))),
        grants("round 0", None, accept(mine(0)), lease(mine(0))),
        grants("the last ballot", None, accept(LAST), lease(LAST)),
        grants("the longest lease", None, lasting(LONGEST), promise),
        abstains("a lease that is too long", None, lasting(LONGEST + 1)),
        abstains("a lease for ever", None, lasting(u32::MAX)),
        abstains("a lease of no time", None, lasting(0)),
        abstains("operation 0", None, doing(0)),
        abstains("operation 5", None, doing(5)),
        abstains("operation 255", None, doing(255)),
        abstains("another's ballot", None, accept(others(9))),
        abstains("nobody's ballot", None, accept(Ballot(0))),
        abstains("the highest number", None, accept(Ballot(u64::MAX))),
        abstains("a claimed vote", None, granted(accept(others(9)))),
        Case {
            says: Says::Refused(Ballot(0)),
            leaves: Leaves::Slot(Slot::default()),
            ..grants("a release", None, release(mine(1), ANYBODY), AsItWas)
        },
    ]
}

fn of_a_free_group() -> Vec<Case> {
    let over = held(others(5), 1);
    let until = boottime().as_nanos() + HOUR;
    let free = freed(held(others(5), until), Successor::fit(NodeId(PEER)));
    let busy = promised(over, mine(6));
    let taken = Lease(held(mine(6), 0));
    let old = Says::Refused(others(5));
    let after = |slot| Leaves::Slot(promised(slot, mine(6)));
    vec![
        grants("an ended lease", Some(over), prepare(mine(6)), after(over)),
        grants("an ended lease", Some(over), accept(mine(6)), taken),
        grants("a released one", Some(free), prepare(mine(6)), after(free)),
        grants("a released one", Some(free), accept(mine(6)), taken),
        grants("a promise", Some(busy), accept(mine(6)), taken),
        refuses(
            "less than the promise",
            busy,
            accept(mine(5)),
            Says::Refused(mine(6)),
        ),
        refuses("an old prepare", over, prepare(mine(4)), old),
        refuses("an old accept", over, accept(mine(4)), old),
        refuses("too late a release", over, release(mine(4), ANYBODY), old),
    ]
}

fn of_a_held_group() -> Vec<Case> {
    let now = boottime().as_nanos();
    let lives = held(others(5), now + HOUR);
    let own = held(mine(5), now + LEASE_NS / 2);
    let long = held(mine(5), now + HOUR);
    let gone = freed(own, CHOSEN);
    let in_the_way = Says::Held(others(5));
    let older = Says::Refused(mine(5));
    let newer = Lease(held(mine(6), 0));
    let free = |successor| Leaves::Slot(freed(own, successor));
    let barred = Says::Refused(Ballot(mine(5).0 + 1));
    vec![
        refuses("another's", lives, prepare(mine(9)), in_the_way),
        refuses("another's", lives, accept(LAST), in_the_way),
        refuses("another's", lives, renew(mine(9)), in_the_way),
        refuses(
            "another's",
            lives,
            release(mine(5), ANYBODY),
            Says::Refused(others(5)),
        ),
        abstains(
            "a release in another's name",
            Some(lives),
            release(others(5), ANYBODY),
        ),
        grants("a renewal", Some(own), renew(mine(5)), Lease(own)),
        grants(
            "none that shortens",
            Some(long),
            renew(mine(5)),
            Leaves::Slot(long),
        ),
        grants("the owner's next ballot", Some(own), accept(mine(6)), newer),
        refuses("the owner's last ballot", own, renew(mine(4)), older),
        refuses(
            "the owner's last ballot",
            own,
            release(mine(4), ANYBODY),
            older,
        ),
        grants(
            "a release",
            Some(own),
            release(mine(5), ANYBODY),
            free(ANYBODY),
        ),
        grants(
            "a release to",
            Some(own),
            release(mine(5), CHOSEN),
            free(CHOSEN),
        ),
        grants(
            "a release again",
            Some(gone),
            release(mine(5), CHOSEN),
            AsItWas,
        ),
        refuses("a renewal after the release", gone, renew(mine(5)), barred),
    ]
}

impl Case {
    fn run(&self, kernel: &mut Kernel) -> Result<()> {
        let Self {
            name, known, asked, ..
        } = *self;
        let name = format!("{name}, {asked:?}");
        let mut world = World::new(TIMEOUT_NS);
        world.slots = known
            .map(|slot| (GroupId(GROUP), slot))
            .into_iter()
            .collect();
        kernel.install(&world)?;
        let (said, now) = ask(kernel, 1, &[asked])?;
        let answer = self.answer(now);
        assert_eq!(said, bytes(&[answer]), "{name}: not {answer:?}");
        let left = match self.leaves {
            AsItWas => known,
            Leaves::Slot(slot) => Some(slot),
            Lease(slot) => Some(Slot {
                expires: now + LEASE_NS,
                ..slot
            }),
        };
        assert_eq!(
            kernel.slots()?.get(&GroupId(GROUP)),
            left.as_ref(),
            "{name}"
        );
        let frees = answer == granted(asked) && asked.operation == Operation::Release as u8;
        let told = kernel.votes()?;
        let told = told
            .iter()
            .map(|event| (event.row, event.count, event.entries[0]));
        let expected = frees.then_some((VoteEvent::FREED, 1, asked));
        assert!(told.eq(expected), "{name}");
        Ok(())
    }

    /// The expected entry in the reply to a probe that arrived at `now`.
    fn answer(&self, now: u64) -> LeaseEntry {
        let refused = |ballot: Ballot, left_ns: u64| LeaseEntry {
            vote: Vote::Refused as u8,
            micros: left_ns.div_ceil(1_000) as u32,
            ballot: ballot.0,
            ..self.asked
        };
        match self.says {
            Says::Nothing => LeaseEntry {
                vote: Vote::Abstains as u8,
                ..self.asked
            },
            Says::Granted => granted(self.asked),
            Says::Refused(ballot) => refused(ballot, 0),
            Says::Held(ballot) => refused(ballot, self.known.map_or(0, |slot| slot.expires - now)),
        }
    }
}

#[test]
fn each_lease_entry_gets_the_answer_that_its_slot_allows() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    for cases in [of_an_unknown_group(), of_a_free_group(), of_a_held_group()] {
        for case in cases {
            case.run(&mut kernel)?;
        }
    }
    Ok(())
}
