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

/// What a frame is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) reply: bool,
    /// It, or what it answers, was given up already: it does not end a row of losses.
    pub(crate) late: bool,
    /// When the probe left.
    pub(crate) asked_at: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// In nanoseconds.
    pub(crate) takes: u64,
    pub(crate) late: bool,
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
    /// A copy, and half of what is lost, comes after all, later by up to this.
    pub(crate) late: u64,
    blocked: HashSet<Path>,
    /// What a frame takes more on some ways.
    delays: HashMap<Path, u64>,
    /// How many round trips of an asker failed in a row, by its way to the peer, and when the last of
    /// them began.
    failed: HashMap<Path, (u64, u64)>,
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

    /// A frame takes `more` nanoseconds more on this way.
    pub(crate) fn delay(&mut self, path: Path, more: u64) {
        self.delays.insert(path, more);
    }

    /// No more loss, no more chance.
    pub(crate) fn calm(&mut self) {
        (self.loss_per_mille, self.duplicates_per_mille) = (0, 0);
    }

    /// What becomes of each copy of a frame; there is none if it is lost.
    pub(crate) fn carry(&mut self, path: Path, sent: Sent, rng: &mut Rng) -> Vec<Delivery> {
        if self.is_blocked(path) {
            return Vec::new();
        }
        let asked = if sent.reply { path.back() } else { path };
        let (failed, last) = self.failed.entry(asked).or_default();
        if *failed < self.losses_in_a_row && rng.per_mille(self.loss_per_mille) {
            *failed += 1;
            *last = sent.asked_at.max(*last);
            let comes = self.late > 0 && rng.per_mille(500);
            return Vec::from_iter(comes.then(|| self.late_copy(path, rng)));
        }
        if sent.reply && !sent.late && sent.asked_at > *last {
            *failed = 0;
        }
        let mut copies = vec![Delivery {
            takes: self.takes(path, rng),
            late: sent.late,
        }];
        if rng.per_mille(self.duplicates_per_mille) {
            copies.push(self.late_copy(path, rng));
        }
        copies
    }

    fn late_copy(&self, path: Path, rng: &mut Rng) -> Delivery {
        Delivery {
            takes: self.takes(path, rng) + rng.below(self.late),
            late: true,
        }
    }

    fn takes(&self, path: Path, rng: &mut Rng) -> u64 {
        let delay = self.delays.get(&path).copied().unwrap_or_default();
        self.latency + delay + rng.below(self.jitter)
    }
}
