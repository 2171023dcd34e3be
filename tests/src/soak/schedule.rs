//! The schedule of faults, which follows from the seed alone.

use std::time::Duration;

use super::trouble::{NODES, Trouble};
use crate::{Fault, kernel::Rng};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The time before the fault in which all is well.
    pub(super) quiet: Duration,
    pub(super) trouble: Trouble,
    pub(super) lasts: Duration,
}

/// All faults of a run, one after the other.
#[derive(Debug)]
pub(super) struct Schedule {
    rng: Rng,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
        }
    }

    pub(super) fn next_step(&mut self) -> Step {
        Step {
            quiet: self.millis(200, 800),
            trouble: self.trouble(),
            lasts: self.millis(100, 900),
        }
    }

    fn trouble(&mut self) -> Trouble {
        // The first node serves unless it cannot, so it is hit as often as all others together.
        let node = match self.rng.one_in(2) {
            true => NODES[0],
            false => self.rng.pick(&NODES),
        };
        // The last node's agent runs throughout, so that leaks show there.
        let mortal = if node == NODES[2] { NODES[1] } else { node };
        let fault = |node, fault| Trouble::Fault { node, fault };
        match self.rng.below(14) {
            0 | 1 => fault(mortal, Fault::Kill),
            2 | 3 => Trouble::Restart { node: mortal },
            4 => fault(node, Fault::Cut),
            5 => fault(node, Fault::Silent),
            6 => fault(node, Fault::Deaf),
            7 => fault(node, Fault::Mute),
            8 => fault(node, Fault::Stop),
            9 => Trouble::Move { to: node },
            10 => Trouble::Standby { node },
            11 => Trouble::Reload { node },
            12 => Trouble::Pressure,
            _ => Trouble::Flood { node },
        }
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.rng.below(to - from))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn steps(seed: u64) -> Vec<Step> {
        let mut schedule = Schedule::new(seed);
        (0..500).map(|_| schedule.next_step()).collect()
    }

    #[test]
    fn seed_gives_the_same_run_again_and_another_seed_another() {
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
    }

    #[test]
    fn every_kind_of_trouble_comes_and_the_last_node_lives_on() {
        let steps = steps(1);
        let kinds: BTreeSet<_> = steps.iter().map(|step| step.trouble.kind()).collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
        for step in steps {
            let ends = match step.trouble {
                Trouble::Fault {
                    node,
                    fault: Fault::Kill,
                }
                | Trouble::Restart { node } => node,
                _ => continue,
            };
            assert_ne!(ends, NODES[2]);
        }
    }
}
