//! Attaches the guard to further interfaces, for addresses that a reload adds.
//!
//! An attachment waits for the kernel's lock of all network configuration, and for cards that
//! restart. So it is separate from the rest of the reload, and can run in a thread that no other
//! thread waits for.

use anyhow::Result;

use super::Dataplane;
use crate::{
    attach::{interface, lookup::check_interface},
    object::programs::Programs,
    pins::Pins,
    setup::SetupGuard,
};

/// The attachments to be made.
#[derive(Debug)]
pub struct Guarding {
    pins: Pins,
    /// The interfaces, each with a flag for a link on it.
    interfaces: Vec<(String, bool)>,
    replace: bool,
}

impl Dataplane {
    /// The attachments that are needed before these addresses are guarded too.
    pub fn guarding(&self, guards: &[SetupGuard]) -> Guarding {
        let setup = &self.setup;
        let before = setup.guarded_interfaces();
        let new = setup.guarded_with(guards).into_iter();
        let new = new.filter(|name| !before.contains(name));
        Guarding {
            pins: self.pins.clone(),
            interfaces: new
                .map(|name| (name.to_owned(), setup.is_link(name)))
                .collect(),
            replace: setup.replace,
        }
    }
}

impl Guarding {
    /// Attaches the guard. This may take long.
    pub fn attach(&self) -> Result<()> {
        if self.interfaces.is_empty() {
            return Ok(());
        }
        let mut programs = Programs::open(&self.pins)?;
        for (name, is_link) in &self.interfaces {
            check_interface(name)?;
            let attached =
                interface::guard(&mut programs, &self.pins, name, *is_link, self.replace)?;
            if let Some(attached) = attached {
                log::info!("{name}: guard attached in {} mode", attached.how.name());
            }
        }
        Ok(())
    }
}
