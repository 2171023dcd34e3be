//! Puts the guard onto interfaces that had none, for addresses that a reload adds.
//!
//! Attaching waits for the kernel's lock of all network configuration, and for cards that begin
//! anew. So it is apart from the rest of the reload, and can be done by a thread that nobody waits
//! for.

use anyhow::Result;

use super::Dataplane;
use crate::{
    attach::{interface, lookup::check_interface},
    object::programs::Programs,
    pins::Pins,
    setup::SetupGuard,
};

/// What is to be attached.
#[derive(Debug)]
pub struct Guarding {
    pins: Pins,
    /// Each with whether a link is on it.
    interfaces: Vec<(String, bool)>,
    replace: bool,
}

impl Dataplane {
    /// What has to be attached before these addresses are guarded, too.
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
    /// Attaches it. It may take long.
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
