//! Renewal of leases by the kernels: the owner's kernel asks in its replies, the voters' kernels
//! repeat their votes in their probes, and the owner's kernel counts them.
//!
//! ```text
//!   owner's kernel                          voter's kernel
//!   reply(t3): ask(group, ballot, T) ─────▶ decide() on the slot; remember the vote
//!   count: end = t3 + T·(1 − 2·drift) ◀──── each probe: vote(ballot, granted or refused, t3, T)
//!   renewed = the majority-th latest end
//! ```
//!
//! The kernel programs do not call these functions yet: they were written for the model in
//! `crates/core/tests/renewal.rs`, which comes before the programs.
//!
//! The pulse acquires a lease, and releases it. In between, the kernels renew it without the pulse.
//! A vote is a state that every probe repeats, so a lost frame costs time only. A refusal withdraws
//! an earlier grant: when so many voters refuse that no majority is left, the owner's kernel closes
//! the guard in the same run (docs/adr/0045-kernels-renew-leases.md).
//!
//! Each word of the row has one writer, so no word that the pulse has closed is opened by the
//! kernel, and no word that the kernel has closed is opened by the pulse. The functions here work
//! on values: the caller reads the words, under the lock of the counts, and stores the result.

use core::hint::black_box;

use bytemuck::{Pod, Zeroable};

use crate::{lease::Ballot, time::Boottime, wire::NodeId};

/// The greatest number of voters that the kernel counts.
pub const MAX_VOTERS: usize = 8;

/// The 16 bits that distinguish a claim of this node from its other claims; never 0.
///
/// It is made of the claim's first ballot. The pulse skips a ballot whose tag is in any word of the
/// row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ClaimTag(u16);

impl ClaimTag {
    /// The tag of the claim whose first ballot is `first`. `None` if the ballot makes no tag.
    #[inline(always)]
    pub const fn of(first: Ballot) -> Option<Self> {
        match first.round() as u16 {
            0 => None,
            tag => Some(Self(tag)),
        }
    }

    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.0 as u64
    }
}

/// An instant and the claim to which it belongs, in one word: `tag << 48 | microseconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct TaggedEnd(pub u64);

impl TaggedEnd {
    const MICROS: u64 = (1 << 48) - 1;

    /// `end` is rounded down to microseconds.
    #[inline(always)]
    pub const fn new(tag: ClaimTag, end: Boottime) -> Self {
        let micros = end.as_nanos() / 1_000;
        let micros = if micros > Self::MICROS {
            Self::MICROS
        } else {
            micros
        };
        Self((tag.0 as u64) << 48 | micros)
    }

    /// The instant if it belongs to the claim `tag`, otherwise the start of the clock.
    #[inline(always)]
    pub const fn end_of(self, tag: ClaimTag) -> Boottime {
        if self.0 >> 48 == tag.0 as u64 {
            Boottime::from_nanos((self.0 & Self::MICROS) * 1_000)
        } else {
            Boottime::from_nanos(0)
        }
    }
}

/// The row of a group in the guard: the words by which its addresses are open or closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct GroupRow {
    /// By the pulse: the [`ClaimTag`] whose ends open the guard; 0 closes it.
    pub permit: u64,
    /// By the pulse: the end of the lease by its own count.
    pub until: TaggedEnd,
    /// By the pulse: the first ballot of the claim.
    pub first: u64,
    /// By the pulse: the ballot for which the kernel asks; 0 for none.
    pub asking: u64,
    /// By the kernel: the end of the lease by its count.
    pub renewed: TaggedEnd,
    /// By the kernel: the [`ClaimTag`] of the claim that has ended, however long its ends last.
    pub withdrawn: u64,
}

impl GroupRow {
    /// The end of the lease of the claim `tag`, whoever counted it.
    #[inline(always)]
    pub const fn end_of(&self, tag: ClaimTag) -> Boottime {
        let (until, renewed) = (self.until.end_of(tag), self.renewed.end_of(tag));
        if renewed.as_nanos() > until.as_nanos() {
            renewed
        } else {
            until
        }
    }

    /// The time until which the guard is open; the start of the clock if it is closed. The clock
    /// must be read after the words.
    #[inline(always)]
    pub const fn open_until(&self) -> Boottime {
        if self.permit == 0 || self.withdrawn == self.permit {
            return Boottime::from_nanos(0);
        }
        self.end_of(ClaimTag(self.permit as u16))
    }

    /// The claim for which the kernel may ask at `now`. `Err` has the claim that has ended: the
    /// kernel stores its tag in `withdrawn`, so that the claim never lives again.
    #[inline(always)]
    pub const fn asking_at(&self, now: Boottime) -> Result<Option<Claim>, ClaimTag> {
        let Some(tag) = ClaimTag::of(Ballot(self.first)) else {
            return Ok(None);
        };
        if self.asking == 0 || self.withdrawn == tag.to_word() {
            return Ok(None);
        }
        if self.end_of(tag).as_nanos() <= now.as_nanos() {
            return Err(tag);
        }
        Ok(Some(Claim {
            tag,
            first: Ballot(self.first),
            asking: Ballot(self.asking),
        }))
    }
}

/// A claim of this node that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub tag: ClaimTag,
    /// The ballot that got the lease.
    pub first: Ballot,
    /// The ballot for which the kernel asks now.
    pub asking: Ballot,
}

/// The voters whose votes count, in one word, so that a run uses one list of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct VoterList(pub u64);

impl VoterList {
    /// `version` is the list's number, `majority` at least 1, bit *n* of `mask` is set if the voter
    /// with the index *n* counts.
    #[inline(always)]
    pub const fn new(version: u16, voters: u8, mask: u8) -> Self {
        Self((version as u64) << 32 | (voters as u64) << 8 | mask as u64)
    }

    #[inline(always)]
    pub const fn version(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// The number of voters, including voters that this node cannot ask.
    #[inline(always)]
    pub const fn voters(self) -> u32 {
        (self.0 >> 8) as u8 as u32
    }

    #[inline(always)]
    pub const fn majority(self) -> u32 {
        self.voters() / 2 + 1
    }

    #[inline(always)]
    const fn mask(self) -> u32 {
        self.0 as u8 as u32
    }
}

/// A voter's state about one group of this node, as its probes repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RepeatedVote {
    /// The life of the owner's kernel that asked.
    pub life: u32,
    pub ballot: Ballot,
    /// The departure of the owner's reply that asked, on the owner's clock.
    pub asked_at: Boottime,
    /// The length of the lease that was asked for, in microseconds.
    pub lease_micros: u32,
    pub granted: bool,
}

/// The last vote of one voter that counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct CountedVote {
    /// The end of the lease by this vote, in nanoseconds; 0 without a grant.
    pub end: u64,
    /// The asking time of the voter's newest vote, in nanoseconds.
    pub asked_at: u64,
    /// The ballot that the newest vote refused; 0 if it granted.
    pub refused: u64,
    /// The id of the voter.
    pub node: u32,
    pub reserved: u32,
}

/// The votes for one claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Counts {
    /// The first ballot of the claim that the votes are for.
    pub first: u64,
    /// By index of the voter.
    pub votes: [CountedVote; MAX_VOTERS],
}

/// The facts about the counting node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counting {
    /// The life of this kernel.
    pub life: u32,
    pub list: VoterList,
    /// The counted share of a lease, in parts per million: 1,000,000 − 2 · drift.
    pub counted_ppm: u32,
}

/// The effect of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The vote counts for nothing.
    Ignored,
    /// The new value of [`GroupRow::renewed`].
    Renewed(TaggedEnd),
    /// The new value of [`GroupRow::withdrawn`].
    Withdrawn(ClaimTag),
}

impl Counts {
    /// Counts the vote of `voter`, which has the index `index`, for the claim of `row`. The caller
    /// holds the lock of the counts, and has read `row` after it took the lock.
    #[inline(always)]
    pub fn count(
        &mut self,
        row: &GroupRow,
        by: &Counting,
        (index, voter): (usize, NodeId),
        vote: &RepeatedVote,
        now: Boottime,
    ) -> Outcome {
        let claim = match row.asking_at(now) {
            Ok(Some(claim)) => claim,
            Ok(None) => return Outcome::Ignored,
            Err(ended) => return Outcome::Withdrawn(ended),
        };
        if self.first != claim.first.0 {
            *self = Self {
                first: claim.first.0,
                ..Self::default()
            };
        }
        let Some(counted) = self.votes.get_mut(index) else {
            return Outcome::Ignored;
        };
        if counted.node != u32::from(voter.0) {
            *counted = CountedVote {
                node: u32::from(voter.0),
                ..CountedVote::default()
            };
        }
        let asked_at = vote.asked_at.as_nanos();
        if vote.life != by.life
            || asked_at > now.as_nanos()
            || asked_at <= counted.asked_at
            || vote.ballot < claim.first
            || vote.ballot > claim.asking
        {
            return Outcome::Ignored;
        }
        if vote.granted {
            counted.asked_at = asked_at;
            counted.refused = 0;
            // docs/design/leases.md#rule-1: a vote counts from the asking time, for less than the
            // voter grants. An earlier ask for a longer lease may end later.
            let end = asked_at.saturating_add(counted_nanos(vote.lease_micros, by.counted_ppm));
            if end > counted.end {
                counted.end = end;
            }
        } else if vote.ballot == claim.asking {
            counted.asked_at = asked_at;
            counted.refused = vote.ballot.0;
            // docs/adr/0045-kernels-renew-leases.md: a refusal withdraws the voter's grants.
            counted.end = 0;
        } else {
            return Outcome::Ignored;
        }
        if by.list.voters() - self.refusals(claim.asking, by.list) < by.list.majority() {
            return Outcome::Withdrawn(claim.tag);
        }
        Outcome::Renewed(TaggedEnd::new(claim.tag, self.end(by.list)))
    }

    /// The number of counting voters whose newest vote refuses `asking`.
    #[inline(always)]
    fn refusals(&self, asking: Ballot, list: VoterList) -> u32 {
        let mut refusals = 0;
        for (index, vote) in self.votes.iter().enumerate() {
            let counts = list.mask() >> index & 1;
            refusals += counts * (1 - differs(vote.refused ^ asking.0) as u32);
        }
        refusals
    }

    /// The end of the lease: the majority-th latest of the ends by voter.
    ///
    /// The end with exactly *majority − 1* ends before it, in descending order, is added up without
    /// a branch: with branches the BPF verifier would follow every order of eight ends.
    #[inline(always)]
    fn end(&self, list: VoterList) -> Boottime {
        let mut keys = [0_u64; MAX_VOTERS];
        for (index, vote) in self.votes.iter().enumerate() {
            let counts = u64::from(list.mask()) >> index & 1;
            // Of equal ends the first is the later one. Ends are below 2^60 nanoseconds, which is
            // 36 years.
            keys[index] = (vote.end * counts) << 3 | (MAX_VOTERS - 1 - index) as u64;
        }
        let before = u64::from(list.majority() - 1);
        let mut end = 0;
        for (index, &one) in keys.iter().enumerate() {
            let mut rank = 0;
            for (other_index, &other) in keys.iter().enumerate() {
                if other_index != index {
                    // The sign of the difference is its order.
                    rank += one.wrapping_sub(other) >> 63;
                }
            }
            end += (one >> 3) * (1 - differs(rank ^ before));
        }
        Boottime::from_nanos(end)
    }
}

/// 1 if `difference` is not 0, else 0. The compiler must not see that this is a comparison: it
/// would make a branch of it.
#[inline(always)]
fn differs(difference: u64) -> u64 {
    black_box(difference | difference.wrapping_neg()) >> 63
}

/// The counted part of a lease, in nanoseconds.
#[inline(always)]
const fn counted_nanos(lease_micros: u32, counted_ppm: u32) -> u64 {
    // At most 2^32 · 10^6: no overflow.
    (lease_micros as u64) * (counted_ppm as u64) / 1_000
}
