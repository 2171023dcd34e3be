//! What operators decided for the whole cluster: maintenance, and what is to be stopped.
//!
//! Every node keeps all decisions, on disk, and passes them on in its reports, so that they hold
//! whichever node they were made on and whichever nodes were away. Of two about the same thing the later
//! one counts, by the clocks of the nodes that they were made on.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{clock, durable};

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Whether all groups are left alone.
    Maintenance,
    /// Whether this group is.
    GroupMaintenance(String),
    /// Whether this group is to run nowhere.
    GroupStopped(String),
    /// Whether this resource, and what follows it in its group, is.
    ResourceStopped(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decision {
    /// When, in nanoseconds since 1970, or a little later: beyond what it changed.
    at: u64,
    /// Id of the node that it was made on.
    by: u16,
    value: bool,
}

/// In a file, and in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decisions(Vec<(Subject, Decision)>);

/// All that were made, and where they are kept.
#[derive(Debug)]
pub struct Book {
    file: PathBuf,
    decisions: BTreeMap<Subject, Decision>,
}

impl Book {
    /// Reads what was decided before this agent began.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let file = state_dir.join("decisions.json");
        let decisions = match fs::read(&file) {
            Ok(text) => {
                let kept: Decisions = serde_json::from_slice(&text).with_context(|| {
                    format!(
                        "{} is damaged: remove it, and decide anew what it held (maintenance, stopped \
                         resources)",
                        file.display()
                    )
                })?;
                kept.0.into_iter().collect()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("could not read {}", file.display()));
            }
        };
        Ok(Self { file, decisions })
    }

    pub fn get(&self, subject: &Subject) -> Option<bool> {
        self.decisions.get(subject).map(|decision| decision.value)
    }

    /// Decides, on the node with the id `by`.
    pub fn decide(&mut self, subject: Subject, value: bool, by: u16) -> Result<()> {
        let before = self.decisions.get(&subject).map_or(0, |before| before.at);
        let at = clock::wall().max(before + 1);
        let old = self.decisions.clone();
        self.decisions.insert(subject, Decision { at, by, value });
        // What is not on disk was not decided.
        self.save().inspect_err(|_| self.decisions = old)
    }

    /// Takes over what was decided elsewhere and later. Whether there was anything.
    pub fn merge(&mut self, others: &Decisions) -> bool {
        let mut changed = false;
        for (subject, decision) in &others.0 {
            let ours = self.decisions.get(subject);
            if ours.is_none_or(|ours| ours < decision) {
                self.decisions.insert(subject.clone(), *decision);
                changed = true;
            }
        }
        if changed && let Err(error) = self.save() {
            log::error!("what was decided on another node holds until this agent ends: {error:#}");
        }
        changed
    }

    pub fn all(&self) -> Decisions {
        let decisions = self.decisions.iter();
        Decisions(
            decisions
                .map(|(subject, decision)| (subject.clone(), *decision))
                .collect(),
        )
    }

    fn save(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.all())?;
        durable::replace(&self.file, &text)
            .with_context(|| format!("could not write {}", self.file.display()))
    }
}

impl Decisions {
    /// Whether nothing in `others` is missing here, or older.
    pub fn include(&self, others: &Self) -> bool {
        let ours: BTreeMap<_, _> = self.0.iter().map(|(subject, at)| (subject, at)).collect();
        others
            .0
            .iter()
            .all(|(subject, theirs)| ours.get(subject).is_some_and(|ours| *ours >= theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("heartbeat-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn web() -> Subject {
        Subject::GroupStopped("web".to_owned())
    }

    #[test]
    fn what_was_decided_is_known_after_a_restart() {
        let dir = Dir::new("decisions-kept");
        let mut book = Book::open(&dir.0).unwrap();
        assert_eq!(book.get(&web()), None);
        book.decide(web(), true, 1).unwrap();
        book.decide(Subject::Maintenance, false, 1).unwrap();
        let again = Book::open(&dir.0).unwrap();
        assert_eq!(again.get(&web()), Some(true));
        assert_eq!(again.get(&Subject::Maintenance), Some(false));
        assert_eq!(again.all(), book.all());
    }

    #[test]
    fn the_later_decision_counts_on_all_nodes() {
        let (one, two) = (Dir::new("decisions-one"), Dir::new("decisions-two"));
        let mut a = Book::open(&one.0).unwrap();
        let mut b = Book::open(&two.0).unwrap();
        a.decide(web(), true, 1).unwrap();
        assert!(b.merge(&a.all()));
        assert!(!b.merge(&a.all()), "nothing new");
        // Even if the clock of this node is behind.
        b.decide(web(), false, 2).unwrap();
        assert!(!b.merge(&a.all()));
        assert!(!a.all().include(&b.all()));
        assert!(a.merge(&b.all()));
        assert!(a.all().include(&b.all()));
        assert_eq!(a.get(&web()), Some(false));
    }

    #[test]
    fn a_decision_that_cannot_be_kept_is_none() {
        let dir = Dir::new("decisions-lost");
        let mut book = Book::open(&dir.0.join("missing")).unwrap();
        let error = book.decide(web(), true, 1).unwrap_err();
        assert!(
            format!("{error:#}").contains("could not write"),
            "{error:#}"
        );
        assert_eq!(book.get(&web()), None);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = Dir::new("decisions-damaged");
        fs::write(dir.0.join("decisions.json"), "[[").unwrap();
        let error = format!("{:#}", Book::open(&dir.0).unwrap_err());
        assert!(
            error.contains("decisions.json is damaged: remove it"),
            "{error}"
        );
    }
}
