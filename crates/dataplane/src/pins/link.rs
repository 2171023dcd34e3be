//! Pins of links, one at a time.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::programs::links::FdLink;

pub(crate) fn unpin(pin: &Path) -> Result<()> {
    std::fs::remove_file(pin).with_context(|| format!("could not unpin {}", pin.display()))
}

pub(crate) fn pin_link(link: FdLink, pin: &Path) -> Result<()> {
    link.pin(pin)
        .map(drop)
        .with_context(|| format!("could not pin {}", pin.display()))
}
