//! The programs of one interface: the guard, and on a link the responder and the stamp.

use anyhow::Result;
use heartbeat_sys::net::Netlink;

use super::{existing_program::ExistingProgram, links, lookup::check_interface, tc, xdp};
use crate::{
    object::programs::Programs,
    pins::{Pins, names},
    setup::{Attached, Attachment, XdpMode},
};

/// Attaches the guard to an interface. On a link the responder guards arriving packets, so only the
/// guard for departing packets is attached. `replace`: remove another owner's XDP program.
pub(crate) fn guard(
    programs: &mut Programs,
    pins: &Pins,
    name: &str,
    is_link: bool,
    replace: bool,
) -> Result<Option<Attachment>> {
    tc::attach(&mut programs.guard_egress, "guard_egress", name, pins)?;
    if is_link {
        return Ok(None);
    }
    if replace {
        let ifindex = check_interface(name)?;
        let foreign = ExistingProgram::foreign(&mut Netlink::open()?, name, ifindex, pins)?;
        if let Some(existing) = foreign {
            xdp::evict(name, &existing)?;
        }
    }
    xdp::attach(&mut programs.guard_ingress, name, XdpMode::Auto, pins).map(Some)
}

/// Attaches the programs that stamp and answer heartbeats to an interface.
pub(crate) fn answer(
    programs: &mut Programs,
    pins: &Pins,
    name: &str,
    mode: XdpMode,
) -> Result<Attachment> {
    tc::attach(&mut programs.stamp_probe, "stamp_probe", name, pins)?;
    xdp::attach(&mut programs.responder, name, mode, pins)
}

/// Removes the pins of links on another interface than the one that has this name and index now:
/// another interface had the name before.
pub(crate) fn unpin_strangers(interface: &str, ifindex: u32, pins: &Pins) -> Result<()> {
    let names = [
        names::xdp_pin(interface, Attached::Native),
        names::xdp_pin(interface, Attached::Skb),
        names::tc_pin("stamp_probe", interface),
        names::tc_pin("guard_egress", interface),
    ];
    let mut pins = names.iter().map(|name| pins.path(name));
    pins.try_for_each(|pin| links::unpin_stranger(&pin, ifindex))
}
