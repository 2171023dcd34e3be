//! An address with its prefix length, as `ip address` writes it.
//!
//! The module is userspace's alone: the kernel programs keep addresses as
//! [`Address`](crate::maps::Address).

use alloc::{borrow::ToOwned as _, string::String};
use core::{error::Error, fmt, net::IpAddr, str::FromStr};

/// `10.0.0.100/24` or `fd00::100/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    pub address: IpAddr,
    /// Bits of the network part, 1 to 32 or 1 to 128.
    pub len: u8,
}

/// Why a text is not an address with a prefix length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsePrefixError {
    NoLength(String),
    BadAddress(String),
    /// The text of the length, and the longest that the address allows.
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
        let (address, len) = text
            .split_once('/')
            .ok_or_else(|| ParsePrefixError::NoLength(text.to_owned()))?;
        let address: IpAddr = address
            .parse()
            .map_err(|_| ParsePrefixError::BadAddress(address.to_owned()))?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let len = match len.parse::<u8>() {
            Ok(bits) if (1..=max).contains(&bits) => bits,
            _ => return Err(ParsePrefixError::BadLength(len.to_owned(), max)),
        };
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast
        {
            return Err(ParsePrefixError::NotAHost(address));
        }
        Ok(Self { address, len })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
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
}
