//! Unique names.

use std::collections::HashSet;

use crate::values::usable_name;

/// The used names.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// `text` as a name of ours, with a number appended if it is used already.
    pub(super) fn free(&mut self, text: &str) -> String {
        let name = usable_name(text);
        let mut free = name.clone();
        for number in 2_usize.. {
            if self.0.insert(free.clone()) {
                break;
            }
            let end = format!("-{number}");
            // The prefix that keeps the name within the longest name.
            let kept: String = name.chars().take(64 - end.len()).collect();
            free = kept + &end;
        }
        free
    }
}
