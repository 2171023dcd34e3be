//! Immediate reception on a new IPv6 address.
//!
//! The kernel adds an IPv6 address at once. It adds the route that accepts packets for the address
//! only from a work queue (`addrconf_dad_work`), even without duplicate address detection. On a
//! busy host that is milliseconds later, and until then the announced address receives nothing. So
//! a local route of our own covers that time. The route expires by itself: whatever happens to the
//! agent, no route outlives the address by more than [`EXPIRES_SECONDS`].

use super::transport::Transport;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};
use nix::errno::Errno;
use std::net::Ipv6Addr;

/// `RT_TABLE_LOCAL`
const TABLE_LOCAL: u8 = 255;
/// The kernel's own local routes have metric 0. Both routes can exist at once, and deleting ours
/// leaves the kernel's.
const METRIC: u32 = 1;
const EXPIRES_SECONDS: u32 = 2;

impl Transport {
    /// Adds the route. A failure is no error, since the address still works a little later.
    pub(super) fn bridge(&mut self, ifindex: u32, address: Ipv6Addr) {
        let mut route = local_route(ifindex, address);
        route
            .attributes
            .push(RouteAttribute::Expires(EXPIRES_SECONDS));
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        if let Err(failure) = self.execute(RouteNetlinkMessage::NewRoute(route), flags) {
            log::debug!(
                "no bridging route for {address}, it waits for the kernel's own: {failure}"
            );
        }
    }

    /// Removes the route if it still exists. A failure must not prevent the removal of the address,
    /// and the route expires soon: so a failure is no error here either.
    pub(super) fn unbridge(&mut self, ifindex: u32, address: Ipv6Addr) {
        let route = RouteNetlinkMessage::DelRoute(local_route(ifindex, address));
        match self.execute(route, 0) {
            Err(failure) if failure.errno() != Some(Errno::ESRCH) => {
                log::debug!("the bridging route for {address} stays until it expires: {failure}");
            }
            _ => {}
        }
    }
}

fn local_route(ifindex: u32, address: Ipv6Addr) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet6;
    route.header.destination_prefix_length = 128;
    route.header.table = TABLE_LOCAL;
    route.header.kind = RouteType::Local;
    route.header.protocol = RouteProtocol::Static;
    route
        .attributes
        .push(RouteAttribute::Destination(RouteAddress::Inet6(address)));
    route.attributes.push(RouteAttribute::Oif(ifindex));
    route.attributes.push(RouteAttribute::Priority(METRIC));
    route
}
