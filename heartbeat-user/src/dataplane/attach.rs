//! Puts the programs onto an interface, and pins the links so that they outlive the agent.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, TcAttachType, Xdp,
        links::{FdLink, PinnedLink},
        xdp::XdpMode as Attach,
    },
    sys::SyscallError,
};

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

/// Attaches the responder to `interface` and pins the link at `pin`.
pub(super) fn responder(
    ebpf: &mut Ebpf,
    interface: &str,
    mode: XdpMode,
    pin: &Path,
) -> Result<(PinnedLink, Attached)> {
    let program: &mut Xdp = ebpf
        .program_mut("responder")
        .context("the object has no program `responder`")?
        .try_into()?;
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
    let link = program.take_link(id)?;
    let link: FdLink = link.try_into().map_err(|_| {
        anyhow!("{interface}: this kernel has no links for XDP programs (needs Linux 5.9)")
    })?;
    Ok((pin_link(link, pin)?, attached))
}

/// Attaches the stamp to the egress of `interface` and pins the link at `pin`.
pub(super) fn stamp(ebpf: &mut Ebpf, interface: &str, pin: &Path) -> Result<PinnedLink> {
    let program: &mut SchedClassifier = ebpf
        .program_mut("stamp_probe")
        .context("the object has no program `stamp_probe`")?
        .try_into()?;
    let id = program
        .attach(interface, TcAttachType::Egress)
        .with_context(|| format!("could not attach the TC egress program to {interface}"))?;
    let link = program.take_link(id)?;
    let link: FdLink = link.try_into().map_err(|_| {
        anyhow!("{interface}: this kernel has no links for TC programs (needs Linux 6.6)")
    })?;
    pin_link(link, pin)
}

fn pin_link(link: FdLink, pin: &Path) -> Result<PinnedLink> {
    link.pin(pin)
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

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
        _ => None,
    }
}

fn reason(error: &ProgramError) -> String {
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
