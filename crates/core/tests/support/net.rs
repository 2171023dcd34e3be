//! The network of a simulated cluster: the fate of a frame between two machines, and the one random
//! source of a simulation.

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

/// The path of a frame. Machines are numbered from 0.
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

/// The properties of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) reply: bool,
    /// The frame, or its probe, was given up already: it does not end a row of losses.
    pub(crate) late: bool,
    /// The departure of the probe.
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
    /// The latency of every frame, in nanoseconds.
    pub(crate) latency: u64,
    /// The greatest additional latency: frames overtake each other by it.
    pub(crate) jitter: u64,
    pub(crate) loss_per_mille: u64,
    /// The greatest number of consecutive round trips of one pair of machines that fail by loss.
    pub(crate) losses_in_a_row: u64,
    pub(crate) duplicates_per_mille: u64,
    /// A copy, and half of the lost frames, arrives after all, later by up to this.
    pub(crate) late: u64,
    blocked: HashSet<Path>,
    /// The additional latency on some paths.
    delays: HashMap<Path, u64>,
    /// The number of consecutive failed round trips of a prober, by its path to the peer, and the
    /// start of the last of them.
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

    /// Adds `more` nanoseconds to the latency of this path.
    pub(crate) fn delay(&mut self, path: Path, more: u64) {
        self.delays.insert(path, more);
    }

    /// Ends all loss and all randomness.
    pub(crate) fn calm(&mut self) {
        (self.loss_per_mille, self.duplicates_per_mille) = (0, 0);
    }

    /// The delivery of each copy of a frame; none if it is lost.
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
