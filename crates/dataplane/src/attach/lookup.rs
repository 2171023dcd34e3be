//! The index of an interface by its name.

use anyhow::{Result, bail};

/// Returns the index of an interface. A missing interface is an error before anything is attached.
pub(crate) fn check_interface(name: &str) -> Result<u32> {
    match nix::net::if_::if_nametoindex(name) {
        Ok(index) => Ok(index),
        Err(nix::Error::ENODEV) => bail!(
            "no interface is called {name}; see `ip link` for those that there are, and set \
            `interface` in [[link]] or `interfaces` in [[node]]"
        ),
        Err(error) => bail!("could not look up interface {name}: {error}"),
    }
}
