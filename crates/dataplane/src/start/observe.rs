//! The present state of the places for the programs. The observation changes nothing.
//!
//! A program of another owner can be gone when its turn comes: the kernel detaches an unpinned link
//! a moment later. So the execution checks once more before it refuses a start.

use std::collections::BTreeMap;

use anyhow::Result;
use heartbeat_common::{maps::GuardRow, time::Boottime};
use heartbeat_sys::{
    host::clock,
    net::{EgressFilter, Netlink},
};

use super::adopted::{self, AdoptedState};
use crate::{
    attach::{existing_program::ExistingProgram, filter, links, sockets::Scope},
    maps::acceptor::longest_grant,
    object::kernel::has_tc_links,
    pins::{Pins, directory::Claim, origin::must_be_here},
    setup::Setup,
};

/// The pin directory of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// The directory does not exist.
    Missing,
    /// The directory exists, and no other agent may use it as long as the claim of this observation
    /// lives.
    Claimed,
    /// The directory cannot be used for this reason. Nothing in it was read.
    Refused(String),
}

/// The observed state.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) now: Boottime,
    pub(crate) directory: Directory,
    /// The index of each link's interface, then of each guarded address's; `None` where it is
    /// missing.
    pub(crate) links: Vec<Option<u32>>,
    pub(crate) guarded: Vec<Option<u32>>,
    /// The state of an earlier run; `None` if this run cannot continue any.
    pub(crate) state: Option<AdoptedState>,
    /// The end of the last lease that the pinned acceptor has granted.
    pub(crate) longest_grant: Boottime,
    /// The guard's rows in use, even if nothing else of the earlier run can be continued.
    pub(crate) stale: Vec<GuardRow>,
    /// All pins by name, each link's with the index of its interface. A link whose interface is
    /// gone has 0; a link without information has none.
    pub(crate) pins: BTreeMap<String, Option<u32>>,
    /// By the name of an interface: another owner's XDP program on it.
    pub(crate) programs: BTreeMap<String, ExistingProgram>,
    /// By the name of an interface: other owners' TC filters in the places of ours.
    pub(crate) filters: BTreeMap<String, Vec<EgressFilter>>,
    /// Whether the kernel has links for TC programs.
    pub(crate) tc_links: bool,
    /// The namespaces of the guard at the sockets, or the reason why there can be none.
    pub(crate) sockets: Result<Scope, String>,
}

impl Observation {
    /// Reads the present state for `setup`, with the interfaces of `links` and `guarded`. `object`
    /// is the fingerprint of this binary's programs. Returns the observation and the claim to the
    /// directory, if the directory exists.
    pub(crate) fn of(
        setup: &Setup,
        pins: &Pins,
        object: u64,
        (links, guarded): (Vec<Option<u32>>, Vec<Option<u32>>),
    ) -> Result<(Self, Option<Claim>)> {
        let mut seen = Self {
            now: clock::now(),
            directory: Directory::Missing,
            links,
            guarded,
            state: None,
            longest_grant: Boottime::default(),
            stale: Vec::new(),
            pins: BTreeMap::new(),
            programs: BTreeMap::new(),
            filters: BTreeMap::new(),
            tc_links: has_tc_links(),
            sockets: Scope::find().map_err(|error| format!("{error:#}")),
        };
        let claim = match read_claim(pins) {
            Ok(claim) => claim,
            Err(error) => {
                seen.directory = Directory::Refused(format!("{error:#}"));
                return Ok((seen, None));
            }
        };
        if claim.is_some() {
            seen.directory = Directory::Claimed;
            seen.state = AdoptedState::read(pins, setup, object);
            seen.longest_grant = longest_grant(pins).unwrap_or_default();
            seen.stale = adopted::guarded(pins);
            seen.pins = pinned(pins)?;
        }
        seen.read_foreign(setup, pins)?;
        // The clock is read after all values that are compared with it.
        seen.now = clock::now();
        Ok((seen, claim))
    }

    /// Reads the programs and filters of other owners in the places of ours.
    fn read_foreign(&mut self, setup: &Setup, pins: &Pins) -> Result<()> {
        let mut netlink = Netlink::open()?;
        let links = setup.links.iter().map(|link| &link.interface);
        let guards = setup.guards.iter().map(|guard| &guard.interface);
        let named = links
            .zip(&self.links)
            .chain(guards.zip(&self.guarded))
            .filter_map(|(name, index)| Some((name, (*index)?)));
        for (name, index) in named.collect::<BTreeMap<_, _>>() {
            if let Some(program) = ExistingProgram::foreign(&mut netlink, name, index, pins)? {
                self.programs.insert(name.clone(), program);
            }
            if !self.tc_links {
                // If the filters cannot be listed, as on an interface that has just gone, the
                // attachment reports the reason.
                let others = filter::foreign(&mut netlink, index, pins.dir()).unwrap_or_default();
                self.filters.insert(name.clone(), others);
            }
        }
        Ok(())
    }
}

/// Claims the directory if it exists and its content belongs to this network namespace.
fn read_claim(pins: &Pins) -> Result<Option<Claim>> {
    let claim = pins.read_claim()?;
    if claim.is_some() {
        must_be_here(pins, "start it")?;
    }
    Ok(claim)
}

fn pinned(pins: &Pins) -> Result<BTreeMap<String, Option<u32>>> {
    let names = pins.names()?.into_iter();
    Ok(names
        .map(|name| {
            let is_link = name.starts_with("link_");
            let on = is_link.then(|| links::interface_of_pin(&pins.path(&name)).ok());
            (name, on.flatten())
        })
        .collect())
}
