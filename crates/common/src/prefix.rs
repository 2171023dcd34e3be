//! An address with its prefix length, as `ip address` writes it.
//!
//! Only userspace has this module: the kernel programs use [`Address`](crate::maps::Address).

use alloc::{borrow::ToOwned as _, string::String};
use core::{error::Error, fmt, net::IpAddr, str::FromStr};

/// `10.0.0.100/24` or `fd00::100/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    pub address: IpAddr,
    /// Bits of the network part, 1 to 32 or 1 to 128.
    pub len: u8,
}

impl Prefix {
    /// Whether `address` lies in the network of this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        let other = Self { address, ..*self };
        self.address.is_ipv4() == address.is_ipv4() && self.network() == other.network()
    }

    /// The address of the network, with its length.
    pub fn network(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.len.into()));
                IpAddr::from((u32::from(v4) & mask.unwrap_or(0)).to_be_bytes())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.len.into()));
                IpAddr::from((u128::from(v6) & mask.unwrap_or(0)).to_be_bytes())
            }
        };
        Self { address, ..*self }
    }

    /// Whether a host can have this address. The address of the network and the broadcast address
    /// are excluded. IPv6 has neither, nor has a network of one or two addresses (RFC 3021).
    pub fn is_host(&self) -> bool {
        let IpAddr::V4(v4) = self.address else {
            return true;
        };
        let host = u32::MAX.checked_shr(self.len.into()).unwrap_or(0);
        self.len >= 31 || !matches!(u32::from(v4) & host, part if part == 0 || part == host)
    }
}

/// An address that moves between nodes: `10.0.0.100/24`, or `10.0.0.100`. An address without a
/// length gets it from the network that the serving node's interface has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServedAddress {
    pub address: IpAddr,
    /// As in a [`Prefix`], if the text has a length.
    pub len: Option<u8>,
}

impl ServedAddress {
    /// The address with its prefix length: the given one, or the length of the smallest of
    /// `networks` that contains the address. `None` if no network does.
    pub fn within<'a>(&self, networks: impl IntoIterator<Item = &'a Prefix>) -> Option<Prefix> {
        let address = self.address;
        let holding = networks.into_iter().filter(|own| own.holds(address));
        let len = self.len.or_else(|| holding.map(|own| own.len).max())?;
        Some(Prefix { address, len })
    }
}

/// The reason why a text is not an address with a prefix length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsePrefixError {
    NoLength(String),
    BadAddress(String),
    /// The text of the length, and the longest length that the address allows.
    BadLength(String, u8),
    NotAHost(IpAddr),
}

impl Error for ParsePrefixError {}

impl fmt::Display for ParsePrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLength(text) => write!(
                f,
                "`{text}` has no prefix length; write it as in 10.0.0.100/24 or fd00::100/64"
            ),
            Self::BadAddress(text) => write!(f, "`{text}` is not an IP address"),
            Self::BadLength(text, most) => {
                write!(f, "`/{text}` is not a prefix length from 1 to {most}")
            }
            Self::NotAHost(address) => write!(
                f,
                "`{address}` cannot be served: it is unspecified, multicast, loopback or broadcast"
            ),
        }
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ServedAddress { address, len } = text.parse()?;
        let len = len.ok_or_else(|| ParsePrefixError::NoLength(text.to_owned()))?;
        Ok(Self { address, len })
    }
}

impl FromStr for ServedAddress {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| ParsePrefixError::BadAddress(address.to_owned()))?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let bits = |len: &str| match len.parse::<u8>() {
            Ok(bits) if (1..=max).contains(&bits) => Ok(bits),
            _ => Err(ParsePrefixError::BadLength(len.to_owned(), max)),
        };
        let len = len.map(bits).transpose()?;
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast
        {
            return Err(ParsePrefixError::NotAHost(address));
        }
        Ok(Self { address, len })
    }
}

impl From<Prefix> for ServedAddress {
    fn from(Prefix { address, len }: Prefix) -> Self {
        let len = Some(len);
        Self { address, len }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl fmt::Display for ServedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        self.len.map_or(Ok(()), |len| write!(f, "/{len}"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn accepts_what_ip_address_prints() {
        for text in ["10.0.0.100/24", "fd00::100/64", "192.168.1.1/32"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        let error = |text: &str| text.parse::<Prefix>().unwrap_err().to_string();
        assert!(error("10.0.0.100").contains("no prefix length"));
        assert!(error("10.0.0/24").contains("not an IP address"));
        assert!(error("10.0.0.1/33").contains("1 to 32"));
        assert!(error("fd00::1/x").contains("1 to 128"));
        assert!(error("0.0.0.0/8").contains("cannot be served"));
        assert!(error("ff02::1/64").contains("cannot be served"));
    }

    #[test]
    fn prefix_without_a_length_is_a_served_address_alone() {
        for text in ["10.0.0.100", "10.0.0.100/24", "fd00::100", "fd00::100/64"] {
            assert_eq!(text.parse::<ServedAddress>().unwrap().to_string(), text);
        }
        for text in ["10.0.0.100/", "10.0.0.100/33", "127.0.0.1", "x", ""] {
            assert!(text.parse::<ServedAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn served_address_takes_the_length_of_the_smallest_network_that_holds_it() {
        let networks = [
            "10.0.0.1/8",
            "10.0.0.1/24",
            "10.0.1.1/25",
            "fd00::1/48",
            "fd00::1/64",
        ];
        let networks = networks.map(|text| text.parse::<Prefix>().unwrap());
        for (text, expected) in [
            ("10.0.0.100", Some("10.0.0.100/24")),
            ("10.0.1.127", Some("10.0.1.127/25")),
            ("10.0.1.128", Some("10.0.1.128/8")),
            ("11.0.0.1", None),
            ("fd00::100", Some("fd00::100/64")),
            ("fd00:0:0:1::100", Some("fd00:0:0:1::100/48")),
            ("fd01::1", None),
            // A given length counts, whatever the networks are.
            ("10.0.0.100/32", Some("10.0.0.100/32")),
            ("11.0.0.1/24", Some("11.0.0.1/24")),
        ] {
            let served: ServedAddress = text.parse().unwrap();
            let found = served.within(&networks).map(|prefix| prefix.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        let bare: ServedAddress = "10.0.0.100".parse().unwrap();
        assert_eq!(bare.within([]), None);
        // An IPv4 address is in no IPv6 network, whatever its length.
        let all = Prefix {
            address: "::1".parse().unwrap(),
            len: 0,
        };
        assert_eq!(bare.within([&all]), None);
    }

    #[test]
    fn first_and_last_address_of_an_ipv4_network_are_no_hosts() {
        for (text, expected) in [
            ("10.0.0.0/24", false),
            ("10.0.0.255/24", false),
            ("10.0.0.255/16", true),
            ("10.0.0.1/30", true),
            ("10.0.0.3/30", false),
            ("10.0.0.0/31", true),
            ("10.0.0.0/32", true),
            ("fd00::/64", true),
        ] {
            assert_eq!(
                text.parse::<Prefix>().unwrap().is_host(),
                expected,
                "{text}"
            );
        }
    }
}
