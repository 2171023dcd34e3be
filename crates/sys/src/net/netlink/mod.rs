//! Addresses and interfaces of this host, through rtnetlink.
//!
//! One [`Netlink`] is one socket, kept open. A call is a request and its answer. It takes a few
//! microseconds, unless another process holds the kernel's configuration lock (RTNL), for which
//! every request waits. A call must never touch an address other than the given one.

mod address;
mod filter;
mod interface;
mod local_route;
mod transport;
mod xdp;

use heartbeat_common::prefix::Prefix;
use nix::{errno::Errno, net::if_::if_indextoname};
use std::{io, net::IpAddr, os::fd::BorrowedFd};
use transport::Transport;

pub use filter::EgressFilter;
pub use interface::Interface;
pub use transport::Failure;
pub use xdp::{XdpPlace, XdpProgram};

/// The error of an operation on an address or an interface.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot open an rtnetlink socket: {0}")]
    Open(#[source] io::Error),
    #[error("no interface `{name}` on this host; there are: {existing}")]
    NoInterface { name: String, existing: String },
    #[error("cannot {action}: {failure}{}", remedy(failure))]
    Request { action: String, failure: Failure },
}

impl NetlinkError {
    /// The kernel's error number if the kernel refused the request.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Open(error) => error.raw_os_error().map(Errno::from_raw),
            Self::NoInterface { .. } => Some(Errno::ENODEV),
            Self::Request { failure, .. } => failure.errno(),
        }
    }
}

/// The remedy for a refusal, where there is a typical one.
fn remedy(failure: &Failure) -> &'static str {
    match failure.errno() {
        Some(Errno::EPERM) => "; run as root or grant CAP_NET_ADMIN",
        Some(Errno::ENODEV) => "; the interface is gone, bring it back or name another",
        Some(Errno::EACCES) => {
            "; for an IPv6 address, see sysctl net.ipv6.conf.<interface>.disable_ipv6"
        }
        Some(Errno::ENOBUFS) => {
            "; IPv6 wants an interface MTU of 1280 or more, IPv4 one of 68 or more"
        }
        _ => "",
    }
}

/// An rtnetlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    transport: Transport,
}

impl Netlink {
    pub fn open() -> Result<Self, NetlinkError> {
        Transport::open()
            .map(|transport| Self { transport })
            .map_err(NetlinkError::Open)
    }

    /// Adds `prefix` to an interface. `true`: the address was added; `false`: it existed already,
    /// with any prefix length.
    ///
    /// The address is usable at once, and is not used for the node's own connections:
    /// - IPv6: without duplicate address detection, since the cluster decides who has the address.
    ///   A local route covers the time until the kernel's own exists (see `local_route`). The
    ///   address has no preferred lifetime ("deprecated", RFC 4862, section 5.5.4). Otherwise the
    ///   kernel would prefer this newest address as the source of the node's own connections (RFC
    ///   6724, section 5, rule 3 avoids it unless it is the only one).
    /// - IPv4: an address of a subnet in which the node already has one becomes its secondary
    ///   address, which the kernel does by itself. An address whose subnet lies within a larger one
    ///   of the node gets no route of its own: that route would be the more specific one, and its
    ///   preferred source would be the new address.
    ///
    /// Otherwise the subnet's route is added as with `ip address add`, so that an interface without
    /// an address of its own can serve its neighbours. The address has no broadcast address and no
    /// label.
    pub fn add_address(&mut self, ifindex: u32, prefix: Prefix) -> Result<bool, NetlinkError> {
        self.transport
            .add(ifindex, prefix)
            .map_err(|failure| refused(format!("add {prefix} to {}", name_of(ifindex)), failure))
    }

    /// Removes `address` from an interface, with any prefix length. `false`: the address was not
    /// there (nor, perhaps, the interface).
    ///
    /// IPv4 addresses that were secondaries of the address stay. Where the kernel removes them with
    /// their primary (sysctl `promote_secondaries` is 0), they are added again at once.
    pub fn remove_address(&mut self, ifindex: u32, address: IpAddr) -> Result<bool, NetlinkError> {
        self.transport.remove(ifindex, address).map_err(|failure| {
            refused(
                format!("remove {address} from {}", name_of(ifindex)),
                failure,
            )
        })
    }

    /// The indexes of the interfaces that have `address`, with any prefix length. Loopback is left
    /// out: no host announces an administrator's address there (for direct routing).
    pub fn holders(&mut self, address: IpAddr) -> Result<Vec<u32>, NetlinkError> {
        let action = || format!("look for {address} on all interfaces");
        self.transport
            .holders(address)
            .map_err(|failure| refused(action(), failure))
    }

    /// Removes `address` from all interfaces but `spared` and loopback, whatever their present
    /// names. This continues after a failure, and returns the first one. Otherwise it returns the
    /// names of the interfaces that had the address.
    pub fn remove_from_all(
        &mut self,
        address: IpAddr,
        spared: Option<u32>,
    ) -> Result<Vec<String>, NetlinkError> {
        let mut names = Vec::new();
        let mut result = Ok(());
        for index in self.holders(address)? {
            if spared == Some(index) {
                continue;
            }
            match self.remove_address(index, address) {
                Ok(true) => names.push(name_of(index)),
                Ok(false) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.map(|()| names)
    }

    /// Moves an IPv4 address behind the interface's own addresses again, if it was added before one
    /// of them. After a flush, or the removal of its primary address, the address is the primary
    /// one, has the subnet's route, and would be the source of the node's own connections. `ours`
    /// names the addresses that are not the node's own. The address stays reachable meanwhile.
    ///
    /// `false`: the address is in its place already.
    pub fn step_back(
        &mut self,
        ifindex: u32,
        prefix: Prefix,
        ours: &[IpAddr],
    ) -> Result<bool, NetlinkError> {
        let action = || format!("make {prefix} a secondary address of {}", name_of(ifindex));
        match self.transport.step_back(ifindex, prefix, ours) {
            Err(failure) if failure.errno() == Some(Errno::ENODEV) => Ok(false),
            result => result.map_err(|failure| refused(action(), failure)),
        }
    }

    /// Whether `address` is on an interface, with any prefix length.
    pub fn has_address(&mut self, ifindex: u32, address: IpAddr) -> Result<bool, NetlinkError> {
        let action = || format!("look for {address} on {}", name_of(ifindex));
        self.transport
            .has(ifindex, address)
            .map_err(|failure| refused(action(), failure))
    }

    /// All addresses of this network namespace, each with the index of its interface.
    pub fn all_addresses(&mut self) -> Result<Vec<(u32, Prefix)>, NetlinkError> {
        self.transport
            .all_addresses()
            .map_err(|failure| refused("list all addresses".to_owned(), failure))
    }

    /// The addresses on an interface, IPv4 first.
    pub fn addresses(&mut self, ifindex: u32) -> Result<Vec<Prefix>, NetlinkError> {
        let action = || format!("list the addresses of {}", name_of(ifindex));
        self.transport
            .addresses(ifindex)
            .map_err(|failure| refused(action(), failure))
    }

    /// The interface with the present name `name`.
    pub fn interface(&mut self, name: &str) -> Result<Interface, NetlinkError> {
        let action = || format!("look up interface `{name}`");
        match self.transport.interface(name) {
            Ok(Some(interface)) => Ok(interface),
            Ok(None) => {
                let existing = self.interfaces()?.into_iter().map(|existing| existing.name);
                Err(NetlinkError::NoInterface {
                    name: name.to_owned(),
                    existing: existing.collect::<Vec<_>>().join(", "),
                })
            }
            Err(failure) => Err(refused(action(), failure)),
        }
    }

    /// The interface with this index, whatever its present name, with its received packets. `None`
    /// if there is none any more.
    pub fn interface_at(&mut self, index: u32) -> Result<Option<Interface>, NetlinkError> {
        self.transport
            .interface_at(index)
            .map_err(|failure| refused(format!("look up interface {index}"), failure))
    }

    /// Detaches the XDP program at `place` of an interface. The kernel refuses this where a BPF
    /// link holds the program.
    pub fn detach_xdp(&mut self, ifindex: u32, place: XdpPlace) -> Result<(), NetlinkError> {
        let action = || format!("detach the XDP program of {}", name_of(ifindex));
        self.transport
            .detach_xdp(ifindex, place)
            .map_err(|failure| refused(action(), failure))
    }

    /// The kernel's own text why `program` cannot be attached at `place` of an interface: only
    /// rtnetlink has such texts. `None` if it could be attached, or if there is no text. Nothing
    /// stays attached.
    pub fn xdp_complaint(
        &mut self,
        ifindex: u32,
        program: BorrowedFd<'_>,
        place: XdpPlace,
    ) -> Option<String> {
        match self.transport.try_xdp(ifindex, program, place) {
            Err(Failure::Refused { detail, .. }) => detail,
            Err(_) => None,
            Ok(()) => {
                // The attachment has just become possible. The caller's next attempt will succeed.
                if let Err(error) = self.detach_xdp(ifindex, place) {
                    log::warn!("{error}");
                }
                None
            }
        }
    }

    /// All present interfaces.
    pub fn interfaces(&mut self) -> Result<Vec<Interface>, NetlinkError> {
        self.transport
            .interfaces()
            .map_err(|failure| refused("list the interfaces".to_owned(), failure))
    }

    /// The TC filters that run BPF programs on the egress of an interface.
    pub fn egress_filters(&mut self, ifindex: u32) -> Result<Vec<EgressFilter>, NetlinkError> {
        let action = || format!("list the egress filters of {}", name_of(ifindex));
        self.transport
            .filters(ifindex)
            .map_err(|failure| refused(action(), failure))
    }

    /// Adds `filter`, which runs `program`. With `replace` the filter must exist, and each packet
    /// meets the old program or the new one. Without `replace` it must not exist. The qdisc of the
    /// filter (`clsact`) is added if necessary.
    pub fn put_egress_filter(
        &mut self,
        ifindex: u32,
        filter: &EgressFilter,
        program: BorrowedFd<'_>,
        replace: bool,
    ) -> Result<(), NetlinkError> {
        let action = || {
            let (priority, interface) = (filter.priority, name_of(ifindex));
            format!("put an egress filter of priority {priority} on {interface}")
        };
        let place = match replace {
            true => Ok(()),
            false => self.transport.add_clsact(ifindex),
        };
        place
            .and_then(|()| self.transport.put_filter(ifindex, filter, program, replace))
            .map_err(|failure| refused(action(), failure))
    }

    /// `false`: there was no such filter. The qdisc stays: other programs may use it.
    pub fn remove_egress_filter(
        &mut self,
        ifindex: u32,
        filter: &EgressFilter,
    ) -> Result<bool, NetlinkError> {
        let action = || format!("remove an egress filter from {}", name_of(ifindex));
        self.transport
            .delete_filter(ifindex, filter)
            .map_err(|failure| refused(action(), failure))
    }
}

fn refused(action: String, failure: Failure) -> NetlinkError {
    NetlinkError::Request { action, failure }
}

/// The name of an interface, for messages only.
fn name_of(ifindex: u32) -> String {
    match if_indextoname(ifindex) {
        // nix 0.31 returns an empty name where there is no such interface.
        Ok(name) if !name.is_empty() => name.to_string_lossy().into_owned(),
        _ => format!("interface {ifindex}"),
    }
}
