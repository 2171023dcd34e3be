//! The mode in which an XDP program is attached, as the configuration names it.
//!
//! Only userspace has this module. It is in this crate because the configuration names the mode,
//! the dataplane attaches by it, and neither of them may import the other.

use core::fmt;

/// The mode in which an XDP program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// Native, or in skb mode if the driver has no native XDP.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// In the network stack, after the driver has built its buffer.
    Skb,
}

impl XdpMode {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Native, Self::Skb];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
