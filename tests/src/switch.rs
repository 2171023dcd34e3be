//! The switch between the nodes: a namespace with one bridge per cluster link.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};

use crate::{netns::Namespace, sys};

/// The program of the rig's BPF object. It passes every packet on: a veth delivers what the other
/// end sends with `XDP_TX` only if it runs an XDP program itself.
const PASS: &str = "pass";

/// Bridges in a namespace, with ports that can fail.
pub struct Switch {
    /// Holds the program and its attachments.
    ebpf: Ebpf,
    ns: Namespace,
    /// Index of each port by its name.
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
    /// A switch of `links` separate networks. `object` is the rig's BPF object.
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
        pass(&mut ebpf)?
            .load()
            .context("the kernel refused the program `pass`")?;
        Ok(Self {
            ebpf,
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
        let index = self.ns.index(port)?;
        let bridge = bridge(link);
        let bridge_index = self.ns.index(&bridge)?;
        self.ns
            .route()
            .set_master(index, bridge_index)
            .with_context(|| format!("cannot plug {port} into {bridge}"))?;
        let program = pass(&mut self.ebpf)?;
        self.ns.enter(|| {
            program
                .attach_to_if_index(index, XdpMode::Driver)
                .with_context(|| format!("cannot attach `{PASS}` to {port} in native mode"))
        })?;
        ns.set_up(interface, true)?;
        self.ns.set_up(port, true)?;
        self.ports.insert(port.to_owned(), index);
        Ok(())
    }

    /// Sets a port up or down: the node at its other end loses its carrier.
    pub fn set_port_up(&self, port: &str, up: bool) -> Result<()> {
        // An interface goes down under the lock that guards all network configuration of the host.
        sys::urgently(|| self.ns.set_up(port, up))
    }

    /// Lets a port forward or not: the node at its other end does not notice.
    pub fn set_port_forwarding(&self, port: &str, forwarding: bool) -> Result<()> {
        let index = *self
            .ports
            .get(port)
            .with_context(|| format!("there is no port {port}"))?;
        self.ns
            .route()
            .set_forwarding(index, forwarding)
            .with_context(|| format!("cannot change the bridge state of {port}"))
    }
}

fn bridge(link: usize) -> String {
    format!("br{link}")
}

fn pass(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf
        .program_mut(PASS)
        .with_context(|| format!("the rig's BPF object holds no program `{PASS}`"))?;
    Ok(program.try_into()?)
}
