//! A watch of the guards of all nodes, read each millisecond: no two may be open for one address at
//! a time.
//!
//! A client's answers do not show a guard that stays open too long, since the client's neighbour
//! table follows the successor's announcement at once. The guards themselves do.

use std::{
    collections::HashMap,
    fs, mem,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Result, ensure};
use aya::maps::{Array, Map, MapData};
use heartbeat_common::{
    maps::{Address, GUARD_ROWS, GuardRow},
    time::Boottime,
};

use super::MILLISECOND;
use crate::{
    Cluster,
    sys::{Ticker, boottime, realtime},
};

/// The ticks between two scans for rows that came into use: a reload may add addresses.
const RESCAN: u64 = 64;
/// The number of overlaps that are kept.
const KEPT: usize = 10;

/// The subject of a guard row: an address, or a group without one.
type Subject = (Address, u16);

/// A thread that reads the guards of all nodes until the watch ends.
#[derive(Debug)]
pub struct GuardWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    seen: Mutex<Seen>,
}

/// The observations of the watch.
#[derive(Debug, Default)]
struct Seen {
    /// The samples in which at least one guard was open.
    open: u64,
    /// The overlaps, as sentences.
    overlaps: Vec<String>,
}

impl GuardWatch {
    /// Begins to watch all nodes of `cluster`, including those without an agent yet.
    pub fn begin(cluster: &Cluster) -> Result<Self> {
        let pin = |node: &crate::node::Node| Guards {
            node: node.name.clone(),
            pin: node.pins.path().join("guard"),
            open: None,
        };
        let mut nodes: Vec<Guards> = cluster.nodes().iter().map(pin).collect();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let watch = move || {
            // Without real-time priority the thread reads less often under load, and sees less.
            realtime();
            let mut ticker = Ticker::new(MILLISECOND);
            let mut tick = 0;
            while !theirs.ends.load(Ordering::Relaxed) {
                sample(&mut nodes, tick, &mut lock(&theirs.seen));
                tick += 1;
                ticker.wait();
            }
        };
        let thread = thread::Builder::new().name("guards".to_owned());
        Ok(Self {
            thread: Some(thread.spawn(watch)?),
            shared,
        })
    }

    /// The overlaps since the last call.
    pub fn overlaps(&self) -> Vec<String> {
        mem::take(&mut lock(&self.shared.seen).overlaps)
    }

    /// Ends the watch. Fails if two guards were open at one time, and if none was ever open, which
    /// would prove nothing.
    pub fn end(mut self) -> Result<()> {
        self.stop();
        let seen = mem::take(&mut *lock(&self.shared.seen));
        ensure!(seen.overlaps.is_empty(), "{:#?}", seen.overlaps);
        ensure!(seen.open > 0, "no guard of any node was ever open");
        Ok(())
    }

    fn stop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is a failure of the test.
            thread.join().expect("the guards are read");
        }
    }
}

impl Drop for GuardWatch {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
        self.shared.ends.store(true, Ordering::Relaxed);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guards of one node. An agent that stops in order removes its maps, and the next one makes
/// new ones.
struct Guards {
    node: String,
    pin: PathBuf,
    open: Option<Rows>,
}

struct Rows {
    /// The inode of the pin, which identifies the map.
    inode: u64,
    map: Array<MapData, GuardRow>,
    used: Vec<(u32, Subject)>,
}

impl Guards {
    /// Opens the map again if it is another one, and finds the rows in use.
    fn refresh(&mut self, tick: u64) {
        let inode = fs::metadata(&self.pin).map(|pin| pin.ino()).ok();
        let same = self.open.as_ref().map(|rows| rows.inode) == inode;
        if !same {
            // A pin may be removed between the two calls.
            self.open = inode.and_then(|inode| Rows::open(&self.pin, inode).ok());
        }
        if let Some(rows) = &mut self.open
            && (!same || tick.is_multiple_of(RESCAN))
        {
            rows.scan();
        }
    }
}

impl Rows {
    fn open(pin: &Path, inode: u64) -> Result<Self> {
        let map: Array<MapData, GuardRow> = Map::Array(MapData::from_pin(pin)?).try_into()?;
        let used = Vec::new();
        Ok(Self { inode, map, used })
    }

    fn scan(&mut self) {
        let all = 0..GUARD_ROWS as u32;
        let subject = |index: u32| {
            let row = self.map.get(&index, 0).ok()?;
            let subject = (row.address, row.group);
            (subject != Subject::default()).then_some((index, subject))
        };
        self.used = all.filter_map(subject).collect();
    }

    /// Whether the guard in row `index` is for `subject` and open.
    fn is_open(&self, index: u32, subject: Subject) -> bool {
        let row = self.map.get(&index, 0);
        row.is_ok_and(|row| {
            (row.address, row.group) == subject && Boottime::from_nanos(row.open_until) > boottime()
        })
    }
}

/// Reads all guards once.
fn sample(nodes: &mut [Guards], tick: u64, seen: &mut Seen) {
    let mut open: HashMap<Subject, (usize, u32)> = HashMap::new();
    for at in 0..nodes.len() {
        nodes[at].refresh(tick);
        let Some(rows) = &nodes[at].open else {
            continue;
        };
        for &(index, subject) in &rows.used {
            if !rows.is_open(index, subject) {
                continue;
            }
            let Some(&(first, its)) = open.get(&subject) else {
                open.insert(subject, (at, index));
                continue;
            };
            // The two were read one after the other, so the first must be open before and after.
            let still = |rows: &Rows| rows.is_open(its, subject);
            if nodes[first].open.as_ref().is_some_and(still) && seen.overlaps.len() < KEPT {
                let (one, other) = (&nodes[first].node, &nodes[at].node);
                let now = boottime();
                seen.overlaps.push(format!(
                    "at {now} the guards of {one} and {other} were open for {subject:?}"
                ));
            }
        }
    }
    seen.open += u64::from(!open.is_empty());
}
