//! Network namespaces without names. One lives as long as its value or anything in it.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use nix::{
    ifaddrs::getifaddrs,
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
    sys::stat::fstat,
};

use crate::netlink;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    fd: OwnedFd,
    route: Mutex<netlink::Socket>,
}

impl Namespace {
    /// Makes a namespace with its loopback up. `name` is for error messages only.
    pub fn new(name: &str) -> Result<Self> {
        // Another thread enters the namespace, so the caller's does not change.
        let make = || -> Result<(OwnedFd, netlink::Socket)> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let fd = File::open("/proc/thread-self/ns/net")?.into();
            let mut route = netlink::Socket::open()?;
            route.set_up("lo", true)?;
            Ok((fd, route))
        };
        let (fd, route) =
            join(thread::scope(|scope| scope.spawn(make).join())).with_context(|| {
                format!("cannot make the network namespace of {name}; are you root?")
            })?;
        Ok(Self {
            name: name.to_owned(),
            fd,
            route: Mutex::new(route),
        })
    }

    /// The kernel's number of this namespace.
    pub fn inode(&self) -> Result<u64> {
        Ok(fstat(&self.fd)?.st_ino)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Runs `work` in this namespace. Sockets that it opens stay there.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
        let inside = || {
            setns(&self.fd, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        join(thread::scope(|scope| scope.spawn(inside).join()))
            .with_context(|| format!("in the network namespace of {}", self.name))
    }

    /// Adds a pair of connected interfaces in this namespace.
    pub fn add_pair(&self, one: &str, other: &str) -> Result<()> {
        self.route()
            .add_veth(one, other, self.fd())
            .with_context(|| format!("cannot join {one} and {other} of {}", self.name))
    }

    /// Adds a pair of connected interfaces: `here` in this namespace, `there` in `other`.
    pub fn join(&self, here: &str, other: &Self, there: &str) -> Result<()> {
        self.route()
            .add_veth(here, there, other.fd())
            .with_context(|| format!("cannot join {} and {}", self.name, other.name))
    }

    /// Adds a VLAN interface on top of `parent`, and sets it up.
    pub fn add_vlan(&self, parent: &str, name: &str, id: u16) -> Result<()> {
        let index = self.index(parent)?;
        self.route()
            .add_vlan(name, index, id)
            .with_context(|| format!("cannot add VLAN {id} to {parent} of {}", self.name))?;
        self.set_up(name, true)
    }

    /// Gives `container` a macvlan interface on top of `parent` of this namespace, and sets it up.
    pub fn add_macvlan(&self, parent: &str, container: &Self, name: &str) -> Result<()> {
        let index = self.index(parent)?;
        self.route()
            .add_macvlan(name, index, container.fd())
            .with_context(|| {
                format!(
                    "cannot add a macvlan interface to {parent} of {}",
                    self.name
                )
            })?;
        container.set_up(name, true)
    }

    /// Moves `card` from the caller's namespace into this one as `name`. It returns when this
    /// namespace ends.
    pub fn take(&self, card: &str, name: &str) -> Result<()> {
        let index = if_nametoindex(card).with_context(|| format!("there is no card {card}"))?;
        netlink::Socket::open()?
            .move_to(index, self.fd(), name)
            .with_context(|| format!("cannot move {card} to {}", self.name))
    }

    /// The index of an interface in this namespace.
    pub fn index(&self, interface: &str) -> Result<u32> {
        self.enter(|| {
            if_nametoindex(interface).with_context(|| format!("there is no interface {interface}"))
        })
    }

    /// All addresses in this namespace with their interfaces, without loopback and link-local ones.
    pub fn addresses(&self) -> Result<Vec<(String, IpAddr)>> {
        let all: Vec<_> = self.enter(|| Ok(getifaddrs()?.collect()))?;
        let found = all.into_iter().filter_map(|entry| {
            let storage = entry.address?;
            let address = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            (!address.is_loopback() && !link_local).then_some((entry.interface_name, address))
        });
        Ok(found.collect())
    }

    /// Adds `address`/`len` to `interface`, usable at once.
    pub fn add_address(&self, interface: &str, address: IpAddr, len: u8) -> Result<()> {
        let index = self.index(interface)?;
        self.route()
            .add_address(index, address, len)
            .with_context(|| format!("cannot add {address}/{len} to {interface} of {}", self.name))
    }

    /// Sends all packets for `address` on `interface` to `mac`, without ARP.
    pub fn add_neighbour(&self, interface: &str, address: Ipv4Addr, mac: [u8; 6]) -> Result<()> {
        let index = self.index(interface)?;
        self.route()
            .add_neighbour(index, address, mac)
            .with_context(|| format!("cannot add the neighbour {address} to {}", self.name))
    }

    /// Removes `address`/`len` from `interface`.
    pub fn del_address(&self, interface: &str, address: IpAddr, len: u8) -> Result<()> {
        let index = self.index(interface)?;
        self.route()
            .del_address(index, address, len)
            .with_context(|| {
                format!(
                    "cannot remove {address}/{len} from {interface} of {}",
                    self.name
                )
            })
    }

    /// Sets an interface up or down.
    pub fn set_up(&self, interface: &str, up: bool) -> Result<()> {
        let direction = if up { "up" } else { "down" };
        self.route()
            .set_up(interface, up)
            .with_context(|| format!("cannot set {interface} of {} {direction}", self.name))
    }

    pub(crate) fn route(&self) -> MutexGuard<'_, netlink::Socket> {
        // Each request is complete in itself, so a panic leaves nothing half done.
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join<R>(result: thread::Result<R>) -> R {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
