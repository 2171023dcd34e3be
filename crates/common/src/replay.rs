//! The anti-replay window: the sequence numbers that were already received (RFC 4303, section
//! 3.4.3).

/// The greatest distance behind the highest sequence at which a frame is still accepted, in frames.
pub const WINDOW: u64 = 64;
/// The greatest distance beyond the highest sequence at which a frame is still accepted, and the
/// greatest first sequence. A sender that counts by ones never gets so far: at a million frames a
/// second it takes nine years. Without the limit, one frame with the highest number of all would
/// shut out all later frames of its sender.
pub const MAX_JUMP: u64 = 1 << 48;

/// Checks `sequence` against the highest accepted one and the bitmap of those below it.
///
/// Bit *n* of `window` means that `highest - n` was accepted. Returns the new pair if `sequence` is
/// accepted. Returns `None` if it is a replay, too old, or too far ahead. Sequences start at 1; a
/// zero `window` means that no sequence was accepted yet.
#[inline(always)]
pub const fn advance(highest: u64, window: u64, sequence: u64) -> Option<(u64, u64)> {
    if sequence == 0 {
        return None;
    }
    if window == 0 {
        return if sequence > MAX_JUMP {
            None
        } else {
            Some((sequence, 1))
        };
    }
    if sequence > highest {
        let ahead = sequence - highest;
        if ahead > MAX_JUMP {
            return None;
        }
        let kept = if ahead < WINDOW { window << ahead } else { 0 };
        return Some((sequence, kept | 1));
    }
    let behind = highest - sequence;
    if behind >= WINDOW || window & (1 << behind) != 0 {
        return None;
    }
    Some((highest, window | 1 << behind))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn zero_is_never_taken_and_the_top_does_not_overflow() {
        assert_eq!(advance(0, 0, 0), None);
        assert_eq!(advance(u64::MAX, 1, u64::MAX), None);
        let top = u64::MAX - 1;
        assert_eq!(advance(top, 1, u64::MAX), Some((u64::MAX, 0b11)));
    }

    #[test]
    fn jump_is_taken_up_to_the_bound_and_refused_beyond() {
        for (highest, window) in [(0, 0), (1, 1), (1 << 40, 1)] {
            let furthest = highest + MAX_JUMP;
            assert_eq!(advance(highest, window, furthest), Some((furthest, 1)));
            assert_eq!(advance(highest, window, furthest + 1), None);
            assert_eq!(advance(highest, window, u64::MAX), None);
        }
    }

    /// The pair after these sequences, all of which are accepted.
    fn after(sequences: &[u64]) -> (u64, u64) {
        sequences.iter().fold((0, 0), |(highest, window), next| {
            advance(highest, window, *next).expect("a sequence that is new")
        })
    }

    fn is_taken((highest, window): (u64, u64), sequence: u64) -> bool {
        advance(highest, window, sequence).is_some()
    }

    #[test]
    fn jump_of_any_length_keeps_what_is_in_the_window_and_forgets_the_rest() {
        const FIRST: u64 = 1_000;
        for jump in 1..=2 * WINDOW {
            let jumped = after(&[FIRST, FIRST + jump]);
            assert!(!is_taken(jumped, FIRST + jump), "{jump}");
            assert!(!is_taken(jumped, FIRST), "a replay, after {jump}");
            for behind in (1..2 * WINDOW).filter(|behind| *behind != jump) {
                let taken = is_taken(jumped, FIRST + jump - behind);
                assert_eq!(taken, behind < WINDOW, "{behind} behind, after {jump}");
            }
        }
    }

    #[test]
    fn each_place_in_the_window_is_remembered_on_its_own() {
        const HIGHEST: u64 = 1_000;
        for behind in 1..WINDOW {
            let seen = after(&[HIGHEST, HIGHEST - behind]);
            for other in 1..WINDOW {
                assert_eq!(
                    is_taken(seen, HIGHEST - other),
                    other != behind,
                    "{other}, {behind}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn takes_each_recent_sequence_exactly_once(
            sequences in prop::collection::vec(1u64..140, 200..400),
        ) {
            let (mut highest, mut window) = (0, 0);
            let mut seen = HashSet::new();
            for sequence in sequences {
                let recent = sequence + WINDOW > highest;
                let taken = advance(highest, window, sequence);
                prop_assert_eq!(taken.is_some(), recent && seen.insert(sequence));
                if let Some(next) = taken {
                    (highest, window) = next;
                }
            }
        }
    }
}
