//! Discovery: the indices of the configured interfaces at the start.

use anyhow::Result;

use crate::{attach::lookup::check_interface, setup::Setup};

/// The index of each link's interface. The agent waits for missing ones, unless all are missing.
pub(crate) fn links(setup: &Setup) -> Result<Vec<Option<u32>>> {
    let links = setup.links.iter();
    let found: Vec<Result<u32>> = links.map(|link| check_interface(&link.interface)).collect();
    if found.iter().all(Result::is_err) {
        return found.into_iter().map(|found| found.map(Some)).collect();
    }
    let found = found.into_iter().zip(&setup.links);
    Ok(found
        .map(|(found, link)| {
            found
                .inspect_err(|error| {
                    log::error!(
                        "link {} is OUT OF USE: {error:#}; going on with the others until it \
                        appears",
                        link.id.0
                    );
                })
                .ok()
        })
        .collect())
}

/// The index of each guarded address's interface. The agent waits for missing ones.
pub(crate) fn guarded(setup: &Setup) -> Vec<Option<u32>> {
    let mut missing = Vec::new();
    let guards = setup.guards.iter();
    guards
        .map(|guard| match check_interface(&guard.interface) {
            Ok(index) => Some(index),
            Err(error) => {
                if !missing.contains(&&guard.interface) && !setup.is_link(&guard.interface) {
                    log::error!(
                        "interface {} not found: VIPs on it cannot be served until it appears: \
                         {error:#}",
                        guard.interface
                    );
                    missing.push(&guard.interface);
                }
                None
            }
        })
        .collect()
}
