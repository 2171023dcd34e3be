//! Values that a file must not have twice.

use std::{collections::HashMap, hash::Hash};

use super::read::Section;

/// The first use of each value, to tell a second one where it was.
pub(super) struct Uses<K> {
    seen: HashMap<K, (String, usize)>,
}

impl<K: Hash + Eq> Uses<K> {
    pub(super) fn new() -> Self {
        Self {
            seen: HashMap::new(),
        }
    }

    /// Remembers `key`. `false` for a second use, which is reported; `what` names it in the
    /// message.
    pub(super) fn once(
        &mut self,
        key: K,
        what: &str,
        section: &Section<'_>,
        at: usize,
        remedy: &str,
    ) -> bool {
        if let Some((by, line)) = self.seen.get(&key) {
            let message = format!("{what} is already used by {by} (line {line})");
            section.problem(at, message, remedy);
            false
        } else {
            self.seen
                .insert(key, (section.label().to_owned(), section.line(at)));
            true
        }
    }
}
