//! The network of a simulated cluster: what becomes of a frame between two machines, and the one
//! source of chance that everything in a simulation comes from.

use std::collections::{HashMap, HashSet};

use heartbeat_common::wire::LinkId;

/// SplitMix64 (Steele, Lea and Flood, 2014): a whole simulation follows from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end` - 1; 0 if there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1_000) < chance
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A frame's way. Machines are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) link: LinkId,
}

impl Path {
    pub(crate) fn back(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            link: self.link,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    /// What every frame takes, in nanoseconds.
    pub(crate) latency: u64,
    /// What it takes more at most: frames overtake each other by it.
    pub(crate) jitter: u64,
    pub(crate) loss_per_mille: u64,
    /// Round trips of one pair of machines that may fail in a row by loss.
    pub(crate) losses_in_a_row: u64,
    pub(crate) duplicates_per_mille: u64,
    blocked: HashSet<Path>,
    /// How many round trips of an asker failed in a row, by its way to the peer.
    failed: HashMap<Path, u64>,
}

impl Net {
    pub(crate) fn block(&mut self, path: Path) {
        self.blocked.insert(path);
    }

    pub(crate) fn unblock(&mut self, path: Path) {
        self.blocked.remove(&path);
    }

    pub(crate) fn is_blocked(&self, path: Path) -> bool {
        self.blocked.contains(&path)
    }

    pub(crate) fn heal(&mut self) {
        self.blocked.clear();
    }

    /// No more loss, no more chance.
    pub(crate) fn calm(&mut self) {
        (self.loss_per_mille, self.duplicates_per_mille) = (0, 0);
    }

    /// How long each copy of a frame takes; none if it is lost.
    pub(crate) fn carry(&mut self, path: Path, is_reply: bool, rng: &mut Rng) -> Vec<u64> {
        if self.is_blocked(path) {
            return Vec::new();
        }
        let asked = if is_reply { path.back() } else { path };
        let failed = self.failed.entry(asked).or_default();
        if *failed < self.losses_in_a_row && rng.per_mille(self.loss_per_mille) {
            *failed += 1;
            return Vec::new();
        }
        if is_reply {
            *failed = 0;
        }
        let copies = 1 + usize::from(rng.per_mille(self.duplicates_per_mille));
        (0..copies)
            .map(|_| self.latency + rng.below(self.jitter))
            .collect()
    }
}
