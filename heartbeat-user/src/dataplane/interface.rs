//! What belongs onto one interface: the guard, and where heartbeats come the responder and the stamp.

use anyhow::Result;

use super::{
    Attachment, Pins, egress,
    programs::Programs,
    xdp::{self, Wanted},
};
use crate::config::XdpMode;

/// Has the guard watch an interface. What comes in on a link the responder guards: there is nothing to attach for that.
pub(super) fn guard(
    programs: &mut Programs,
    pins: &Pins,
    name: &str,
    is_link: bool,
    replace: bool,
) -> Result<Option<Attachment>> {
    egress::attach(&mut programs.guard_egress, "guard_egress", name, pins)?;
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
pub(super) fn answer(
    programs: &mut Programs,
    pins: &Pins,
    name: &str,
    wanted: Wanted,
) -> Result<Attachment> {
    egress::attach(&mut programs.stamp_probe, "stamp_probe", name, pins)?;
    xdp::attach(&mut programs.responder, name, wanted, pins)
}
