//! Addresses of both families in one form.

use core::net::{IpAddr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

/// An IPv6 address, or an IPv4 one as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Address {
    pub bytes: [u8; 16],
}

impl Address {
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        Self::v6(0, 0x0000_ffff_0000_0000 | address as u64)
    }

    #[inline(always)]
    pub const fn v6(high: u64, low: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = high.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = low.to_be_bytes();
        Self {
            bytes: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p],
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let v6 = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { bytes: v6.octets() }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.bytes).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["10.1.2.3", "fd00::1:2"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
        }
        assert_eq!(
            Address::v4(0x0a01_0203),
            Address::from("10.1.2.3".parse::<IpAddr>().unwrap())
        );
        assert_eq!(
            Address::v6(0xfd00_0000_0000_0000, 0x0001_0002),
            Address::from("fd00::1:2".parse::<IpAddr>().unwrap())
        );
    }
}
