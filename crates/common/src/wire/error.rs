//! The reasons why bytes are not a heartbeat.

use super::{MAX_LEASES, VERSION};

/// The reason why bytes are not a heartbeat of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Shorter than the header, or than the length in the header.
    Truncated,
    /// Longer than the length in the header.
    TrailingBytes,
    BadMagic,
    UnknownVersion(u8),
    UnknownKind(u8),
    TooManyLeases(u8),
    BadTag,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("shorter than its header says"),
            Self::TrailingBytes => f.write_str("longer than its header says"),
            Self::BadMagic => f.write_str("does not begin with HRTB"),
            Self::UnknownVersion(v) => write!(f, "version {v}, this code speaks {VERSION}"),
            Self::UnknownKind(k) => write!(f, "kind {k} is neither probe (1) nor reply (2)"),
            Self::TooManyLeases(n) => write!(f, "{n} lease entries, at most {MAX_LEASES} fit"),
            Self::BadTag => f.write_str("the tag does not match the key"),
        }
    }
}

impl core::error::Error for WireError {}
