//! What belongs onto one interface: the guard, and where heartbeats come the responder and the stamp.

use anyhow::Result;

use super::{
    links, tc,
    xdp::{self, Wanted},
};
use crate::{
    object::programs::Programs,
    pins::{Pins, names},
    setup::{Attached, Attachment, XdpMode},
};

/// Has the guard watch an interface. What comes in on a link the responder guards: there is nothing to attach for that.
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
    let wanted = Wanted {
        mode: XdpMode::Auto,
        replace,
    };
    xdp::attach(&mut programs.guard_ingress, name, wanted, pins).map(Some)
}

/// Has heartbeats stamped and answered on an interface.
pub(crate) fn answer(
    programs: &mut Programs,
    pins: &Pins,
    name: &str,
    wanted: Wanted,
) -> Result<Attachment> {
    tc::attach(&mut programs.stamp_probe, "stamp_probe", name, pins)?;
    xdp::attach(&mut programs.responder, name, wanted, pins)
}

/// Removes the pins of links that are not on the interface which has this name, and this index, now:
/// another had the name before.
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
