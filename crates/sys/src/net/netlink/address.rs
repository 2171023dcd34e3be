//! Adds, removes and lists the addresses of one interface, or of all.

use super::transport::{Failure, Transport};
use heartbeat_common::prefix::Prefix;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo},
};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr};

/// The loopback interface of each network namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
const LOOPBACK: u32 = 1;

impl Transport {
    pub(super) fn add(&mut self, ifindex: u32, prefix: Prefix) -> Result<bool, Failure> {
        let flags = match prefix.address {
            IpAddr::V4(_) => {
                let own = self.prefixes(ifindex)?;
                if own.iter().any(|other| other.address == prefix.address) {
                    return Ok(false);
                }
                flags_beside(&own, &prefix)
            }
            IpAddr::V6(_) => AddressFlags::Nodad,
        };
        let mut message = message_with(ifindex, prefix, flags);
        if prefix.address.is_ipv6() {
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_preferred = 0;
            lifetime.ifa_valid = u32::MAX;
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetime));
        }
        let added = self.create(message)?;
        if let (true, IpAddr::V6(address)) = (added, prefix.address) {
            self.bridge(ifindex, address);
        }
        Ok(added)
    }

    pub(super) fn remove(&mut self, ifindex: u32, address: IpAddr) -> Result<bool, Failure> {
        let present = match self.messages(Some(ifindex), family_of(address)) {
            Err(failure) if failure.errno() == Some(Errno::ENODEV) => return Ok(false),
            result => result?,
        };
        if let IpAddr::V6(address) = address {
            self.unbridge(ifindex, address);
        }
        let mut removed = false;
        // There are several only if the address was added by hand with another prefix length.
        for victim in present
            .iter()
            .filter(|message| address_of(message) == Some(address))
        {
            removed |= self.remove_one(victim, &present)?;
        }
        Ok(removed)
    }

    /// Removes only `victim`, one of the addresses `present` on its interface.
    fn remove_one(
        &mut self,
        victim: &AddressMessage,
        present: &[AddressMessage],
    ) -> Result<bool, Failure> {
        match self.execute(RouteNetlinkMessage::DelAddress(victim.clone()), 0) {
            Err(failure) if is_absence(&failure) => return Ok(false),
            result => result?,
        }
        for message in present.iter().filter(|message| depends_on(message, victim)) {
            self.restore(message);
        }
        Ok(true)
    }

    /// The indexes of the interfaces that have `address`, loopback excepted.
    pub(super) fn holders(&mut self, address: IpAddr) -> Result<Vec<u32>, Failure> {
        let present = self.messages(None, family_of(address))?;
        let own = present.iter().filter(|m| address_of(m) == Some(address));
        let mut holders: Vec<u32> = own.map(|message| message.header.index).collect();
        holders.retain(|index| *index != LOOPBACK);
        holders.dedup();
        Ok(holders)
    }

    /// Moves an IPv4 address with a subnet route of its own behind the present addresses without
    /// one. `ours` names the other addresses that are virtual. `false`: the address is in its place
    /// already.
    pub(super) fn step_back(
        &mut self,
        ifindex: u32,
        prefix: Prefix,
        ours: &[IpAddr],
    ) -> Result<bool, Failure> {
        let present = self.messages(Some(ifindex), AddressFamily::Inet)?;
        let same = |m: &&AddressMessage| {
            address_of(m) == Some(prefix.address) && m.header.prefix_len == prefix.len
        };
        let Some(first) = present.iter().find(same).filter(|m| leads(m)) else {
            return Ok(false);
        };
        let others = present.iter().filter_map(prefix_of);
        let others: Vec<Prefix> = others.filter(|o| !ours.contains(&o.address)).collect();
        if prefix.len == 32 || !others.iter().any(|other| contains(other, &prefix)) {
            return Ok(false);
        }
        // During the move, the same address with another prefix length keeps it reachable.
        let alone = Prefix { len: 32, ..prefix };
        self.create(message_with(ifindex, alone, AddressFlags::Noprefixroute))?;
        self.remove_one(first, &present)?;
        let flags = flags_beside(&others, &prefix);
        self.create(message_with(ifindex, prefix, flags))?;
        let present = self.messages(Some(ifindex), AddressFamily::Inet)?;
        self.remove_one(&message_for(ifindex, alone), &present)
    }

    /// Adds an address again that the kernel removed along with its primary, if it did.
    fn restore(&mut self, message: &AddressMessage) {
        let Some(prefix) = prefix_of(message) else {
            return;
        };
        match self.create(message.clone()) {
            Ok(false) => {}
            Ok(true) => log::warn!(
                "the kernel removed {prefix} along with the primary address of its subnet; the \
                 agent added the address again, but routes that name it as source are gone: set \
                 sysctl net.ipv4.conf.all.promote_secondaries to 1"
            ),
            Err(failure) => log::error!(
                "the kernel removed {prefix} along with the primary address of its subnet, and the \
                 agent could not add it again: {failure}; add it by hand"
            ),
        }
    }

    pub(super) fn has(&mut self, ifindex: u32, address: IpAddr) -> Result<bool, Failure> {
        let present = self.messages(Some(ifindex), family_of(address))?;
        Ok(present
            .iter()
            .any(|message| address_of(message) == Some(address)))
    }

    pub(super) fn addresses(&mut self, ifindex: u32) -> Result<Vec<Prefix>, Failure> {
        let mut messages = self.messages(Some(ifindex), AddressFamily::Inet)?;
        messages.extend(self.messages(Some(ifindex), AddressFamily::Inet6)?);
        Ok(messages.iter().filter_map(prefix_of).collect())
    }

    /// The IPv4 addresses on an interface.
    fn prefixes(&mut self, ifindex: u32) -> Result<Vec<Prefix>, Failure> {
        let messages = self.messages(Some(ifindex), AddressFamily::Inet)?;
        Ok(messages.iter().filter_map(prefix_of).collect())
    }

    pub(super) fn all_addresses(&mut self) -> Result<Vec<(u32, Prefix)>, Failure> {
        let mut messages = self.messages_of_all(AddressFamily::Inet)?;
        messages.extend(self.messages_of_all(AddressFamily::Inet6)?);
        let found = messages
            .iter()
            .filter_map(|message| Some((message.header.index, prefix_of(message)?)));
        Ok(found.collect())
    }

    /// `false`: the address exists already.
    fn create(&mut self, message: AddressMessage) -> Result<bool, Failure> {
        match self.execute(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        ) {
            Ok(()) => Ok(true),
            Err(failure) if failure.errno() == Some(Errno::EEXIST) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The addresses of one interface, or of all.
    fn messages(
        &mut self,
        ifindex: Option<u32>,
        family: AddressFamily,
    ) -> Result<Vec<AddressMessage>, Failure> {
        let mut request = AddressMessage::default();
        request.header.family = family;
        request.header.index = ifindex.unwrap_or_default();
        let request = RouteNetlinkMessage::GetAddress(request);
        let mut messages = self.list(&request, AddressMessage::parse)?;
        messages.retain(|message| ifindex.is_none_or(|index| message.header.index == index));
        Ok(messages)
    }

    fn messages_of_all(&mut self, family: AddressFamily) -> Result<Vec<AddressMessage>, Failure> {
        let mut request = AddressMessage::default();
        request.header.family = family;
        let request = RouteNetlinkMessage::GetAddress(request);
        self.list(&request, AddressMessage::parse)
    }
}

fn message_with(ifindex: u32, prefix: Prefix, flags: AddressFlags) -> AddressMessage {
    let mut message = message_for(ifindex, prefix);
    message.attributes.push(AddressAttribute::Flags(flags));
    message
}

/// The flags of a new IPv4 address beside `others`.
fn flags_beside(others: &[Prefix], prefix: &Prefix) -> AddressFlags {
    match others.iter().any(|other| encloses(other, prefix)) {
        true => AddressFlags::Noprefixroute,
        false => AddressFlags::empty(),
    }
}

/// Whether an IPv4 address has its subnet's route, which makes it the source of packets to the
/// subnet.
fn leads(message: &AddressMessage) -> bool {
    let mut flags = message
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
    let follows = AddressFlags::Secondary | AddressFlags::Noprefixroute;
    let secondary = message.header.flags.contains(AddressHeaderFlags::Secondary);
    !secondary && !flags.any(|flags| flags.intersects(follows))
}

fn message_for(ifindex: u32, prefix: Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(prefix.address);
    message.header.prefix_len = prefix.len;
    message.header.index = ifindex;
    message
        .attributes
        .push(AddressAttribute::Local(prefix.address));
    message
        .attributes
        .push(AddressAttribute::Address(prefix.address));
    message
}

fn is_absence(failure: &Failure) -> bool {
    matches!(failure.errno(), Some(Errno::EADDRNOTAVAIL | Errno::ENODEV))
}

fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

/// The host's own address: on a point-to-point link `IFA_ADDRESS` is the other side's.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    local.or_else(|| subnet_address_of(message))
}

/// The address that defines the subnet, together with the prefix length.
fn subnet_address_of(message: &AddressMessage) -> Option<IpAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
}

fn prefix_of(message: &AddressMessage) -> Option<Prefix> {
    Some(Prefix {
        address: address_of(message)?,
        len: message.header.prefix_len,
    })
}

/// Whether the kernel removes `message` when it removes `primary` (`__inet_del_ifa` in its
/// net/ipv4/devinet.c).
fn depends_on(message: &AddressMessage, primary: &AddressMessage) -> bool {
    let secondary = |m: &AddressMessage| m.header.flags.contains(AddressHeaderFlags::Secondary);
    if secondary(primary) || !secondary(message) {
        return false;
    }
    match (subnet_address_of(message), subnet_address_of(primary)) {
        (Some(IpAddr::V4(a)), Some(IpAddr::V4(b))) => {
            let len = primary.header.prefix_len;
            message.header.prefix_len == len && network(a, len) == network(b, len)
        }
        _ => false,
    }
}

/// Whether the subnet of `inner` is a proper part of that of `outer`. IPv4 only.
fn encloses(outer: &Prefix, inner: &Prefix) -> bool {
    outer.len < inner.len && contains(outer, inner)
}

/// Whether the subnet of `inner` is a part of that of `outer`, or the same. IPv4 only.
fn contains(outer: &Prefix, inner: &Prefix) -> bool {
    match (outer.address, inner.address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            outer.len <= inner.len && network(a, outer.len) == network(b, outer.len)
        }
        _ => false,
    }
}

fn network(address: Ipv4Addr, len: u8) -> u32 {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(len.min(32)))
        .unwrap_or(0);
    u32::from(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn listed(text: &str, flags: AddressHeaderFlags) -> AddressMessage {
        let mut message = message_for(1, prefix(text));
        message.header.flags = flags;
        message
    }

    #[test]
    fn subnet_encloses_only_smaller_ones_within_it() {
        let encloses = |a: &str, b: &str| encloses(&prefix(a), &prefix(b));
        assert!(encloses("10.0.0.1/16", "10.0.5.100/24"));
        assert!(encloses("10.0.0.1/24", "10.0.0.100/32"));
        assert!(!encloses("10.0.0.1/24", "10.0.0.100/24"), "a secondary");
        assert!(!encloses("10.0.5.1/24", "10.0.0.100/16"), "the larger one");
        assert!(!encloses("10.1.0.1/16", "10.0.5.100/24"), "another network");
        assert!(!encloses("fd00::1/32", "fd00::100/64"));
    }

    #[test]
    fn masks_of_all_lengths() {
        let address = Ipv4Addr::new(255, 255, 255, 255);
        assert_eq!(network(address, 0), 0);
        assert_eq!(network(address, 1), 0x8000_0000);
        assert_eq!(network(address, 31), 0xffff_fffe);
        assert_eq!(network(address, 32), 0xffff_ffff);
    }

    #[test]
    fn secondaries_depend_on_the_primary_of_their_subnet_only() {
        let (none, secondary) = (AddressHeaderFlags::empty(), AddressHeaderFlags::Secondary);
        let primary = listed("10.0.0.1/24", none);
        assert!(depends_on(&listed("10.0.0.2/24", secondary), &primary));
        assert!(!depends_on(&listed("10.0.0.2/25", secondary), &primary));
        assert!(!depends_on(&listed("10.0.1.2/24", secondary), &primary));
        assert!(!depends_on(&listed("10.0.0.2/24", none), &primary));
        assert!(!depends_on(&primary, &primary));
        let removed = listed("10.0.0.3/24", secondary);
        assert!(!depends_on(&listed("10.0.0.2/24", secondary), &removed));
    }
}
