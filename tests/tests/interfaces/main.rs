//! Interfaces, VLANs and the addresses on them.

mod addresses;
mod announcements;
mod cards;
mod firewall;
mod links;
mod vlans;
