//! Attaches an XDP program to an interface, in native or skb mode, and describes a refusal of the
//! kernel. The attachment leaves a program of another owner in place. With `--replace` the caller
//! evicts that program before.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::programs::{
    ProgramError, Xdp,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};
use heartbeat_sys::net::{Netlink, XdpPlace};
use nix::errno::Errno;

use super::{
    errors::{errno, reason},
    existing_program::ExistingProgram,
    links,
    lookup::check_interface,
    upper_devices,
};
use crate::{
    pins::{
        Pins,
        link::{pin_link, unpin},
        names::xdp_pin,
    },
    setup::{Attached, Attachment, XdpMode},
};

/// Attaches `program` to `interface` and pins the link. A link that an earlier run pinned there
/// gets the new program instead: each packet meets the old program or the new one.
pub(crate) fn attach(
    program: &mut Xdp,
    interface: &str,
    mode: XdpMode,
    pins: &Pins,
) -> Result<Attachment> {
    let former = former(&pinned(interface, pins), mode);
    attach_after(&former, program, interface, mode, pins)
}

/// Attaches the program after the decision about the `former` links.
pub(crate) fn attach_after(
    former: &[Former],
    program: &mut Xdp,
    interface: &str,
    mode: XdpMode,
    pins: &Pins,
) -> Result<Attachment> {
    let ifindex = check_interface(interface)?;
    if let Some(how) = renew(program, interface, former, pins)? {
        let fallback = (how == Attached::Skb && mode == XdpMode::Auto)
            .then(|| "left by the last run".to_owned());
        return Ok(Attachment { how, fallback });
    }
    match mode {
        XdpMode::Native => put(program, interface, ifindex, Attached::Native, pins),
        XdpMode::Skb => put(program, interface, ifindex, Attached::Skb, pins),
        XdpMode::Auto => match put(program, interface, ifindex, Attached::Native, pins) {
            Err(Refusal::Unable(why)) => fall_back(program, interface, ifindex, why, pins),
            result => result,
        },
    }
    .map_err(|refusal| refusal.into_error(interface, mode))
}

/// Attaches in skb mode, since native mode failed, and logs that.
fn fall_back(
    program: &mut Xdp,
    interface: &str,
    ifindex: u32,
    why: String,
    pins: &Pins,
) -> Result<Attachment, Refusal> {
    log::warn!(
        "{interface}: native XDP was refused: {why}; FALLING BACK to skb mode: heartbeats are \
        answered later and at a higher cost"
    );
    let attachment = put(program, interface, ifindex, Attached::Skb, pins)?;
    Ok(Attachment {
        fallback: Some(format!("native XDP was refused: {why}")),
        ..attachment
    })
}

/// Attaches a program in skb mode that is attached in the driver but does not run there.
pub(crate) fn move_to_skb(
    program: &mut Xdp,
    interface: &str,
    why: &str,
    pins: &Pins,
) -> Result<Attachment> {
    let ifindex = check_interface(interface)?;
    let pin = pins.path(&xdp_pin(interface, Attached::Native));
    if pin.exists() {
        unpin(&pin)?;
    }
    let attachment = put(program, interface, ifindex, Attached::Skb, pins)
        .map_err(|refusal| refusal.into_error(interface, XdpMode::Auto))?;
    Ok(Attachment {
        fallback: Some(why.to_owned()),
        ..attachment
    })
}

/// The decision about a link that the last run pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Former {
    /// The link gets the new program, and the attachment is complete. A link without an interface,
    /// or one that another process has detached, is unpinned.
    Renew(Attached),
    /// The link is detached and unpinned: its mode is no longer wanted.
    Unpin(Attached),
}

/// The decisions about the `pinned` links, native before skb, for the wanted `mode`.
pub(crate) fn former(pinned: &[Attached], mode: XdpMode) -> Vec<Former> {
    let allowed: &[Attached] = match mode {
        XdpMode::Auto => &[Attached::Native, Attached::Skb],
        XdpMode::Native => &[Attached::Native],
        XdpMode::Skb => &[Attached::Skb],
    };
    let mut former = Vec::new();
    for way in pinned {
        if !allowed.contains(way) {
            // A second link is removed with the unused pins.
            former.push(Former::Unpin(*way));
            break;
        }
        former.push(Former::Renew(*way));
    }
    former
}

fn pinned(interface: &str, pins: &Pins) -> Vec<Attached> {
    let mut ways = vec![Attached::Native, Attached::Skb];
    ways.retain(|way| pins.path(&xdp_pin(interface, *way)).exists());
    ways
}

/// Returns the mode of the former link that got the new program, if there is one.
fn renew(
    program: &mut Xdp,
    interface: &str,
    former: &[Former],
    pins: &Pins,
) -> Result<Option<Attached>> {
    for one in former {
        let (Former::Renew(way) | Former::Unpin(way)) = *one;
        let pin = pins.path(&xdp_pin(interface, way));
        let link = XdpLink::try_from(FdLink::from(PinnedLink::from_pin(&pin)?));
        let link = match (one, link) {
            (Former::Renew(_), Ok(link)) => link,
            (Former::Unpin(_), Ok(_)) => {
                // Detached at once: the kernel detaches an unpinned link only a moment later, and
                // until then the interface accepts no other program.
                return links::take_off(&pin).map(|_| None);
            }
            // The pin is not a link of an XDP program.
            (_, Err(_)) => return unpin(&pin).map(|()| None),
        };
        match program.attach_to_link(link) {
            Ok(id) => {
                // The pin holds the link.
                drop(program.take_link(id)?);
                return Ok(Some(way));
            }
            Err(error) if errno(&error) == Some(libc::ENOLINK) => unpin(&pin)?,
            Err(error) => bail!(
                "{interface}: could not replace the program of the last run's XDP link: {}",
                reason(&error)
            ),
        }
    }
    Ok(None)
}

/// The reason why a program could not be attached.
enum Refusal {
    /// Another program is attached.
    Occupied(String),
    /// The interface cannot run the program, for this reason.
    Unable(String),
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl Refusal {
    fn into_error(self, interface: &str, mode: XdpMode) -> anyhow::Error {
        match self {
            Self::Occupied(by) => anyhow!(
                "{interface}: another XDP program is attached already and is left alone: {by}; \
                stop its owner, choose another interface, or replace it with `--replace`"
            ),
            Self::Unable(why) if mode == XdpMode::Native => anyhow!(
                "{interface}: native XDP was refused: {why}; or set mode = \"auto\" to fall back \
                to skb mode"
            ),
            Self::Unable(why) => {
                anyhow!("{interface}: could not attach the XDP program: {why}")
            }
            Self::Other(error) => error.context(could_not(interface)),
        }
    }
}

fn could_not(interface: &str) -> String {
    format!("{interface}: could not attach")
}

/// Attaches the program in the mode `how`. An existing program stays.
fn put(
    program: &mut Xdp,
    interface: &str,
    ifindex: u32,
    how: Attached,
    pins: &Pins,
) -> Result<Attachment, Refusal> {
    let mut attached = program.attach_to_if_index(ifindex, how.mode());
    if is_taken(&attached)
        && let Some(existing) = ExistingProgram::of(&mut netlink()?, ifindex)?
    {
        return Err(Refusal::Occupied(existing.to_string()));
    }
    if is_taken(&attached) {
        let lifted = upper_devices::lift(ifindex, pins)?;
        if !lifted.is_empty() {
            attached = program.attach_to_if_index(ifindex, how.mode());
            upper_devices::put_back(lifted, pins);
        }
    }
    let id = attached.map_err(|error| refusal(program, ifindex, how, &error))?;
    let link = program.take_link(id).map_err(anyhow::Error::from)?;
    let link: FdLink = link.try_into().map_err(|_| {
        anyhow!("{interface}: this kernel has no links for XDP programs (needs Linux 5.9)")
    })?;
    pin_link(link, &pins.path(&xdp_pin(interface, how)))?;
    Ok(Attachment {
        how,
        fallback: None,
    })
}

/// Removes another owner's program from its interface, as `--replace` asks, unless it is gone
/// already.
pub(crate) fn evict(interface: &str, existing: &ExistingProgram) -> Result<()> {
    let take_off = || -> Result<bool> {
        let mut netlink = netlink()?;
        let is_there = existing.is_there(&mut netlink)?;
        if is_there {
            existing.evict(&mut netlink)?;
        }
        Ok(is_there)
    };
    if take_off().with_context(|| could_not(interface))? {
        log::warn!("{interface}: REPLACED another XDP program, as `--replace` asks: {existing}");
    }
    Ok(())
}

/// Refuses an interface with another owner's program, unless that has gone meanwhile: the kernel
/// detaches an unpinned link a moment later.
pub(crate) fn refuse(interface: &str, existing: &ExistingProgram) -> Result<()> {
    let is_there = netlink().and_then(|mut netlink| existing.is_there(&mut netlink));
    if is_there.with_context(|| could_not(interface))? {
        return Err(Refusal::Occupied(existing.to_string()).into_error(interface, XdpMode::Auto));
    }
    Ok(())
}

/// Whether another program prevents the attachment: on this interface, or on one above or below.
fn is_taken<T>(attached: &Result<T, ProgramError>) -> bool {
    let error = attached.as_ref().err().and_then(errno);
    matches!(error, Some(libc::EBUSY | libc::EEXIST))
}

fn netlink() -> Result<Netlink> {
    Ok(Netlink::open()?)
}

fn refusal(program: &Xdp, ifindex: u32, how: Attached, error: &ProgramError) -> Refusal {
    let Some(errno) = errno(error).map(Errno::from_raw) else {
        return Refusal::Other(anyhow!("{}", reason(error)));
    };
    if matches!(errno, Errno::EPERM | Errno::ENODEV) {
        return Refusal::Other(anyhow!("{}", reason(error)));
    }
    let place = match how {
        Attached::Native => XdpPlace::Driver,
        Attached::Skb => XdpPlace::Stack,
    };
    // The kernel gives its text only to rtnetlink, so the attachment is tried again by that
    // interface.
    let complaint = program.fd().ok().and_then(|program| {
        let mut netlink = Netlink::open().ok()?;
        netlink.xdp_complaint(ifindex, program.as_fd(), place)
    });
    Refusal::Unable(describe(errno, complaint.as_deref()))
}

/// The text of the kernel's error, and a remedy.
fn describe(errno: Errno, complaint: Option<&str>) -> String {
    // The kernel's own text is more precise than the general meaning of the number.
    let words = match complaint {
        Some(complaint) => format!("{complaint} ({errno:?})"),
        None => format!("{} ({errno:?})", errno.desc().to_lowercase()),
    };
    let remedy = match errno {
        Errno::EOPNOTSUPP => {
            "the driver does not support it, and a VLAN interface never can: use a card whose \
            driver has native XDP"
        }
        Errno::ERANGE | Errno::E2BIG => {
            "its MTU is too large for the driver: lower it (`ip link set … mtu`)"
        }
        Errno::EINVAL => {
            "the driver does not support it with the interface's present settings: lower the MTU, \
            switch LRO and hardware GRO off (`ethtool -K`), or use fewer queues (`ethtool -L`)"
        }
        Errno::ENOMEM | Errno::ENOSPC => {
            "the driver needs a free queue for each CPU: use fewer queues (`ethtool -L … \
            combined`)"
        }
        Errno::EBUSY | Errno::EEXIST => {
            "an interface above or below it (VLAN, bond, bridge) has an XDP program: see `ip link`"
        }
        _ => return words,
    };
    format!("{words}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_told_in_words_with_its_remedy() {
        let message = describe(Errno::ERANGE, Some("peer MTU is too large to set XDP"));
        assert!(
            message.starts_with("peer MTU is too large to set XDP (ERANGE); "),
            "{message}"
        );
        assert!(
            message.ends_with("lower it (`ip link set … mtu`)"),
            "{message}"
        );
        let message = describe(Errno::EOPNOTSUPP, None);
        assert!(message.contains("driver has native XDP"), "{message}");
        assert!(!describe(Errno::EIO, None).contains(';'));
    }

    #[test]
    fn program_that_is_there_is_named_with_the_choices() {
        let by = "`pass` (program id 7, native mode, held by process 3 (xdpd))".to_owned();
        let message = Refusal::Occupied(by).into_error("eth1", XdpMode::Auto);
        let message = message.to_string();
        for part in [
            "eth1: another XDP program is attached already",
            "`pass` (program id 7",
            "`--replace`",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}
