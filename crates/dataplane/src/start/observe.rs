//! What stands where the programs are to go. Nothing changes by looking.
//!
//! What is another's can have gone when its turn comes: the kernel detaches what was unpinned a
//! moment later. So whoever executes the plan looks once more before a start is refused for it.

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
    /// It is to be made.
    Missing,
    /// It is there, and nobody else's for as long as the claim lives that the look took.
    Claimed,
    /// Why what is there cannot be used. Nothing in it was looked at.
    Refused(String),
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) now: Boottime,
    pub(crate) directory: Directory,
    /// The index of each link's interface, and of each guarded address's; `None` where it is
    /// missing.
    pub(crate) links: Vec<Option<u32>>,
    pub(crate) guarded: Vec<Option<u32>>,
    /// The state of an earlier run; `None` if there is none to go on with.
    pub(crate) state: Option<AdoptedState>,
    /// When the last lease ends that the pinned acceptor has granted.
    pub(crate) longest_grant: Boottime,
    /// The guard's rows that are in use, also where there is nothing else to go on with.
    pub(crate) stale: Vec<GuardRow>,
    /// All pins by their names, each link's with the interface that it is on. An interface that has
    /// gone is 0; a link that does not tell has none.
    pub(crate) pins: BTreeMap<String, Option<u32>>,
    /// By the name of an interface: another's XDP program on it.
    pub(crate) programs: BTreeMap<String, ExistingProgram>,
    /// By the name of an interface: others' TC filters in the places of ours.
    pub(crate) filters: BTreeMap<String, Vec<EgressFilter>>,
    /// Whether the kernel has links for TC programs.
    pub(crate) tc_links: bool,
    /// The namespaces that the guard at the sockets sees, or why there can be none.
    pub(crate) sockets: Result<Scope, String>,
}

impl Observation {
    /// Looks at what is there for `setup`, whose interfaces are those of `links` and `guarded`.
    /// `object` is the fingerprint of this binary's programs. Returns the claim to the directory
    /// beside what was found, if that is there.
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
        seen.look_for_others(setup, pins)?;
        // What is compared with it was read before.
        seen.now = clock::now();
        Ok((seen, claim))
    }

    /// Looks for what others have where the programs are to go.
    fn look_for_others(&mut self, setup: &Setup, pins: &Pins) -> Result<()> {
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
                // Where they cannot be listed, as of an interface that has just gone, whoever
                // attaches is told why.
                let others = filter::foreign(&mut netlink, index, pins.dir()).unwrap_or_default();
                self.filters.insert(name.clone(), others);
            }
        }
        Ok(())
    }
}

/// Claims the directory if it is there and what is in it can be found from here.
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
