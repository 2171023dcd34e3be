//! Our XDP programs on interfaces above another.
//!
//! The kernel refuses an XDP program on an interface while an interface above it (VLAN, macvlan,
//! bond, bridge) has one; the other order is allowed (`dev_xdp_attach` in net/core/dev.c).
//! Therefore our programs above are detached for the moment in which the program below is attached.
//! What leaves for a guarded address stays guarded meanwhile, at TC egress.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aya::programs::{Xdp, links::FdLink};

use super::links;
use crate::{
    object::programs::Programs,
    pins::{Pins, link::pin_link, names::way_of},
    setup::Attached,
};
use heartbeat_sys::net::{Interface, Netlink, NetlinkError};

/// Most interfaces on top of each other (`MAX_NEST_DEV`, include/linux/netdevice.h).
const DEPTH: usize = 8;

/// A program that was taken off.
pub(crate) struct Lifted {
    pin: PathBuf,
    ifindex: u32,
    program: u32,
    how: Attached,
}

/// Takes the programs of this instance off all interfaces above the one with this index.
pub(crate) fn lift(ifindex: u32, pins: &Pins) -> Result<Vec<Lifted>> {
    let mut netlink = Netlink::open()?;
    let mut above = Vec::new();
    for name in pins.names()? {
        let Some(how) = way_of(&name) else { continue };
        let pin = pins.path(&name);
        let on = links::interface_of_pin(&pin)?;
        // One whose interface has gone is on none.
        if on != 0 && is_above(on, ifindex, |index| netlink.interface_at(index))? {
            above.push((pin, how));
        }
    }
    let mut lifted = Vec::new();
    for (pin, how) in above {
        match links::take_off(&pin) {
            Ok((ifindex, program)) => lifted.push(Lifted {
                pin,
                ifindex,
                program,
                how,
            }),
            // Then the kernel goes on refusing, which is told, and all others are put back.
            Err(error) => log::warn!("{error:#}"),
        }
    }
    Ok(lifted)
}

/// Attaches the programs again that were taken off. A failure is logged; the interface monitor
/// tries again.
pub(crate) fn put_back(lifted: Vec<Lifted>, pins: &Pins) {
    for one in lifted {
        if let Err(error) = one.put_back(pins) {
            log::error!("{error:#}");
        }
    }
}

impl Lifted {
    fn put_back(&self, pins: &Pins) -> Result<()> {
        let Programs {
            responder,
            guard_ingress,
            ..
        } = Programs::open(pins)?;
        let is_it = |program: &Xdp| program.info().is_ok_and(|info| info.id() == self.program);
        let Some(mut program) = [responder, guard_ingress].into_iter().find(is_it) else {
            // One of an earlier run: its interface gets the new one in its turn.
            return Ok(());
        };
        let id = program
            .attach_to_if_index(self.ifindex, self.how.mode())
            .with_context(|| format!("could not put back {}", self.pin.display()))?;
        let link: FdLink = program.take_link(id)?.try_into()?;
        pin_link(link, &self.pin)
    }
}

/// Whether the interface `upper` is above `lower`, directly or not, as `look` knows them.
fn is_above(
    upper: u32,
    lower: u32,
    mut look: impl FnMut(u32) -> Result<Option<Interface>, NetlinkError>,
) -> Result<bool, NetlinkError> {
    if upper == lower {
        return Ok(false);
    }
    let mut masters = vec![lower];
    while let Some(interface) = look(masters[masters.len() - 1])?
        && let Some(master) = interface.master
        && masters.len() <= DEPTH
    {
        masters.push(master);
    }
    let mut at = upper;
    for _ in 0..=DEPTH {
        if masters.contains(&at) {
            return Ok(true);
        }
        let Some(below) = look(at)?.and_then(|interface| interface.link) else {
            break;
        };
        // The two ends of a pair are beside each other.
        if look(below)?.is_none_or(|interface| interface.link == Some(at)) {
            break;
        }
        at = below;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_above_what_it_is_made_of() {
        // eth0 and eth1 make a bond, on which there is a VLAN, on which there is another; a pair; a
        // bridge of one end.
        let all = [
            ("eth0", 1, None, Some(3)),
            ("eth1", 2, None, Some(3)),
            ("bond0", 3, None, None),
            ("bond0.5", 4, Some(3), None),
            ("bond0.5.6", 5, Some(4), None),
            ("left", 6, Some(7), None),
            ("right", 7, Some(6), Some(8)),
            ("br0", 8, None, None),
        ];
        let look = |index| {
            let found = all.iter().find(|(_, i, ..)| *i == index);
            Ok(found.map(|(name, index, link, master)| Interface {
                index: *index,
                name: (*name).to_owned(),
                mac: [0; 6],
                ethernet: true,
                up: true,
                carrier: true,
                mtu: 1_500,
                link: *link,
                master: *master,
                xdp: None,
                received: 0,
            }))
        };
        let above = |upper, lower| is_above(upper, lower, look).unwrap();
        let expected = [
            (3, 1),
            (4, 1),
            (5, 1),
            (3, 2),
            (4, 2),
            (5, 2),
            (4, 3),
            (5, 3),
            (5, 4),
            (8, 7),
        ];
        for upper in 1..=8 {
            for lower in 1..=8 {
                assert_eq!(
                    above(upper, lower),
                    expected.contains(&(upper, lower)),
                    "{upper} above {lower}"
                );
            }
        }
    }
}
