//! Our XDP programs on the upper devices of an interface.
//!
//! The kernel refuses an XDP program on an interface while an upper device (VLAN, macvlan, bond,
//! bridge) has one; the other order is allowed (`dev_xdp_attach` in net/core/dev.c). Therefore our
//! programs on the upper devices are detached while the program below is attached. Meanwhile the
//! guard at TC egress still covers packets from a guarded address.

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

/// Greatest depth of stacked interfaces (`MAX_NEST_DEV`, include/linux/netdevice.h).
const DEPTH: usize = 8;

/// A detached program.
pub(crate) struct Lifted {
    pin: PathBuf,
    ifindex: u32,
    program: u32,
    how: Attached,
}

/// Detaches the programs of this instance from all upper devices of the interface with this index.
pub(crate) fn lift(ifindex: u32, pins: &Pins) -> Result<Vec<Lifted>> {
    let mut netlink = Netlink::open()?;
    let mut uppers = Vec::new();
    for name in pins.names()? {
        let Some(how) = way_of(&name) else { continue };
        let pin = pins.path(&name);
        let on = links::interface_of_pin(&pin)?;
        // A link without an interface is attached nowhere.
        if on != 0 && is_above(on, ifindex, |index| netlink.interface_at(index))? {
            uppers.push((pin, how));
        }
    }
    let mut lifted = Vec::new();
    for (pin, how) in uppers {
        match links::take_off(&pin) {
            Ok((ifindex, program)) => lifted.push(Lifted {
                pin,
                ifindex,
                program,
                how,
            }),
            // After a failure the kernel still refuses the program below. That error is reported,
            // and the other programs are attached again.
            Err(error) => log::warn!("{error:#}"),
        }
    }
    Ok(lifted)
}

/// Attaches the detached programs again. A failure is logged, and the interface monitor tries
/// again.
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
            // A program of an earlier run: its interface gets the new program later in the plan.
            return Ok(());
        };
        let id = program
            .attach_to_if_index(self.ifindex, self.how.mode())
            .with_context(|| format!("could not attach {} again", self.pin.display()))?;
        let link: FdLink = program.take_link(id)?.try_into()?;
        pin_link(link, &self.pin)
    }
}

/// Whether `upper` is an upper device of `lower`, directly or not, by the interfaces from `read`.
fn is_above(
    upper: u32,
    lower: u32,
    mut read: impl FnMut(u32) -> Result<Option<Interface>, NetlinkError>,
) -> Result<bool, NetlinkError> {
    if upper == lower {
        return Ok(false);
    }
    let mut masters = vec![lower];
    while let Some(interface) = read(masters[masters.len() - 1])?
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
        let Some(below) = read(at)?.and_then(|interface| interface.link) else {
            break;
        };
        // The two ends of a veth pair are neither upper nor lower devices of each other.
        if read(below)?.is_none_or(|interface| interface.link == Some(at)) {
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
    fn interface_is_above_what_it_is_made_of() {
        // A bond of eth0 and eth1 with a VLAN, and a VLAN on that; a veth pair; a bridge of one
        // end.
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
        let read = |index| {
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
        let above = |upper, lower| is_above(upper, lower, read).unwrap();
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
