//! Settings that a command line gives: the rules of the file, with messages of one line.

use std::{net::IpAddr, time::Duration};

use heartbeat_common::wire::ClusterId;

use super::{ids, read::Invalid, settings::cluster::LENGTHS, values};

/// A cluster's name.
pub fn name(text: &str) -> Result<String, String> {
    values::name(text).map_err(said)
}

pub fn instance(text: &str) -> Result<String, String> {
    values::instance(text).map_err(said)
}

pub fn interface(text: &str) -> Result<String, String> {
    values::interface(text).map_err(said)
}

/// An address that a node can own on a link.
pub fn address(text: &str) -> Result<IpAddr, String> {
    values::address(text).map_err(said)
}

pub fn max_lease(text: &str) -> Result<Duration, String> {
    values::duration(LENGTHS.low, LENGTHS.high)(text).map_err(said)
}

/// The id that a cluster's name makes.
pub fn cluster_id(name: &str) -> ClusterId {
    ClusterId(ids::cluster_id(name))
}

fn said(Invalid { what, remedy }: Invalid) -> String {
    format!("it{what}; {remedy}")
}
