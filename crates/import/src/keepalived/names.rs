//! Names that are taken once.

use std::collections::HashSet;

use crate::values::usable_name;

/// The names that are taken.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// `text` as a name of ours, with a number behind it if it is taken.
    pub(super) fn free(&mut self, text: &str) -> String {
        let name = usable_name(text);
        let mut free = name.clone();
        for number in 2_usize.. {
            if self.0.insert(free.clone()) {
                break;
            }
            let end = format!("-{number}");
            // As long as a name may be.
            let kept: String = name.chars().take(64 - end.len()).collect();
            free = kept + &end;
        }
        free
    }
}
