//! The kernel side as the agent sees it: loads the programs, fills the maps, attaches, pins, reads.
//!
//! Nothing here decides anything.

mod attach;
mod object;
pub mod pins;
mod view;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{SchedClassifier, Xdp},
};
use heartbeat_common::{
    maps::{self, Address, Key, PeerSlot},
    siphash::SipKey,
    verdict::Verdict,
    wire::{ClusterId, LinkId, NodeId},
};

pub use attach::Attached;
pub use pins::Pins;
pub use view::{LocalView, PeerRows};

use crate::config::{Config, XdpMode, key::Keys};

/// What the kernel programs need to know.
#[derive(Debug)]
pub struct Setup {
    pub instance: String,
    pub cluster: ClusterId,
    pub node: NodeId,
    pub port: u16,
    pub timeout: Duration,
    pub keys: Vec<(u8, SipKey)>,
    pub links: Vec<SetupLink>,
    /// Peer, link and address of each row, in the order of the rows.
    pub peers: Vec<(NodeId, LinkId, IpAddr)>,
}

#[derive(Debug)]
pub struct SetupLink {
    pub id: LinkId,
    pub interface: String,
    pub address: IpAddr,
    pub mode: XdpMode,
}

impl Setup {
    pub fn new(config: &Config, keys: &Keys) -> Self {
        let peers = config.peers().flat_map(|peer| {
            let links = config.links.iter().zip(&peer.addresses);
            links.map(|(link, address)| (peer.id, link.id, *address))
        });
        let links = config.local_links().map(|link| SetupLink {
            id: link.id,
            interface: link.interface.to_owned(),
            address: link.address,
            mode: link.mode,
        });
        Self {
            instance: config.instance.clone(),
            cluster: config.cluster_id,
            node: config.local().id,
            port: config.port,
            timeout: config.timeout,
            keys: keys.all.clone(),
            links: links.collect(),
            peers: peers.collect(),
        }
    }
}

/// The loaded, attached and pinned programs.
///
/// Dropping it removes the pins and so detaches the programs, unless [`Dataplane::persist`] was
/// called.
#[derive(Debug)]
pub struct Dataplane {
    ebpf: Ebpf,
    pins: Pins,
    rows: usize,
    attached: Vec<Attached>,
    persistent: bool,
}

impl Dataplane {
    /// Loads the programs, fills the maps, attaches to all links and pins everything. What an
    /// earlier run of the same instance left behind goes away first. On failure nothing stays.
    pub fn load(setup: &Setup) -> Result<Self> {
        let pins = Pins::of(&setup.instance);
        let indices = setup
            .links
            .iter()
            .map(|link| attach::check_interface(&link.interface))
            .collect::<Result<Vec<u32>>>()?;
        if pins.remove()? {
            log::info!(
                "removed the pins that an earlier run left at {}",
                pins.dir().display()
            );
        }
        pins.create()?;
        let rows = setup.peers.len().max(1);
        let entries = u32::try_from(rows).context("too many peers")?;
        let ebpf = EbpfLoader::new()
            .map_max_entries("peers", entries)
            .map_max_entries("watch", entries)
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(object::object()?)
            .context(
                "could not create the BPF maps (root, or CAP_BPF and CAP_NET_ADMIN, is needed)",
            )
            .inspect_err(|_| drop(pins.remove()))?;
        // From here on dropping it on a failure cleans up.
        let mut dataplane = Self {
            ebpf,
            pins,
            rows,
            attached: Vec::new(),
            persistent: false,
        };
        fill(&mut dataplane.ebpf, setup, &indices)?;
        dataplane.load_programs()?;
        dataplane.pin_maps()?;
        dataplane.attach(setup)?;
        Ok(dataplane)
    }

    fn load_programs(&mut self) -> Result<()> {
        let (ebpf, pins) = (&mut self.ebpf, &self.pins);
        let refused = "the kernel refused the program";
        let xdp: &mut Xdp = ebpf
            .program_mut("responder")
            .context("the object has no program `responder`")?
            .try_into()?;
        xdp.load()
            .with_context(|| format!("{refused} `responder`"))?;
        xdp.pin(pins.path("prog_responder"))
            .context("could not pin the program `responder`")?;
        let tc: &mut SchedClassifier = ebpf
            .program_mut("stamp_probe")
            .context("the object has no program `stamp_probe`")?
            .try_into()?;
        tc.load()
            .with_context(|| format!("{refused} `stamp_probe`"))?;
        tc.pin(pins.path("prog_stamp_probe"))
            .context("could not pin the program `stamp_probe`")
    }

    fn pin_maps(&self) -> Result<()> {
        // Names with a dot are the object's own data sections.
        for (name, map) in self.ebpf.maps().filter(|(name, _)| !name.starts_with('.')) {
            let name = name.to_lowercase();
            map.pin(self.pins.path(&name))
                .with_context(|| format!("could not pin the map `{name}`"))?;
        }
        Ok(())
    }

    fn attach(&mut self, setup: &Setup) -> Result<()> {
        let (ebpf, pins) = (&mut self.ebpf, &self.pins);
        for link in &setup.links {
            let name = &link.interface;
            attach::stamp(ebpf, name, &pins.path(&format!("link_tc_{name}")))?;
            let pin = pins.path(&format!("link_xdp_{name}"));
            let (_, mode) = attach::responder(ebpf, name, link.mode, &pin)?;
            log::info!("{name}: responder attached in {} mode", mode.name());
            self.attached.push(mode);
        }
        Ok(())
    }

    /// How each link's program is attached, in the order of the links.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// For `aya_log::EbpfLogger`.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Can be called any number of times: each is a mapping of its own.
    pub fn peer_rows(&self) -> Result<PeerRows> {
        PeerRows::map(self.array("peers")?.fd(), self.rows)
    }

    pub fn local(&self) -> Result<LocalView> {
        LocalView::map(self.array("local")?.fd())
    }

    /// The deadline events. Can be taken once.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>> {
        let map = self
            .ebpf
            .take_map("events")
            .context("the map `events` is gone")?;
        Ok(map.try_into()?)
    }

    /// Packets by verdict, over all CPUs.
    pub fn counters(&self) -> Result<BTreeMap<&'static str, u64>> {
        let map = self
            .ebpf
            .map("counters")
            .context("the map `counters` is gone")?;
        let counters: PerCpuArray<_, u64> = map.try_into()?;
        Verdict::ALL
            .iter()
            .map(|verdict| {
                let values = counters.get(&(*verdict as u32), 0)?;
                Ok((verdict.name(), values.iter().sum()))
            })
            .collect()
    }

    /// Leaves the pins, and with them the responder, in place.
    pub fn persist(mut self) {
        self.persistent = true;
    }

    fn array(&self, name: &str) -> Result<&MapData> {
        match self.ebpf.map(name) {
            Some(Map::Array(map)) => Ok(map),
            _ => anyhow::bail!("the object has no array map `{name}`"),
        }
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        if !self.persistent
            && let Err(error) = self.pins.remove()
        {
            log::error!("could not remove the pins: {error:#}; `heartbeat unload` tries again");
        }
    }
}

/// Writes everything that the programs look up, before they see their first packet.
fn fill(ebpf: &mut Ebpf, setup: &Setup, indices: &[u32]) -> Result<()> {
    let mut keys: Array<_, Key> = map(ebpf, "keys")?.try_into()?;
    for (id, key) in &setup.keys {
        keys.set(Key::slot(*id), Key::new(*id, *key), 0)?;
    }
    let mut links: HashMap<_, Address, maps::Link> = map(ebpf, "links")?.try_into()?;
    for (link, index) in setup.links.iter().zip(indices) {
        let value = maps::Link {
            ifindex: *index,
            link: link.id.0.into(),
        };
        links.insert(Address::from(link.address), value, 0)?;
    }
    let mut allow: HashMap<_, Address, PeerSlot> = map(ebpf, "allow")?.try_into()?;
    for (row, (node, link, address)) in setup.peers.iter().enumerate() {
        let slot = PeerSlot {
            row: u32::try_from(row)?,
            node: node.0,
            link: link.0.into(),
        };
        allow.insert(Address::from(*address), slot, 0)?;
    }
    let mut config: Array<_, maps::Config> = map(ebpf, "config")?.try_into()?;
    let value = maps::Config {
        layout_version: maps::LAYOUT_VERSION,
        cluster: setup.cluster.0,
        timeout_ns: u64::try_from(setup.timeout.as_nanos()).context("the timeout is too long")?,
        node: setup.node.0,
        port: setup.port,
        reserved: 0,
    };
    config.set(0, value, 0)?;
    Ok(())
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("the object has no map `{name}`"))
}
