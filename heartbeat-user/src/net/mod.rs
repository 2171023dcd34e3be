//! Addresses and announcements on this host's interfaces, without shelling out.

mod prefix;

pub use prefix::IpPrefix;
