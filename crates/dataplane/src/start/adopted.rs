//! The adopted state: the pinned votes and guard of an earlier run of this instance. They bind
//! every later run.

use anyhow::Result;
use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData},
};
use heartbeat_common::{
    maps::{Address, Config, GuardRow, LAYOUT_VERSION, Link, Local, PeerSlot},
    time::Boottime,
    wire::GroupId,
};

use crate::{
    maps::{guard_place::GuardPlace, row_allocator},
    object::{self, programs},
    pins::{Pins, origin},
    setup::{Setup, SetupGuard, SetupLink},
};

/// How the programs of this binary continue those that an earlier run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// There are none.
    Begins,
    /// They are the same, and stay.
    Keeps,
    /// The kernel must verify those of this binary, which replace them. Votes and guard stay.
    Replaces,
    /// The maps have another layout, so nothing stays.
    Discards { layout: u32 },
}

impl Continuation {
    /// Compares the programs at `pins` with those of this binary.
    pub fn of(pins: &Pins) -> Result<Self> {
        if !pins.path("config").try_exists()? {
            return Ok(Self::Begins);
        }
        let config: Config = array::<Config>(pins, "config")?.get(&0, 0)?;
        let object = programs::fingerprint(object::object()?);
        Ok(match (config.layout_version, config.object == object) {
            (LAYOUT_VERSION, true) => Self::Keeps,
            (LAYOUT_VERSION, false) => Self::Replaces,
            (layout, _) => Self::Discards { layout },
        })
    }
}

/// The rows of the guard that an earlier run left at `pins`. None if there is no guard, or if this
/// release does not understand it.
pub fn guarded(pins: &Pins) -> Vec<GuardRow> {
    rows(pins)
        .map(|rows| rows.into_iter().map(|(_, row)| row).collect())
        .unwrap_or_default()
}

/// The maps that outlive their programs.
pub(crate) const KEPT: [&str; 3] = ["leases", "guard", "vips"];
/// The maps that are kept with their programs.
pub(crate) const BOUND: [&str; 13] = [
    "config",
    "keys",
    "local",
    "links",
    "allow",
    "senders",
    "peers",
    "watch",
    "counters",
    "arrivals",
    "events",
    "votes",
    "last_report",
];

/// The map of the kernel's log, kept with the programs, by its name in the object and its pin.
pub(crate) const LOGS: (&str, &str) = ("AYA_LOGS", "aya_logs");

/// An earlier run's state that this run can continue.
#[derive(Debug)]
pub(crate) struct AdoptedState {
    /// The end of the acceptor's abstention.
    pub(crate) votes_from: u64,
    /// The agent's last announcement.
    pub(crate) local: Local,
    /// Whether the programs can stay: they are of the same object, and have room for these peers
    /// and links.
    pub(crate) programs: bool,
    /// The guard's rows in use, each with its place.
    pub(crate) guards: Vec<(GuardPlace, GuardRow)>,
    /// The rows of groups.
    pub(crate) groups: Vec<GuardRow>,
}

impl AdoptedState {
    /// Reads the state. `None` if there is none, or none that this run can continue.
    pub(crate) fn read(pins: &Pins, setup: &Setup, object: u64) -> Option<Self> {
        if !pins.path("config").exists() {
            return None;
        }
        match Self::try_read(pins, setup, object) {
            Ok(state) => Some(state),
            Err(error) => {
                log::warn!(
                    "the pinned state at {} cannot be taken over: {error:#}; the acceptor begins \
                    anew",
                    pins.dir().display()
                );
                None
            }
        }
    }

    fn try_read(pins: &Pins, setup: &Setup, object: u64) -> Result<Self> {
        let config: Config = array::<Config>(pins, "config")?.get(&0, 0)?;
        anyhow::ensure!(
            config.layout_version == LAYOUT_VERSION,
            "it has map layout {}, this release has {LAYOUT_VERSION}",
            config.layout_version
        );
        anyhow::ensure!(
            (config.cluster, config.node) == (setup.cluster.0, setup.node.0),
            "it is of node {} in cluster {:#010x}",
            config.node,
            config.cluster
        );
        for name in KEPT {
            pins.map(name)?;
        }
        let guard = array::<GuardRow>(pins, "guard")?;
        let groups = GuardPlace::of_groups().map(|place| guard.get(&place.0, 0));
        Ok(Self {
            votes_from: config.votes_from,
            local: array::<Local>(pins, "local")?.get(&0, 0)?,
            // Unreadable programs are no reason to discard the state: they are loaded again.
            programs: config.object == object
                && config.namespace == origin::cookie()?
                && is_same(pins, setup).unwrap_or(false),
            guards: rows(pins)?,
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    /// The time until which `guard` may still be served on the interface with this index, if in the
    /// future. An address that was served on another interface, or for another group, has no such
    /// time: its lease was for that.
    pub(crate) fn open_until(
        &self,
        guard: &SetupGuard,
        ifindex: u32,
        now: Boottime,
    ) -> Option<Boottime> {
        let wanted = (Address::from(guard.address.address), ifindex, guard.group.0);
        let same = |row: &GuardRow| (row.address, row.ifindex, row.group) == wanted;
        let (_, row) = self.guards.iter().find(|(_, row)| same(row))?;
        Some(Boottime::from_nanos(row.open_until)).filter(|until| *until > now)
    }

    /// The time until which `group` may still be served by the lease that was granted for it, if in
    /// the future.
    pub(crate) fn served_until(&self, group: GroupId, now: Boottime) -> Option<Boottime> {
        let row = self.groups.iter().find(|row| row.group == group.0)?;
        Some(Boottime::from_nanos(row.open_until)).filter(|until| *until > now)
    }
}

/// Whether all programs and their maps are present, and the maps have places for these peers and
/// the same links.
fn is_same(pins: &Pins, setup: &Setup) -> Result<bool> {
    let programs = programs::NAMES.map(programs::pin);
    let pinned = programs
        .iter()
        .map(String::as_str)
        .chain(BOUND)
        .chain([LOGS.1]);
    if !pinned.into_iter().all(|name| pins.path(name).exists()) {
        return Ok(false);
    }
    let rows = pins.map("peers")?.info()?.max_entries();
    let allow: HashMap<_, Address, PeerSlot> = hash(pins, "allow")?;
    let room =
        row_allocator::assign(setup, &row_allocator::read(&allow)?, rows as usize)?.is_some();
    let links: HashMap<_, Address, Link> = hash(pins, "links")?;
    let link = |link: &SetupLink| links.get(&link.address.into(), 0).is_ok();
    Ok(room && links.keys().count() == setup.links.len() && setup.links.iter().all(link))
}

fn hash<K: Pod, V: Pod>(pins: &Pins, name: &str) -> Result<HashMap<MapData, K, V>> {
    Ok(Map::HashMap(pins.map(name)?).try_into()?)
}

/// The rows in use, each with its place.
fn rows(pins: &Pins) -> Result<Vec<(GuardPlace, GuardRow)>> {
    let guard = array::<GuardRow>(pins, "guard")?;
    let vips: HashMap<_, Address, u32> = hash(pins, "vips")?;
    let row = |entry: Result<(Address, u32), _>| {
        let (_, place) = entry?;
        Ok((GuardPlace(place), guard.get(&place, 0)?))
    };
    vips.iter().map(row).collect()
}

fn array<V: Pod>(pins: &Pins, name: &str) -> Result<Array<MapData, V>> {
    Ok(Map::Array(pins.map(name)?).try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A map that is missing in the list would be made anew, and programs that are kept would still
    /// use the old one.
    #[test]
    fn every_map_of_programs_that_are_kept_is_kept() {
        // The maps of the program that is loaded at every start.
        const RENEWED: [&str; 2] = ["processes", "exits"];
        let object = aya_obj::Object::parse(object::object().unwrap()).unwrap();
        let names = object.maps.keys().map(|name| name.to_lowercase());
        let mut there: BTreeSet<String> = names.filter(|name| !name.starts_with('.')).collect();
        for name in KEPT.into_iter().chain(BOUND).chain(RENEWED).chain([LOGS.1]) {
            assert!(there.remove(name), "the object has no map `{name}`");
        }
        assert_eq!(there, BTreeSet::new());
    }
}
