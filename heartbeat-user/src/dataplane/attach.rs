//! Puts the XDP programs onto an interface, and pins the links so that they outlive the agent.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{
        ProgramError, Xdp,
        links::{FdLink, PinnedLink},
        xdp::{XdpLink, XdpMode as Attach},
    },
    sys::SyscallError,
};

use super::Pins;
use crate::config::XdpMode;

/// How a program ended up on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// In the driver.
    Native,
    /// In the network stack, after the driver has built its buffer: works everywhere, slower.
    Skb,
}

impl Attached {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

/// Attaches the XDP program `name` to `interface` and pins the link. A link that an earlier run pinned
/// there goes on with the new program, without a packet in between that meets none.
pub(super) fn xdp(
    ebpf: &mut Ebpf,
    name: &str,
    interface: &str,
    mode: XdpMode,
    pins: &Pins,
) -> Result<Attached> {
    let program: &mut Xdp = program(ebpf, name)?.try_into()?;
    if let Some(attached) = replace_xdp(program, interface, mode, pins)? {
        return Ok(attached);
    }
    let (id, attached) = match mode {
        XdpMode::Native => (program.attach(interface, Attach::Driver), Attached::Native),
        XdpMode::Skb => (program.attach(interface, Attach::Skb), Attached::Skb),
        XdpMode::Auto => match program.attach(interface, Attach::Driver) {
            Err(error) if may_work_in_skb_mode(&error) => {
                log::warn!(
                    "{interface}: native XDP was refused ({}), falling back to skb mode: \
                     heartbeats are answered later and at a higher cost",
                    reason(&error)
                );
                (program.attach(interface, Attach::Skb), Attached::Skb)
            }
            result => (result, Attached::Native),
        },
    };
    let id = id.map_err(|error| refused(interface, mode, &error))?;
    let link: FdLink = program.take_link(id)?.try_into().map_err(|_| {
        anyhow!("{interface}: this kernel has no links for XDP programs (needs Linux 5.9)")
    })?;
    pin_link(link, &pins.path(&xdp_pin(interface, attached)))?;
    Ok(attached)
}

/// The name of the pin tells how the link is attached.
pub(super) fn xdp_pin(interface: &str, attached: Attached) -> String {
    match attached {
        Attached::Native => format!("link_xdp_{interface}"),
        Attached::Skb => format!("link_xdpskb_{interface}"),
    }
}

fn replace_xdp(
    program: &mut Xdp,
    interface: &str,
    mode: XdpMode,
    pins: &Pins,
) -> Result<Option<Attached>> {
    let allowed: &[Attached] = match mode {
        XdpMode::Auto => &[Attached::Native, Attached::Skb],
        XdpMode::Native => &[Attached::Native],
        XdpMode::Skb => &[Attached::Skb],
    };
    for attached in [Attached::Native, Attached::Skb] {
        let pin = pins.path(&xdp_pin(interface, attached));
        if !pin.exists() {
            continue;
        }
        let link = XdpLink::try_from(FdLink::from(PinnedLink::from_pin(&pin)?));
        let replaced = match link {
            Ok(link) if allowed.contains(&attached) => program.attach_to_link(link),
            // Not ours, or in a mode that is not wanted any more.
            _ => return unpin(&pin).map(|()| None),
        };
        match replaced {
            Ok(id) => {
                // The pin holds it.
                drop(program.take_link(id)?);
                return Ok(Some(attached));
            }
            // Its interface has gone.
            Err(error) if errno(&error) == Some(libc::ENOLINK) => unpin(&pin)?,
            Err(error) => bail!(
                "{interface}: could not give the XDP link of the last run the new program: {}",
                reason(&error)
            ),
        }
    }
    Ok(None)
}

pub(super) fn unpin(pin: &Path) -> Result<()> {
    std::fs::remove_file(pin).with_context(|| format!("could not unpin {}", pin.display()))
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

fn may_work_in_skb_mode(error: &ProgramError) -> bool {
    !matches!(
        errno(error),
        Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::ENODEV) | None
    )
}

fn refused(interface: &str, mode: XdpMode, error: &ProgramError) -> anyhow::Error {
    match errno(error) {
        Some(libc::EBUSY | libc::EEXIST) => anyhow!(
            "{interface}: another XDP program is attached already and is left alone; see which with \
             `bpftool net show dev {interface}`, detach it, or choose another interface"
        ),
        _ if mode == XdpMode::Native => anyhow!(
            "{interface}: native XDP was refused ({}); use a driver that supports it, or set \
             mode = \"auto\" to fall back to skb mode",
            reason(error)
        ),
        _ => anyhow!(
            "{interface}: could not attach the XDP program: {}",
            reason(error)
        ),
    }
}

pub(super) fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
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
