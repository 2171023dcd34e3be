//! The switch between the nodes: a namespace with one bridge per cluster link.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{SchedClassifier, TcAttachType, Xdp, XdpMode, tc},
    util::KernelVersion,
};

use crate::{netns::Namespace, relay::Relay, sys};

/// The programs of each port, and the maps with its blocked directions and its VLAN.
const INGRESS: &str = "port_ingress";
const EGRESS: &str = "port_egress";
const BLOCKED: &str = "blocked";
const ACCESS_VLANS: &str = "access_vlans";
/// The first kernel with links for TC programs.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// A direction through a port, or a kind of frame, as a bit in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Way {
    /// Frames from the node, including those of `XDP_TX`.
    FromNode = 1,
    /// Frames that the switch forwards to the node.
    ToNode = 2,
    /// Heartbeats in both directions, and nothing else: untagged IPv4 packets on the default port.
    Heartbeats = 4,
}

/// Bridges in a namespace, with ports that can fail.
pub struct Switch {
    /// The programs and their attachments.
    ebpf: Ebpf,
    blocked: Array<MapData, u32>,
    access_vlans: Array<MapData, u32>,
    ns: Namespace,
    /// The index of each port by its name.
    ports: HashMap<String, u32>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch")
            .field("ns", &self.ns)
            .field("ports", &self.ports)
            .finish()
    }
}

impl Switch {
    /// Makes a switch of `links` separate networks. `object` is the rig's BPF object.
    pub fn new(links: usize, object: &Path) -> Result<Self> {
        let ns = Namespace::new("switch")?;
        for link in 0..links {
            let bridge = bridge(link);
            ns.route()
                .add_bridge(&bridge)
                .with_context(|| format!("cannot add {bridge}"))?;
            ns.set_up(&bridge, true)?;
        }
        let mut ebpf = Ebpf::load_file(object)
            .with_context(|| format!("cannot load the BPF object {}", object.display()))?;
        let (blocked, access_vlans) = (map(&mut ebpf, BLOCKED)?, map(&mut ebpf, ACCESS_VLANS)?);
        ingress(&mut ebpf)?
            .load()
            .with_context(|| format!("the kernel refused the program `{INGRESS}`"))?;
        egress(&mut ebpf)?
            .load()
            .with_context(|| format!("the kernel refused the program `{EGRESS}`"))?;
        Ok(Self {
            ebpf,
            blocked,
            access_vlans,
            ns,
            ports: HashMap::new(),
        })
    }

    pub fn namespace(&self) -> &Namespace {
        &self.ns
    }

    /// Plugs `interface`, made in `ns`, into network `link` of this switch, at a port named `port`.
    pub fn plug(&mut self, ns: &Namespace, interface: &str, link: usize, port: &str) -> Result<()> {
        self.ns
            .route()
            .add_veth(port, interface, ns.fd())
            .with_context(|| format!("cannot add the veth pair {port}, {interface}"))?;
        ns.set_up(interface, true)?;
        self.connect(port, link)
    }

    /// Makes a port named `port` in network `link` of `card`, an interface in the caller's
    /// namespace.
    pub fn plug_card(&mut self, card: &str, link: usize, port: &str) -> Result<()> {
        self.ns.take(card, port)?;
        self.connect(port, link)
    }

    /// Makes a port named `port` in network `link` for a virtual machine: a tap device with several
    /// queues, which outlives the machine.
    pub fn plug_tap(&mut self, port: &str, link: usize) -> Result<()> {
        self.ns
            .enter(|| Ok(sys::make_tap(port)?))
            .with_context(|| format!("cannot make the tap {port}"))?;
        self.connect(port, link)
    }

    /// Takes a port out of its network, or puts it back into network `link`. The node at its other
    /// end does not notice.
    pub fn set_port_plugged(&self, port: &str, link: usize, plugged: bool) -> Result<()> {
        let bridge = match plugged {
            true => self.ns.index(&bridge(link))?,
            false => 0,
        };
        self.ns
            .route()
            .set_master(self.port(port)?, bridge)
            .with_context(|| format!("cannot change the network of {port}"))
    }

    /// Isolates a port from all other isolated ports of its network, or ends that.
    pub fn set_port_isolated(&self, port: &str, isolated: bool) -> Result<()> {
        let index = self.port(port)?;
        self.ns
            .route()
            .set_isolated(index, isolated)
            .with_context(|| format!("cannot change the isolation of {port}"))
    }

    /// Makes a port of an interface in the switch's namespace.
    fn connect(&mut self, port: &str, link: usize) -> Result<()> {
        let index = self.ns.index(port)?;
        let bridge = bridge(link);
        let bridge_index = self.ns.index(&bridge)?;
        self.ns
            .route()
            .set_master(index, bridge_index)
            .with_context(|| format!("cannot plug {port} into {bridge}"))?;
        self.attach(port, index)?;
        self.ns.set_up(port, true)?;
        self.ports.insert(port.to_owned(), index);
        Ok(())
    }

    fn attach(&mut self, port: &str, index: u32) -> Result<()> {
        let program = ingress(&mut self.ebpf)?;
        self.ns.enter(|| {
            program
                .attach_to_if_index(index, XdpMode::Driver)
                .with_context(|| format!("cannot attach `{INGRESS}` to {port} in native mode"))
        })?;
        let program = egress(&mut self.ebpf)?;
        self.ns.enter(|| {
            if KernelVersion::current()? < TCX {
                // aya attaches TC programs to this queueing discipline.
                tc::qdisc_add_clsact(port)?;
            }
            program
                .attach(port, TcAttachType::Egress)
                .with_context(|| format!("cannot attach `{EGRESS}` to {port}"))
        })?;
        Ok(())
    }

    /// Sets a port up or down: the node at its other end loses its carrier.
    pub fn set_port_up(&self, port: &str, up: bool) -> Result<()> {
        // An interface goes down under the lock of all network configuration of the host.
        sys::urgently(|| self.ns.set_up(port, up))
    }

    /// Starts or stops forwarding at a port. The node at its other end does not notice.
    pub fn set_port_forwarding(&self, port: &str, forwarding: bool) -> Result<()> {
        let index = self.port(port)?;
        self.ns
            .route()
            .set_forwarding(index, forwarding)
            .with_context(|| format!("cannot change the bridge state of {port}"))
    }

    /// Blocks or opens one direction of a port, or its heartbeats. The node at its other end does
    /// not notice.
    pub fn set_port_blocked(&mut self, port: &str, way: Way, blocked: bool) -> Result<()> {
        let index = self.port(port)?;
        let ways = self.blocked.get(&index, 0)?;
        let ways = if blocked {
            ways | way as u32
        } else {
            ways & !(way as u32)
        };
        self.blocked
            .set(index, ways, 0)
            .with_context(|| format!("cannot change what {port} lets pass"))
    }

    /// Makes a port an access port of a VLAN: the node at its other end sends and receives untagged
    /// frames. `None` ends that.
    pub fn set_access_vlan(&mut self, port: &str, vlan: Option<u16>) -> Result<()> {
        let index = self.port(port)?;
        self.access_vlans
            .set(index, vlan.map_or(0, u32::from), 0)
            .with_context(|| format!("cannot change the VLAN of {port}"))
    }

    /// Puts a relay between a port and its network. The port leaves the network, and no longer
    /// forwards by itself.
    pub(crate) fn slow_down(&self, port: &str, link: usize) -> Result<Relay> {
        let index = self.port(port)?;
        let (near, far) = (format!("{port}-n"), format!("{port}-f"));
        self.ns.add_pair(&near, &far)?;
        let bridge = self.ns.index(&bridge(link))?;
        let relay = Relay::start(&self.ns, port, &near)?;
        self.ns.route().set_master(index, 0)?;
        self.ns.route().set_master(self.ns.index(&far)?, bridge)?;
        for end in [&near, &far] {
            self.ns.set_up(end, true)?;
        }
        Ok(relay)
    }

    fn port(&self, name: &str) -> Result<u32> {
        let index = self.ports.get(name).copied();
        index.with_context(|| format!("there is no port {name}"))
    }
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<Array<MapData, u32>> {
    let map = ebpf.take_map(name);
    let map = map.with_context(|| format!("the rig's BPF object holds no map `{name}`"))?;
    Ok(map.try_into()?)
}

fn bridge(link: usize) -> String {
    format!("br{link}")
}

fn ingress(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf
        .program_mut(INGRESS)
        .with_context(|| format!("the rig's BPF object holds no program `{INGRESS}`"))?;
    Ok(program.try_into()?)
}

fn egress(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    let program = ebpf
        .program_mut(EGRESS)
        .with_context(|| format!("the rig's BPF object holds no program `{EGRESS}`"))?;
    Ok(program.try_into()?)
}
