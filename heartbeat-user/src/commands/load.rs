//! `heartbeat load` and `heartbeat unload`: the responder alone, on a host without an agent.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::wire::{ClusterId, LinkId, NodeId};

use super::{count::Count, output};
use crate::{
    agent::{InstanceLock, setup},
    clock,
    config::{
        self, Config, DEFAULT_INSTANCE, XdpMode,
        key::{self, Keys},
    },
    dataplane::{self, Dataplane, Pins, Setup, SetupLink, pins},
    membership_store,
    net::Netlink,
    resource_manager,
};

/// Loads the responder on `interface` and leaves it there, pinned.
///
/// The responder answers the peers of the configuration at `path`. If the default configuration
/// file does not exist, the responder is still loaded, and answers no node.
///
/// With `replace` another XDP program is replaced.
pub fn load(
    path: &Path,
    node: Option<&str>,
    interface: &str,
    mode: Option<XdpMode>,
    replace: bool,
) -> Result<()> {
    let absent = path == Path::new(config::DEFAULT_PATH) && !path.exists();
    let (mut setup, lock_path) = if absent {
        log::warn!(
            "no configuration at {}: the responder knows no peer and will answer no node; write \
             one (`heartbeat check` helps) and load again",
            path.display()
        );
        (
            nobody(interface, mode.unwrap_or_default())?,
            lock_of(DEFAULT_INSTANCE),
        )
    } else {
        let config = Config::load(path, node)?;
        let keys = Keys::load(&config.key)?;
        // As for an agent, the voter-set version of this host never decreases.
        membership_store::begin(&config)?;
        let mut setup = setup::of(&config, &keys);
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
    // Without an agent this host serves nothing.
    setup.guards.clear();
    setup.replace = replace;
    leave(setup, &lock_path, |left| {
        format!(
            "{interface}: responder loaded in {} mode, answers {}; pinned at {}\n",
            left.mode,
            Count(left.peers, "peer"),
            left.pins.display()
        )
    })
}

/// A responder that was left on its interface.
#[derive(Debug)]
pub(super) struct Left {
    /// How the responder is attached.
    pub(super) mode: &'static str,
    /// Number of nodes that the responder answers.
    pub(super) peers: usize,
    /// Remaining time for which the acceptor abstains.
    pub(super) abstains: Duration,
    /// Path of the pins.
    pub(super) pins: PathBuf,
}

/// Loads the responder by `setup`, prints the text that `describe` returns, and leaves the
/// responder pinned. `lock` keeps agents of the same instance from starting meanwhile.
pub(super) fn leave(
    setup: Setup,
    lock: &Path,
    describe: impl FnOnce(&Left) -> String,
) -> Result<()> {
    let _lock = InstanceLock::take(lock, &setup.instance)?;
    let peers = setup
        .peers
        .iter()
        .filter(|(_, link, _)| setup.links.iter().any(|own| own.id == *link));
    let peers = peers.count();
    // The new responder guards nothing, so no address of an earlier agent may remain.
    let dataplane = Dataplane::load(setup, |_, guarded| {
        resource_manager::remove_guarded(guarded)
    })?;
    dataplane.disown()?;
    let attached = dataplane.attached().iter().flatten().next();
    let left = Left {
        mode: attached.map_or("", |attached| attached.how.name()),
        peers,
        abstains: dataplane.votes_from().since(clock::now()),
        pins: dataplane.pins().dir().to_owned(),
    };
    output::print(&describe(&left))?;
    dataplane.persist();
    Ok(())
}

/// Returns the lock file of an instance without a configuration.
pub(super) fn lock_of(instance: &str) -> PathBuf {
    Path::new(config::DEFAULT_RUN).join(format!("{instance}.lock"))
}

/// Returns the setup of a responder without peers, on the first address of `interface`.
fn nobody(interface: &str, mode: XdpMode) -> Result<Setup> {
    let mut netlink = Netlink::open()?;
    let index = netlink.interface(interface)?.index;
    let addresses = netlink.addresses(index)?;
    let address: IpAddr = addresses
        .first()
        .map(|prefix| prefix.address)
        .with_context(|| format!("{interface} has no address: add one with `ip address add`"))?;
    Ok(Setup {
        instance: DEFAULT_INSTANCE.to_owned(),
        cluster: ClusterId::default(),
        node: NodeId::default(),
        port: heartbeat_common::wire::DEFAULT_PORT,
        timeout: Duration::from_secs(1),
        max_lease: config::DEFAULT_MAX_LEASE,
        keys: Vec::new(),
        key_mark: key::mark(&[]),
        links: vec![SetupLink {
            id: LinkId(0),
            interface: interface.to_owned(),
            address,
            mode,
        }],
        peers: Vec::new(),
        guards: Vec::new(),
        replace: false,
        groups: Vec::new(),
        voter_set: Default::default(),
    })
}

/// Detaches and unpins `instance`. Without a name: the default instance, or the only one.
pub fn unload(instance: Option<&str>) -> Result<()> {
    let loaded = pins::instances()?;
    let instance = match (instance, loaded.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, []) => {
            output::print("nothing is loaded\n")?;
            return Ok(());
        }
        (None, [only]) => only.clone(),
        (None, several) if several.iter().any(|name| name == DEFAULT_INSTANCE) => {
            DEFAULT_INSTANCE.to_owned()
        }
        (None, several) => bail!(
            "several instances are loaded: {}; say which one with --instance",
            several.join(", ")
        ),
    };
    let _lock = InstanceLock::take(&lock_of(&instance), &instance)?;
    let pins = Pins::of(&instance);
    // The instance's lock may be elsewhere, if its configuration sets another path.
    let claim = match pins.dir().exists() {
        true => Some(pins.claim_what_is_there()?.with_context(|| {
            format!("an agent runs as instance `{instance}`: stop it, and it unloads itself")
        })?),
        false => None,
    };
    dataplane::must_be_here(&pins, "unload it")?;
    // The guard goes last: it still protects an address that could not be removed.
    resource_manager::remove_guarded(&dataplane::guarded(&pins)).with_context(|| {
        format!(
            "an address of instance `{instance}` could not be removed, so its guard stays: remove \
             it (`ip address del`), then unload"
        )
    })?;
    let text = if claim.is_some() && pins.remove()? {
        format!("instance `{instance}` unloaded\n")
    } else {
        format!("instance `{instance}` is not loaded\n")
    };
    output::print(&text)?;
    Ok(())
}
