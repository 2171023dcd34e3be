//! Puts the TC programs onto an interface, and pins the links so that they outlive the agent. `xdp` does it
//! for the XDP programs.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::SchedClassifierLink,
        xdp::XdpError,
    },
    sys::SyscallError,
};

use super::{Attached, Pins, links};

/// The name of the pin tells how the link is attached.
pub(super) fn xdp_pin(interface: &str, attached: Attached) -> String {
    match attached {
        Attached::Native => format!("link_xdp_{interface}"),
        Attached::Skb => format!("link_xdpskb_{interface}"),
    }
}

/// The pin of the TC program `name`.
pub(super) fn egress_pin(name: &str, interface: &str) -> String {
    match name {
        "stamp_probe" => format!("link_tc_{interface}"),
        _ => format!("link_{name}_{interface}"),
    }
}

/// Removes the pins of links that are not on the interface which has this name, and this index, now:
/// another had the name before.
pub(super) fn unpin_strangers(interface: &str, ifindex: u32, pins: &Pins) -> Result<()> {
    let names = [
        xdp_pin(interface, Attached::Native),
        xdp_pin(interface, Attached::Skb),
        egress_pin("stamp_probe", interface),
        egress_pin("guard_egress", interface),
    ];
    let mut pins = names.iter().map(|name| pins.path(name));
    pins.try_for_each(|pin| links::unpin_stranger(&pin, ifindex))
}

pub(super) fn unpin(pin: &Path) -> Result<()> {
    std::fs::remove_file(pin).with_context(|| format!("could not unpin {}", pin.display()))
}

/// Attaches the TC program `name` to the egress of `interface` and pins the link, or gives the link of
/// the last run the new program.
pub(super) fn egress(ebpf: &mut Ebpf, name: &str, interface: &str, pins: &Pins) -> Result<()> {
    egress_of(program(ebpf, name)?.try_into()?, name, interface, pins)
}

/// The same with the program at hand.
pub(super) fn egress_of(
    program: &mut SchedClassifier,
    name: &str,
    interface: &str,
    pins: &Pins,
) -> Result<()> {
    let pin = pins.path(&egress_pin(name, interface));
    if pin.exists() {
        let link = SchedClassifierLink::try_from(FdLink::from(PinnedLink::from_pin(&pin)?));
        match link.map(|link| program.attach_to_link(link)) {
            Ok(Ok(id)) => {
                drop(program.take_link(id)?);
                return Ok(());
            }
            Ok(Err(error)) if errno(&error) != Some(libc::ENOLINK) => bail!(
                "{interface}: could not give the TC link of the last run the new program: {}",
                reason(&error)
            ),
            _ => unpin(&pin)?,
        }
    }
    let id = program
        .attach(interface, TcAttachType::Egress)
        .with_context(|| format!("could not attach the TC egress program to {interface}"))?;
    let link: FdLink = program.take_link(id)?.try_into().map_err(|_| {
        anyhow!("{interface}: this kernel has no links for TC programs (needs Linux 6.6)")
    })?;
    pin_link(link, &pin)
}

pub(super) fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> Result<&'a mut aya::programs::Program> {
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program `{name}`"))
}

pub(super) fn pin_link(link: FdLink, pin: &Path) -> Result<()> {
    link.pin(pin)
        .map(drop)
        .with_context(|| format!("could not pin {}", pin.display()))
}

pub(super) fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    }
}

pub(super) fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(SyscallError { call, io_error }) => {
            format!("{call}: {io_error}")
        }
        other => other.to_string(),
    }
}

/// Refuses an interface that is not there before anything is attached.
pub(super) fn check_interface(name: &str) -> Result<u32> {
    match nix::net::if_::if_nametoindex(name) {
        Ok(index) => Ok(index),
        Err(nix::Error::ENODEV) => bail!(
            "no interface is called {name}; see `ip link` for those that there are, and set `interface` \
             in [[link]] or `interfaces` in [[node]]"
        ),
        Err(error) => bail!("could not look up interface {name}: {error}"),
    }
}
