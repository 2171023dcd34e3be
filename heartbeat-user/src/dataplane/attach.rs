//! What attaching XDP and TC programs to an interface has in common: pins, and errors in words.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aya::{
    programs::{ProgramError, links::FdLink, xdp::XdpError},
    sys::SyscallError,
};

use super::{Attached, Pins, egress, links};

/// The name of an interface as pins have it: the BPF file system refuses dots (`bpf_lookup` in
/// kernel/bpf/inode.c), which the usual names of VLAN interfaces have. No interface has a colon in its name.
pub(super) fn in_pin(interface: &str) -> String {
    interface.replace('.', ":")
}

/// The name of the pin tells how the link is attached.
pub(super) fn xdp_pin(interface: &str, attached: Attached) -> String {
    let interface = in_pin(interface);
    match attached {
        Attached::Native => format!("link_xdp_{interface}"),
        Attached::Skb => format!("link_xdpskb_{interface}"),
    }
}

/// Removes the pins of links that are not on the interface which has this name, and this index, now:
/// another had the name before.
pub(super) fn unpin_strangers(interface: &str, ifindex: u32, pins: &Pins) -> Result<()> {
    let names = [
        xdp_pin(interface, Attached::Native),
        xdp_pin(interface, Attached::Skb),
        egress::pin("stamp_probe", interface),
        egress::pin("guard_egress", interface),
    ];
    let mut pins = names.iter().map(|name| pins.path(name));
    pins.try_for_each(|pin| links::unpin_stranger(&pin, ifindex))
}

pub(super) fn unpin(pin: &Path) -> Result<()> {
    std::fs::remove_file(pin).with_context(|| format!("could not unpin {}", pin.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pin_has_a_dot_in_its_name_and_no_two_interfaces_share_one() {
        let pins = |interface| {
            [
                xdp_pin(interface, Attached::Native),
                xdp_pin(interface, Attached::Skb),
                egress::pin("stamp_probe", interface),
                egress::pin("guard_egress", interface),
            ]
        };
        assert_eq!(pins("eth0")[0], "link_xdp_eth0");
        let mut all: Vec<_> = ["eth0.5", "eth0_5", "eth0-5", "eth05", "eth0.5."]
            .into_iter()
            .flat_map(pins)
            .collect();
        assert!(all.iter().all(|pin| !pin.contains('.')), "{all:?}");
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:?}");
    }
}
