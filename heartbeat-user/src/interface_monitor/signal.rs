//! The ability of an interface to send and receive, according to the kernel.

use crate::net::Interface;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Switched on, with a carrier. The operational states `dormant` and `unknown` count as up,
    /// too.
    #[default]
    Up,
    /// Switched on, without a carrier: its own, or that of the interface below it.
    NoCarrier,
    /// Switched off.
    Down,
    Missing,
}

impl Signal {
    pub(super) const fn of(found: Option<&Interface>) -> Self {
        match found {
            None => Self::Missing,
            Some(interface) if !interface.up => Self::Down,
            Some(interface) if !interface.carrier => Self::NoCarrier,
            Some(_) => Self::Up,
        }
    }

    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// Returns the name in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoCarrier => "no carrier",
            Self::Down => "down",
            Self::Missing => "missing",
        }
    }

    /// Returns the text of an event.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Up => "link up: it is switched on and has a carrier",
            Self::NoCarrier => {
                "NO CARRIER: nothing is sent, received or served there; see the cable and the \
                 switch port"
            }
            Self::Down => {
                "DOWN: it is switched off, so nothing is sent, received or served there; `ip link \
                 set up`"
            }
            Self::Missing => "MISSING: there is no such interface",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_switch_and_the_carrier_count() {
        let interface = |up, carrier| Interface {
            index: 1,
            name: "eth0".to_owned(),
            mac: [0; 6],
            ethernet: true,
            up,
            carrier,
            mtu: 1_500,
            link: None,
            master: None,
            xdp: None,
            received: 0,
        };
        for (found, signal) in [
            (None, Signal::Missing),
            (Some(interface(false, false)), Signal::Down),
            (Some(interface(true, false)), Signal::NoCarrier),
            (Some(interface(true, true)), Signal::Up),
        ] {
            assert_eq!(Signal::of(found.as_ref()), signal);
        }
    }
}
