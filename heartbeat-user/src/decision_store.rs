//! The operators' decisions for the whole cluster: maintenance mode, and stopped groups and
//! resources.
//!
//! Every node keeps all decisions on disk and includes them in its reports. They therefore hold for
//! every node, including nodes that were absent. Of two decisions about the same subject the later
//! one counts, by the clocks of the nodes on which they were made.
//!
//! No thread waits for the disk while it holds a lock: the thread of a [`Writer`] writes the
//! decisions.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
pub use heartbeat_control::decisions::{Decision, Decisions, Subject};
use heartbeat_sys::files::atomic_file::{self, Writer, Written};

use crate::clock;

/// All decisions, and their file.
///
/// The decisions in force are in memory. A decision of this node comes in force once it is on disk,
/// and a decision of another node at once.
#[derive(Debug)]
pub struct DecisionStore {
    ledger: Arc<Mutex<Ledger>>,
    writer: Writer,
    decisions: BTreeMap<Subject, Decision>,
    /// The time of the last decision that this node proposed about each subject.
    proposed: BTreeMap<Subject, u64>,
    lost: bool,
}

/// A decision that comes in force once it is `written`.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) subject: Subject,
    pub(crate) decision: Decision,
    pub(crate) written: Written<Result<()>>,
}

/// The file, as the writer thread sees it. Only that thread locks this while the agent runs.
#[derive(Debug)]
struct Ledger {
    file: PathBuf,
    kept: BTreeMap<Subject, Decision>,
    /// The decisions in force that are not on disk yet.
    owed: BTreeMap<Subject, Decision>,
}

impl Ledger {
    /// Writes all decisions together with `new`. A failure leaves the file unchanged.
    fn keep(&mut self, new: &[(Subject, Decision)]) -> Result<()> {
        let mut all = self.kept.clone();
        let owed = self.owed.iter().map(|(subject, at)| (subject.clone(), *at));
        for (subject, decision) in owed.chain(new.iter().cloned()) {
            take_later(&mut all, subject, decision);
        }
        let text = serde_json::to_vec(&Decisions::of(&all))?;
        atomic_file::replace(&self.file, &text)
            .with_context(|| format!("could not write {}", self.file.display()))?;
        self.kept = all;
        self.owed.clear();
        Ok(())
    }
}

/// Adds `decision` if it is later than the present one. Returns whether it is.
fn take_later(all: &mut BTreeMap<Subject, Decision>, subject: Subject, decision: Decision) -> bool {
    let later = all.get(&subject).is_none_or(|ours| *ours < decision);
    if later {
        all.insert(subject, decision);
    }
    later
}

fn read(file: &Path) -> Result<BTreeMap<Subject, Decision>> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", file.display()));
        }
    };
    let kept: Decisions =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let sane = kept
        .0
        .into_iter()
        .filter(|(_, decision)| decision.is_sane());
    Ok(sane.collect())
}

fn put_aside(file: &Path) {
    let damaged = file.with_extension("damaged");
    match fs::rename(file, &damaged) {
        Ok(()) => log::error!("{} is now {}", file.display(), damaged.display()),
        Err(error) => log::error!("could not rename {}: {error}", file.display()),
    }
}

impl DecisionStore {
    /// Reads the decisions from before this agent's start. An unreadable file does not prevent the
    /// start: the store begins empty, and [`DecisionStore::is_lost`].
    pub(crate) fn open(state_dir: &Path, writer: Writer) -> Self {
        let file = state_dir.join("decisions.json");
        let read = read(&file);
        let lost = read.is_err();
        let decisions = read.unwrap_or_else(|error| {
            log::error!(
                "{error:#}: the operators' decisions are lost on this node (maintenance mode, \
                 stopped resources), so it is on standby. Check the state on another node, then \
                 run `heartbeat online` here"
            );
            BTreeMap::new()
        });
        let ledger = Ledger {
            file,
            kept: decisions.clone(),
            owed: BTreeMap::new(),
        };
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
            writer,
            decisions,
            proposed: BTreeMap::new(),
            lost,
        }
    }

    /// Returns whether the decisions from before this agent's start are lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Renames an unreadable file, so that an operator can inspect it. The node is on standby by
    /// then, also after a restart.
    pub(crate) fn put_aside(&self) {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        put_aside(&ledger.file);
    }

    pub fn get(&self, subject: &Subject) -> Option<bool> {
        self.decision(subject).map(|decision| decision.value)
    }

    pub(crate) fn decision(&self, subject: &Subject) -> Option<Decision> {
        self.decisions.get(subject).copied()
    }

    /// Starts writing a decision of the node with the id `by`. The decision is not in force before
    /// [`DecisionStore::settle`].
    pub(crate) fn propose(&mut self, subject: Subject, value: bool, by: u16) -> Proposal {
        let decided = self.decisions.get(&subject).map_or(0, |before| before.at);
        let proposed = self.proposed.get(&subject).copied().unwrap_or_default();
        let at = clock::wall().max(decided.max(proposed) + 1);
        self.proposed.insert(subject.clone(), at);
        let decision = Decision { at, by, value };
        let new = [(subject.clone(), decision)];
        let written = self.write(move |ledger| ledger.keep(&new));
        Proposal {
            subject,
            decision,
            written,
        }
    }

    /// Puts a proposed decision that is on disk in force, unless there is a later one.
    pub(crate) fn settle(&mut self, subject: Subject, decision: Decision) {
        take_later(&mut self.decisions, subject, decision);
    }

    /// Adopts later decisions of other nodes. Returns whether there were any.
    pub(crate) fn merge(&mut self, others: &Decisions) -> bool {
        let mut new = Vec::new();
        for (subject, decision) in others.0.iter().filter(|(_, decision)| decision.is_sane()) {
            if take_later(&mut self.decisions, subject.clone(), *decision) {
                new.push((subject.clone(), *decision));
            }
        }
        let changed = !new.is_empty();
        if changed {
            drop(self.write(move |ledger| {
                ledger.owed.extend(new);
                ledger.keep(&[]).inspect_err(|error| {
                    log::error!(
                        "what was decided on another node holds until this agent ends: {error:#}"
                    );
                })
            }));
        }
        changed
    }

    pub fn all(&self) -> Decisions {
        Decisions::of(&self.decisions)
    }

    fn write(
        &self,
        job: impl FnOnce(&mut Ledger) -> Result<()> + Send + 'static,
    ) -> Written<Result<()>> {
        let ledger = Arc::clone(&self.ledger);
        self.writer
            .run(move || job(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_control::decisions::LATEST;

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

    fn open(dir: &Path) -> DecisionStore {
        DecisionStore::open(dir, Writer::start().unwrap())
    }

    fn decide(store: &mut DecisionStore, subject: Subject, value: bool, by: u16) -> Result<()> {
        let Proposal {
            subject,
            decision,
            written,
        } = store.propose(subject, value, by);
        written.wait()?;
        store.settle(subject, decision);
        Ok(())
    }

    /// Waits until all earlier jobs of the writer are done.
    fn sync(store: &DecisionStore) {
        store.write(|_| Ok(())).wait().unwrap();
    }

    #[test]
    fn decisions_are_kept_over_a_restart() {
        let dir = Dir::new("decisions-kept");
        let mut store = open(&dir.0);
        assert_eq!(store.get(&web()), None);
        decide(&mut store, web(), true, 1).unwrap();
        decide(&mut store, Subject::Maintenance, false, 1).unwrap();
        let again = open(&dir.0);
        assert_eq!(again.get(&web()), Some(true));
        assert_eq!(again.get(&Subject::Maintenance), Some(false));
        assert_eq!(again.all(), store.all());
    }

    #[test]
    fn later_decision_counts_on_all_nodes() {
        let (one, two) = (Dir::new("decisions-one"), Dir::new("decisions-two"));
        let mut a = open(&one.0);
        let mut b = open(&two.0);
        decide(&mut a, web(), true, 1).unwrap();
        assert!(b.merge(&a.all()));
        assert!(!b.merge(&a.all()), "nothing new");
        // The later decision wins even if this node's clock is behind.
        decide(&mut b, web(), false, 2).unwrap();
        assert!(!b.merge(&a.all()));
        assert!(!a.all().include(&b.all()));
        assert!(a.merge(&b.all()));
        assert!(a.all().include(&b.all()));
        assert_eq!(a.get(&web()), Some(false));
        sync(&a);
        assert_eq!(open(&one.0).all(), b.all());
    }

    #[test]
    fn decision_that_cannot_be_written_is_not_in_force() {
        let dir = Dir::new("decisions-lost");
        let mut store = open(&dir.0.join("missing"));
        let error = decide(&mut store, web(), true, 1).unwrap_err();
        assert!(
            format!("{error:#}").contains("could not write"),
            "{error:#}"
        );
        assert_eq!(store.get(&web()), None);
    }

    #[test]
    fn decision_is_in_force_only_once_on_disk_and_no_thread_waits_with_a_lock() {
        let dir = Dir::new("decisions-slow");
        let mut store = open(&dir.0);
        // A disk that hangs until `go_on` is sent.
        let (go_on, hangs) = std::sync::mpsc::channel::<()>();
        drop(store.writer.run(move || hangs.recv()));
        let first = store.propose(web(), true, 1);
        let second = store.propose(web(), false, 1);
        assert_eq!(store.get(&web()), None);
        // Meanwhile decisions of other nodes are in force, and are passed on.
        let mut other = open(&Dir::new("decisions-other").0);
        other.settle(
            Subject::Maintenance,
            Decision {
                at: 5,
                by: 2,
                value: true,
            },
        );
        assert!(store.merge(&other.all()));
        assert_eq!(store.get(&Subject::Maintenance), Some(true));
        go_on.send(()).unwrap();
        // The order in which the results arrive does not matter.
        second.written.wait().unwrap();
        store.settle(second.subject, second.decision);
        first.written.wait().unwrap();
        store.settle(first.subject, first.decision);
        assert_eq!(store.get(&web()), Some(false));
        sync(&store);
        assert_eq!(open(&dir.0).all(), store.all());
    }

    #[test]
    fn unwritten_decision_is_written_with_the_next() {
        let dir = Dir::new("decisions-owed");
        let state = dir.0.join("state");
        let mut store = open(&state);
        let maintenance = Decision {
            at: 5,
            by: 2,
            value: true,
        };
        assert!(store.merge(&Decisions(vec![(Subject::Maintenance, maintenance)])));
        sync(&store);
        fs::create_dir(&state).unwrap();
        decide(&mut store, web(), true, 1).unwrap();
        assert_eq!(open(&state).all(), store.all());
    }

    #[test]
    fn time_that_no_clock_has_is_refused_from_peers_and_from_the_file() {
        let dir = Dir::new("decisions-insane");
        let mut store = open(&dir.0);
        for at in [u64::MAX, LATEST] {
            let decision = Decision {
                at,
                by: 2,
                value: true,
            };
            assert!(!store.merge(&Decisions(vec![(web(), decision)])));
            let text = serde_json::to_vec(&Decisions(vec![(web(), decision)])).unwrap();
            fs::write(dir.0.join("decisions.json"), text).unwrap();
            assert_eq!(open(&dir.0).get(&web()), None);
        }
        decide(&mut store, web(), true, 1).unwrap();
    }

    #[test]
    fn damaged_file_is_renamed_and_the_store_reports_the_loss() {
        let dir = Dir::new("decisions-damaged");
        let file = dir.0.join("decisions.json");
        assert!(!open(&dir.0).is_lost(), "there was none");
        for damage in ["[[", "", "{}", "\u{0}\u{0}"] {
            fs::write(&file, damage).unwrap();
            let mut store = open(&dir.0);
            assert!(store.is_lost(), "{damage:?}");
            store.put_aside();
            assert_eq!(
                fs::read_to_string(file.with_extension("damaged")).unwrap(),
                damage
            );
            decide(&mut store, web(), true, 1).unwrap();
            assert!(!open(&dir.0).is_lost());
        }
    }
}
