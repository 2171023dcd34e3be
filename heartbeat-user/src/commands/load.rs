//! `heartbeat load` and `heartbeat unload`: the responder alone, on a host without an agent.

use std::{net::IpAddr, path::Path};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::wire::{ClusterId, LinkId, NodeId};

use super::output;
use crate::{
    agent::InstanceLock,
    config::{self, Config, XdpMode, key::Keys},
    dataplane::{Dataplane, Pins, Setup, SetupLink, pins},
    net::Netlink,
};

/// Loads the responder on `interface` and leaves it there, pinned.
///
/// It answers the peers of the configuration at `path`. Without a configuration at the default place
/// it is loaded all the same, and answers nobody.
pub fn load(path: &Path, node: Option<&str>, interface: &str, mode: Option<XdpMode>) -> Result<()> {
    let absent = path == Path::new(config::DEFAULT_PATH) && !path.exists();
    let (setup, lock_path) = if absent {
        log::warn!(
            "no configuration at {}: the responder knows no peer and will answer nobody; write one \
             (`heartbeat check` helps) and load again",
            path.display()
        );
        (
            nobody(interface, mode.unwrap_or_default())?,
            Path::new("/run/heartbeat/default.lock").to_owned(),
        )
    } else {
        let config = Config::load(path, node)?;
        let keys = Keys::load(&config.key)?;
        let mut setup = Setup::new(&config, &keys);
        setup.links.retain(|link| link.interface == interface);
        if setup.links.is_empty() {
            let known: Vec<&str> = config.local_links().map(|link| link.interface).collect();
            bail!(
                "{} has no link on {interface} for node {}; its links are on {}",
                path.display(),
                config.local().name,
                known.join(", ")
            );
        }
        if let Some(mode) = mode {
            setup.links.iter_mut().for_each(|link| link.mode = mode);
        }
        (setup, config.lock())
    };
    let _lock = InstanceLock::take(&lock_path, &setup.instance)?;
    let peers = setup
        .peers
        .iter()
        .filter(|(_, link, _)| setup.links.iter().any(|own| own.id == *link));
    let peers = peers.count();
    let dataplane = Dataplane::load(&setup)?;
    let attached = dataplane
        .attached()
        .first()
        .map_or("", |attached| attached.name());
    let pins = Pins::of(&setup.instance);
    output::print(&format!(
        "{interface}: responder loaded in {attached} mode, answers {peers} peers; pinned at {}\n",
        pins.dir().display()
    ))?;
    dataplane.persist();
    Ok(())
}

/// A responder without peers, on the first address of `interface`.
fn nobody(interface: &str, mode: XdpMode) -> Result<Setup> {
    let mut netlink = Netlink::open()?;
    let index = netlink.interface(interface)?.index;
    let addresses = netlink.addresses(index)?;
    let address: IpAddr = addresses
        .first()
        .map(|prefix| prefix.address)
        .with_context(|| format!("{interface} has no address: add one with `ip address add`"))?;
    Ok(Setup {
        instance: "default".to_owned(),
        cluster: ClusterId::default(),
        node: NodeId::default(),
        port: heartbeat_common::wire::DEFAULT_PORT,
        timeout: std::time::Duration::from_secs(1),
        keys: Vec::new(),
        links: vec![SetupLink {
            id: LinkId(0),
            interface: interface.to_owned(),
            address,
            mode,
        }],
        peers: Vec::new(),
    })
}

/// Detaches and unpins `instance`; if none is named, the default one, or else the only one there is.
pub fn unload(instance: Option<&str>) -> Result<()> {
    let loaded = pins::instances();
    let instance = match (instance, loaded.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, []) => {
            output::print("nothing is loaded\n")?;
            return Ok(());
        }
        (None, [only]) => only.clone(),
        (None, several) if several.iter().any(|name| name == "default") => "default".to_owned(),
        (None, several) => bail!(
            "several instances are loaded: {}; say which one with --instance",
            several.join(", ")
        ),
    };
    let lock = Path::new("/run/heartbeat").join(format!("{instance}.lock"));
    let _lock = InstanceLock::take(&lock, &instance)?;
    let pins = Pins::of(&instance);
    // Its lock may be elsewhere, where its configuration says.
    if pins.in_use() {
        bail!("an agent runs as instance `{instance}`: stop it, and it unloads itself");
    }
    let text = if pins.remove()? {
        format!("instance `{instance}` unloaded\n")
    } else {
        format!("instance `{instance}` is not loaded\n")
    };
    output::print(&text)?;
    Ok(())
}
