//! The map `senders`: the sockets whose probes the kernel signs.
//!
//! A writer of this map can make the kernel sign in this node's name. Only this module writes the
//! map, for sockets that the agent has opened itself.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError},
};
use heartbeat_common::wire::LinkId;
use heartbeat_sys::net::ProbeSocket;

use super::access;
use crate::pins::Pins;

/// The registered sockets.
#[derive(Debug)]
pub struct Senders {
    map: HashMap<MapData, u64, u32>,
    /// The cookie of each link's latest socket.
    latest: BTreeMap<u32, u64>,
}

impl Senders {
    pub(crate) fn open(pins: &Pins) -> Result<Self> {
        let map: HashMap<_, u64, u32> = Map::HashMap(pins.map("senders")?).try_into()?;
        let latest = entries(&map)?;
        Ok(Self {
            latest: latest
                .into_iter()
                .map(|(cookie, link)| (link, cookie))
                .collect(),
            map,
        })
    }

    /// Makes the kernel sign the packets of `socket` on `link`, from the next packet on. The
    /// previous socket of the link stays registered until it is closed, since its owner may still
    /// use it.
    pub fn register(&mut self, link: LinkId, socket: &ProbeSocket) -> Result<()> {
        let link = u32::from(link.0);
        let latest = self.latest.get(&link).copied();
        for (cookie, of) in entries(&self.map)? {
            if of == link && Some(cookie) != latest {
                self.map.remove(&cookie)?;
            }
        }
        self.map
            .insert(socket.cookie(), link, 0)
            .with_context(|| format!("could not register the socket of link {link}"))?;
        self.latest.insert(link, socket.cookie());
        Ok(())
    }
}

/// Empties the map: the sockets of an earlier agent are gone, and a new agent has none yet.
pub(crate) fn forget(ebpf: &mut Ebpf) -> Result<()> {
    let mut map: HashMap<_, u64, u32> = access::map(ebpf, "senders")?.try_into()?;
    let cookies: Vec<u64> = map.keys().collect::<Result<_, _>>()?;
    for cookie in cookies {
        map.remove(&cookie)?;
    }
    Ok(())
}

fn entries(map: &HashMap<MapData, u64, u32>) -> Result<Vec<(u64, u32)>, MapError> {
    map.iter().collect()
}
