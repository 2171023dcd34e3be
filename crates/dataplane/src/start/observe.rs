//! What stands where the programs are to go. Nothing changes by looking.
//!
//! Two things are not looked at here. Another's XDP program or TC filter in the way is judged at
//! the moment of attaching: the kernel detaches what was unpinned a moment later, so a look before
//! would refuse a start that succeeds.

use std::collections::BTreeMap;

use anyhow::Result;
use heartbeat_common::{maps::GuardRow, time::Boottime};
use heartbeat_sys::host::clock;

use super::adopted::{self, AdoptedState};
use crate::{
    attach::{links, sockets::Scope},
    maps::acceptor::longest_grant,
    object::kernel::has_tc_links,
    pins::Pins,
    setup::Setup,
};

/// What was found.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) now: Boottime,
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
    /// Whether the kernel has links for TC programs.
    pub(crate) tc_links: bool,
    /// The namespaces that the guard at the sockets sees, or why there can be none.
    pub(crate) sockets: Result<Scope, String>,
}

impl Observation {
    /// Looks at what is there for `setup`, whose interfaces are those of `links` and `guarded`.
    /// `object` is the fingerprint of this binary's programs.
    pub(crate) fn of(
        setup: &Setup,
        pins: &Pins,
        object: u64,
        (links, guarded): (Vec<Option<u32>>, Vec<Option<u32>>),
    ) -> Result<Self> {
        Ok(Self {
            links,
            guarded,
            state: AdoptedState::read(pins, setup, object),
            longest_grant: longest_grant(pins).unwrap_or_default(),
            stale: adopted::guarded(pins),
            pins: pinned(pins)?,
            tc_links: has_tc_links(),
            sockets: Scope::find().map_err(|error| format!("{error:#}")),
            now: clock::now(),
        })
    }
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
