//! Attaches the TC programs to the egress of an interface: by a pinned link, or by a filter on
//! kernels without such links.

use anyhow::{Context as _, Result, anyhow, bail};
use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType,
    links::{FdLink, PinnedLink},
    tc::{SchedClassifierLink, TcAttachOptions},
};

use super::{
    errors::{errno, reason},
    filter,
    watched::{Place, Watched},
};
use crate::{
    object::kernel::has_tc_links,
    pins::{
        Pins,
        link::{pin_link, unpin},
        names::tc_pin,
    },
};

/// The TC program `name` on the egress of `interface`, in a form that can be checked for presence.
pub(crate) fn watched(name: &'static str, interface: &str, ifindex: u32, pins: &Pins) -> Watched {
    let pin = pins.path(&tc_pin(name, interface));
    let place = match has_tc_links() {
        true => Place::Link { pin, ifindex },
        false => Place::Filter {
            filter: filter::of(name, &pin),
            ifindex,
        },
    };
    Watched {
        name: match name {
            "stamp_probe" => "the TC program that stamps probes",
            _ => "the guard's TC program",
        },
        place,
    }
}

/// The way in which a TC program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcWay {
    /// By a filter: the kernel has no links for TC programs.
    Filter,
    /// By the link of the last run, which gets the program.
    Renew,
    /// By a new link.
    Attach,
}

/// The way to attach a program. `pinned`: whether the last run left a link there.
pub(crate) const fn way(has_links: bool, pinned: bool) -> TcWay {
    match (has_links, pinned) {
        (false, _) => TcWay::Filter,
        (true, true) => TcWay::Renew,
        (true, false) => TcWay::Attach,
    }
}

/// Attaches the TC program `name` to the egress of `interface` for as long as it is pinned. A link
/// of the last run gets the new program instead: each packet meets the old program or the new one.
pub(crate) fn attach(
    program: &mut SchedClassifier,
    name: &str,
    interface: &str,
    pins: &Pins,
) -> Result<()> {
    let pinned = pins.path(&tc_pin(name, interface)).exists();
    attach_by(way(has_tc_links(), pinned), program, name, interface, pins)
}

/// Attaches the program in the given way.
pub(crate) fn attach_by(
    way: TcWay,
    program: &mut SchedClassifier,
    name: &str,
    interface: &str,
    pins: &Pins,
) -> Result<()> {
    let pin = pins.path(&tc_pin(name, interface));
    if way == TcWay::Filter {
        return filter::put(program, name, interface, &pin);
    }
    if way == TcWay::Renew {
        let link = SchedClassifierLink::try_from(FdLink::from(PinnedLink::from_pin(&pin)?));
        match link.map(|link| program.attach_to_link(link)) {
            Ok(Ok(id)) => {
                drop(program.take_link(id)?);
                return Ok(());
            }
            Ok(Err(error)) if errno(&error) != Some(libc::ENOLINK) => bail!(
                "{interface}: could not replace the program of the last run's TC link: {}",
                reason(&error)
            ),
            _ => unpin(&pin)?,
        }
    }
    let last = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program
        .attach_with_options(interface, TcAttachType::Egress, last)
        .with_context(|| format!("could not attach the TC egress program to {interface}"))?;
    let link: FdLink = program.take_link(id)?.try_into().map_err(|_| {
        anyhow!("{interface}: the TC egress program was attached, but not by a link")
    })?;
    pin_link(link, &pin)
}
