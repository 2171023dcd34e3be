//! The loaded programs: what they are told while they run, and what is read of them.

mod guarding;
mod hotplug;

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{HashMap, Map, MapData, PerCpuArray, RingBuf},
};
use heartbeat_common::{
    maps::{Address, GuardRow, PeerSlot},
    siphash::{self, SipKey},
    time::Boottime,
    verdict::{self, Verdict},
    wire::{GroupId, Incarnation, LinkId, NodeId},
};
use heartbeat_sys::host::clock;

pub use guarding::Guarding;
pub use hotplug::Hotplug;

use crate::{
    attach::{
        interface,
        lookup::check_interface,
        sockets::{self, Scope, SocketGuard, SocketWatch},
        xdp::Wanted,
    },
    exits::ExitProgram,
    maps::{
        acceptor::{LeaseSlots, OwnVote, longest_grant},
        access, fill, row_allocator,
        senders::Senders,
        view::{GuardView, LocalView, PeerRows},
    },
    object::{
        self, kernel,
        programs::{self, Programs},
    },
    pins::{
        Claim, Pins,
        names::{tc_pin, xdp_pin},
        origin::must_be_here,
    },
    setup::{Attachment, Setup, SetupGuard},
    start::{
        adopted::{self, AdoptedState, BOUND, KEPT, LOGS},
        discovery,
    },
};

/// The loaded, attached and pinned programs.
///
/// Dropping it removes the pins and so detaches the programs, unless [`Dataplane::persist`] was
/// called.
#[derive(Debug)]
pub struct Dataplane {
    ebpf: Ebpf,
    setup: Setup,
    pins: Pins,
    attached: Vec<Option<Attachment>>,
    inherited: Vec<Option<Boottime>>,
    inherited_groups: Vec<Option<Boottime>>,
    votes_from: Boottime,
    /// Of each row of a peer its place in the map.
    places: Vec<u32>,
    verified: bool,
    /// Why there are no programs for the guard at the sockets.
    no_sockets: Option<String>,
    socket_guard: SocketGuard,
    persistent: bool,
    /// Last: the pins are ours until they are gone.
    _claim: Claim,
}

impl Dataplane {
    /// Loads the programs, fills the maps, attaches to all links and guarded interfaces and pins
    /// everything. On failure nothing stays.
    ///
    /// Where an earlier run of the same instance left its pins, this one goes on with its votes and its
    /// guard. `sweep` is called before anything changes, with the time until which each guarded address
    /// may still be served because of it: it removes those that may not be.
    pub fn load(
        setup: Setup,
        sweep: impl Fn(&[Option<Boottime>], &[GuardRow]) -> Result<()>,
    ) -> Result<Self> {
        clock::must_be_the_kernel_s()?;
        let links = discovery::links(&setup)?;
        let guarded = discovery::guarded(&setup);
        let pins = Pins::of(&setup.instance);
        let claim = pins.claim()?;
        must_be_here(&pins, "start it")?;
        kernel::tell_what_it_lacks();
        let object = programs::fingerprint(object::object()?);
        let adopted = AdoptedState::read(&pins, &setup, object);
        let gone_by = adopted
            .as_ref()
            .map_or(0, |adopted| adopted.local.config_version);
        ensure!(
            gone_by <= setup.electorate.version,
            "this host votes by config_version {gone_by} already, and must not go back to {}\n  give the cluster's \
             present one, with all of its nodes",
            setup.electorate.version
        );
        let granted = longest_grant(&pins).unwrap_or_default();
        ensure!(
            granted <= clock::now().after(setup.max_lease),
            "this host's acceptor has granted leases that last longer than max_lease ({} ms), which it would not wait for if it \
             lost its votes\n  start it again in {} ms, or with the max_lease that it had",
            setup.max_lease.as_millis(),
            granted.since(clock::now()).as_millis()
        );
        let inherited: Vec<_> = setup
            .guards
            .iter()
            .zip(&guarded)
            .map(|(guard, index)| adopted.as_ref()?.open_until(guard, (*index)?))
            .collect();
        let served = |group: &GroupId| adopted.as_ref()?.served_until(*group);
        let inherited_groups = setup.groups.iter().map(served).collect();
        // Also where there is nothing else to go on with.
        let stale = adopted::guarded(&pins);
        sweep(&inherited, &stale)?;
        let same = adopted.as_ref().is_some_and(|adopted| adopted.programs);
        let bound =
            |name: &str| BOUND.contains(&name) || name == LOGS.1 || name.starts_with("prog_");
        let goes_on =
            |name: &str| KEPT.contains(&name) || name.starts_with("link_") || same && bound(name);
        pins.remove_all_but(|name| adopted.is_some() && goes_on(name))?;
        let none = vec![None; inherited.len()];
        let scope = Scope::find();
        let ebpf = match open(&setup, &pins, same, scope.as_ref().ok()) {
            Ok(ebpf) => ebpf,
            Err(error) => {
                // The guard goes with the pins, so it stays if what it guards could not be removed.
                sweep(&none, &stale).and_then(|()| pins.remove())?;
                return Err(error);
            }
        };
        // From here on dropping it on a failure cleans up.
        let mut dataplane = Self {
            ebpf,
            setup,
            pins,
            attached: Vec::new(),
            inherited,
            inherited_groups,
            votes_from: Boottime::default(),
            places: Vec::new(),
            verified: !same,
            no_sockets: scope.err().map(|error| format!("{error:#}")),
            socket_guard: SocketGuard::Idle,
            persistent: false,
            _claim: claim,
        };
        if let Err(error) = dataplane.start(adopted.as_ref(), object, &links, &guarded) {
            if let Err(error) = sweep(&none, &stale) {
                log::error!("could not remove the addresses of an earlier run: {error:#}");
                dataplane.persist();
            }
            return Err(error);
        }
        if adopted.is_some() {
            log::info!(
                "went on with the votes and the guard that an earlier run left at {}",
                dataplane.pins.dir().display()
            );
        }
        Ok(dataplane)
    }

    fn start(
        &mut self,
        adopted: Option<&AdoptedState>,
        object: u64,
        links: &[Option<u32>],
        guarded: &[Option<u32>],
    ) -> Result<()> {
        let Self {
            ebpf, setup, pins, ..
        } = self;
        self.places = place(ebpf, setup)?;
        self.votes_from = fill::fill(ebpf, setup, adopted, object, &self.places, links, guarded)?;
        if self.verified {
            programs::load(ebpf, pins)?;
        } else {
            self.peer_rows_to_forget()?.forget_replies();
        }
        self.load_sockets();
        self.pin_maps()?;
        self.attach()?;
        if adopted.is_none() {
            // Whatever answered here before has detached by now, and its votes are counted from now.
            self.votes_from = fill::abstain(&mut self.ebpf, &self.setup)?;
        }
        Ok(())
    }

    /// Without these programs the agent runs all the same.
    fn load_sockets(&mut self) {
        if self.no_sockets.is_none()
            && let Err(error) = sockets::load(&mut self.ebpf, &self.pins)
        {
            self.no_sockets = Some(format!("{error:#}"));
        }
    }

    /// Has the guard reach the sockets, if anything is guarded.
    fn guard_sockets(&mut self) {
        if self.setup.guards.is_empty() {
            return;
        }
        let attached = match &self.no_sockets {
            Some(why) => Err(why.clone()),
            None => sockets::attach(&self.pins).map_err(|error| format!("{error:#}")),
        };
        self.socket_guard = match attached {
            Ok(root) => {
                log::info!("{}: guard attached to the sockets", root.display());
                SocketGuard::Attached(root)
            }
            Err(why) => {
                log::warn!(
                    "no guard at the sockets: local processes and containers reach an address here for as \
                     long as it stays, also without the lease: {why}"
                );
                SocketGuard::Missing(why)
            }
        };
    }

    fn pin_maps(&self) -> Result<()> {
        // Names with a dot are the object's own data sections.
        for (name, map) in self.ebpf.maps().filter(|(name, _)| !name.starts_with('.')) {
            let path = self.pins.path(&name.to_lowercase());
            // Else the loader has pinned it, or found it pinned.
            if !path.exists() {
                map.pin(path)
                    .with_context(|| format!("could not pin the map `{name}`"))?;
            }
        }
        Ok(())
    }

    fn attach(&mut self) -> Result<()> {
        self.guard_sockets();
        let Self { pins, setup, .. } = self;
        let mut programs = Programs::open(pins)?;
        let mut used = Vec::new();
        if !setup.guards.is_empty() {
            used.extend(sockets::link_pins());
        }
        // The guard first: while anything is exchanged, no address is without it.
        for name in setup.guarded_interfaces() {
            if let Ok(index) = check_interface(name) {
                interface::unpin_strangers(name, index, pins)?;
                guard_interface(&mut programs, setup, pins, name, &mut used)?;
            }
        }
        for link in &setup.links {
            let name = &link.interface;
            // Where it is missing, that was said.
            let Ok(index) = check_interface(name) else {
                self.attached.push(None);
                continue;
            };
            interface::unpin_strangers(name, index, pins)?;
            let wanted = Wanted {
                mode: link.mode,
                replace: setup.replace,
            };
            let attached = interface::answer(&mut programs, pins, name, wanted)?;
            log::info!("{name}: responder attached in {} mode", attached.how.name());
            used.push(tc_pin("stamp_probe", name));
            used.push(xdp_pin(name, attached.how));
            self.attached.push(Some(attached));
        }
        // What an earlier configuration needed and this one does not.
        pins.remove_all_but(|name| !name.starts_with("link_") || used.iter().any(|pin| pin == name))
    }

    /// Takes these keys from others instead of those so far, from the next packet on: all of them or, on a failure,
    /// none.
    pub fn take_keys(&mut self, keys: &[(u8, SipKey)], mark: u32) -> Result<()> {
        let Self { ebpf, setup, .. } = self;
        fill::rekey(ebpf, keys)?;
        siphash::wipe(&mut setup.keys);
        setup.keys = keys.to_vec();
        setup.key_mark = mark;
        Ok(())
    }

    /// Guards further addresses, closed, for which what [`Dataplane::guarding`] says is attached; and serves further
    /// groups.
    pub fn guard_more(
        &mut self,
        guards: Vec<SetupGuard>,
        groups: impl IntoIterator<Item = GroupId>,
    ) -> Result<()> {
        for group in groups {
            fill::serve_more(&mut self.ebpf, self.setup.groups.len(), group)?;
            self.setup.groups.push(group);
        }
        for guard in guards {
            let ifindex = check_interface(&guard.interface)?;
            fill::guard_more(&mut self.ebpf, &guard, ifindex)?;
            self.setup.guards.push(guard);
        }
        if self.socket_guard == SocketGuard::Idle {
            self.guard_sockets();
        }
        Ok(())
    }

    /// The guarded addresses.
    pub fn guards(&self) -> &[SetupGuard] {
        &self.setup.guards
    }

    /// Until when each guarded address may be served already, because an earlier run was granted the
    /// lease.
    pub fn inherited(&self) -> &[Option<Boottime>] {
        &self.inherited
    }

    /// The same for each group, by its lease alone.
    pub fn inherited_groups(&self) -> &[Option<Boottime>] {
        &self.inherited_groups
    }

    /// Whether the kernel had to verify the programs: an earlier run of the same object left none.
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// How each link's program was attached, in the order of the links; `None` where its interface was
    /// missing.
    pub fn attached(&self) -> &[Option<Attachment>] {
        &self.attached
    }

    /// Whether the guard reached the sockets when it was put there.
    pub fn socket_guard(&self) -> &SocketGuard {
        &self.socket_guard
    }

    /// Notices when somebody takes that guard off.
    pub fn socket_watch(&self) -> SocketWatch {
        SocketWatch::new(self.pins.clone(), self.socket_guard.clone())
    }

    /// When the acceptor votes; in the past if it does already.
    pub fn votes_from(&self) -> Boottime {
        self.votes_from
    }

    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// For `aya_log::EbpfLogger`.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Can be called any number of times: each is a mapping of its own.
    pub fn peer_rows(&self) -> Result<PeerRows> {
        let map = self.array("peers")?;
        PeerRows::map(map.fd(), rows_of(map)?, self.places.clone())
    }

    fn peer_rows_to_forget(&self) -> Result<PeerRows> {
        let map = self.array("peers")?;
        PeerRows::map_writable(map.fd(), rows_of(map)?, self.places.clone())
    }

    /// Whether there is room for these peers, in the order of their rows.
    pub fn has_room(&self, peers: &[(NodeId, LinkId, IpAddr)]) -> Result<()> {
        // One for this node itself.
        row_allocator::room(peers.len() + 1, rows_of(self.array("peers")?)?)
    }

    /// Answers these peers from now on, and no others; rows of those that were there stay what they are. What was mapped
    /// before has them by their old numbers.
    pub fn reform(&mut self, peers: Vec<(NodeId, LinkId, IpAddr)>) -> Result<()> {
        self.has_room(&peers)?;
        self.setup.peers = peers;
        self.places = place(&mut self.ebpf, &self.setup)?;
        row_allocator::allow(&mut self.ebpf, &self.setup, &self.places)
    }

    pub fn local(&self) -> Result<LocalView> {
        LocalView::map(self.array("local")?.fd())
    }

    /// Says that no agent is there, nor is about to come.
    pub fn disown(&self) -> Result<()> {
        self.local()?.write(&fill::silent(&self.setup));
        Ok(())
    }

    /// Can be called any number of times, like [`Dataplane::peer_rows`].
    pub fn guard(&self) -> Result<GuardView> {
        let map = self.ebpf.map("vips").context("the map `vips` is gone")?;
        let vips: HashMap<_, Address, u32> = map.try_into()?;
        let row = |guard: &SetupGuard| {
            let index = vips.get(&Address::from(guard.address.address), 0)?;
            anyhow::Ok(index as usize)
        };
        let rows = self.setup.guards.iter().map(row).collect::<Result<_>>()?;
        GuardView::map(self.array("guard")?.fd(), rows)
    }

    /// This node's acceptor, to be read. Can be called any number of times.
    pub fn slots(&self) -> Result<LeaseSlots> {
        LeaseSlots::open(&self.pins, self.votes_from)
    }

    /// This node's acceptor, to be asked by the agent with this incarnation and nonce.
    pub fn own_vote(
        &self,
        key: (u8, SipKey),
        incarnation: Incarnation,
        nonce: u64,
    ) -> Result<OwnVote> {
        OwnVote::open(&self.pins, &self.setup, key, incarnation, nonce)
    }

    /// Which sockets the kernel signs probes of. Can be called any number of times.
    pub fn senders(&self) -> Result<Senders> {
        Senders::open(&self.pins)
    }

    /// The deadline events. Can be taken once.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>> {
        self.take_ring("events")
    }

    /// The votes that peers gave. Can be taken once.
    pub fn take_votes(&mut self) -> Result<RingBuf<MapData>> {
        self.take_ring("votes")
    }

    /// What tells of the end of processes. To be taken once. Nothing of it outlives what is returned but empty
    /// maps.
    pub fn exit_program(&mut self) -> ExitProgram {
        ExitProgram::attach(&mut self.ebpf)
    }

    fn take_ring(&mut self, name: &str) -> Result<RingBuf<MapData>> {
        let map = self
            .ebpf
            .take_map(name)
            .with_context(|| format!("the map `{name}` is gone"))?;
        let mut ring: RingBuf<MapData> = map.try_into()?;
        // What was told to an earlier agent.
        while ring.next().is_some() {}
        Ok(ring)
    }

    /// Packets by verdict, over all CPUs.
    pub fn counters(&self) -> Result<BTreeMap<&'static str, u64>> {
        let verdicts = Verdict::ALL.iter();
        verdicts
            .map(|verdict| Ok((verdict.name(), self.count(*verdict)?)))
            .collect()
    }

    /// Packets that met `verdict`, over all CPUs.
    pub fn count(&self, verdict: Verdict) -> Result<u64> {
        self.counter(verdict as u32)
    }

    /// Answers of peers whose votes found no room on their way to the agent.
    pub fn votes_lost(&self) -> Result<u64> {
        self.counter(verdict::VOTES_LOST)
    }

    fn counter(&self, index: u32) -> Result<u64> {
        let map = self
            .ebpf
            .map("counters")
            .context("the map `counters` is gone")?;
        let counters: PerCpuArray<_, u64> = map.try_into()?;
        Ok(counters.get(&index, 0)?.iter().sum())
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
        // An agent that panics leaves its guard behind: it closes on time.
        if !self.persistent
            && !std::thread::panicking()
            && let Err(error) = self.pins.remove()
        {
            log::error!("could not remove the pins: {error:#}; `heartbeat unload` tries again");
        }
    }
}

/// Has the guard watch an interface. The names of its pins go to `used`.
fn guard_interface(
    programs: &mut Programs,
    setup: &Setup,
    pins: &Pins,
    name: &str,
    used: &mut Vec<String>,
) -> Result<()> {
    let is_link = setup.is_link(name);
    let attached = interface::guard(programs, pins, name, is_link, setup.replace)?;
    used.push(tc_pin("guard_egress", name));
    if let Some(attached) = attached {
        log::info!("{name}: guard attached in {} mode", attached.how.name());
        used.push(xdp_pin(name, attached.how));
    }
    Ok(())
}

/// How many rows an array has.
fn rows_of(map: &MapData) -> Result<usize> {
    Ok(map.info()?.max_entries() as usize)
}

/// Where the peers' rows are to be, beside what the maps have.
fn place(ebpf: &mut Ebpf, setup: &Setup) -> Result<Vec<u32>> {
    let capacity = match access::map(ebpf, "peers")? {
        Map::Array(map) => rows_of(map)?,
        _ => anyhow::bail!("`peers` is no array map"),
    };
    let there: HashMap<_, Address, PeerSlot> = access::map(ebpf, "allow")?.try_into()?;
    row_allocator::fit(setup, &row_allocator::read(&there)?, capacity)
}

/// Makes the maps, but for those that are kept and found pinned; `same` are all of the programs'
/// own. `scope` is that of the guard at the sockets.
fn open(setup: &Setup, pins: &Pins, same: bool, scope: Option<&Scope>) -> Result<Ebpf> {
    let entries = u32::try_from(row_allocator::capacity(setup)).context("too many peers")?;
    let cookie = scope.map_or(0, |scope| scope.cookie());
    let mut loader = EbpfLoader::new();
    loader
        .override_global("NETNS_COOKIE", &cookie, true)
        .map_max_entries("peers", entries)
        .map_max_entries("watch", entries)
        .verifier_log_level(VerifierLogLevel::STATS);
    let bound = BOUND.map(|name| (name, name)).into_iter().chain([LOGS]);
    let kept = KEPT.map(|name| (name, name)).into_iter();
    for (name, pin) in kept.chain(bound.filter(|_| same)) {
        loader.map_pin_path(name, pins.path(pin));
    }
    loader
        .load(object::object()?)
        .context("could not create the BPF maps (root, or CAP_BPF and CAP_NET_ADMIN, is needed)")
}
