//! The loaded programs: what they are told while they run, and what is read of them.

mod guarding;
mod hotplug;

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
};
use heartbeat_common::{
    index::{GroupIndex, RowPlace},
    maps::{Address, GuardRow},
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
        lookup::check_interface,
        sockets::{self, SocketGuard, SocketWatch},
    },
    exits::ExitProgram,
    maps::{
        acceptor::{LeaseSlots, OwnVote},
        access::{array, rows_of},
        fill,
        guard_place::GuardPlace,
        row_allocator,
        senders::Senders,
        view::{GuardView, LocalView, PeerRows},
    },
    object::{self, kernel, programs},
    pins::{Pins, directory::Claim},
    setup::{Attachment, Setup, SetupGuard},
    start::{
        discovery,
        execute::{Means, Started, execute},
        observe::Observation,
        plan::{Keep, Plan},
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
    places: Vec<RowPlace>,
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
    /// Where an earlier run of the same instance left its pins, this one goes on with its votes and
    /// its guard. `sweep` is called before the pins change, with the time until which each guarded
    /// address may still be served because of it: it removes those that may not be.
    pub fn load(
        setup: Setup,
        sweep: impl Fn(&[Option<Boottime>], &[GuardRow]) -> Result<()>,
    ) -> Result<Self> {
        clock::must_be_the_kernel_s()?;
        let interfaces = (discovery::links(&setup)?, discovery::guarded(&setup));
        let pins = Pins::of(&setup.instance);
        let object = programs::fingerprint(object::object()?);
        let (seen, claim) = Observation::of(&setup, &pins, object, interfaces)?;
        let plan = Plan::new(&setup, &seen)?;
        kernel::tell_what_it_lacks();
        let means = Means {
            object,
            pins,
            claim,
            sweep: &sweep,
        };
        let started = execute(&plan, setup, &seen, means)?;
        if plan.keep != Keep::Nothing {
            log::info!(
                "took over leases and guard of the previous agent ({})",
                started.made.pins.dir().display()
            );
        }
        Ok(Self::of(started, plan))
    }

    fn of(Started { ebpf, claim, made }: Started, plan: Plan) -> Self {
        Self {
            ebpf,
            setup: made.setup,
            pins: made.pins,
            attached: made.attached,
            inherited: plan.inherited,
            inherited_groups: plan.inherited_groups,
            votes_from: made.votes_from,
            places: made.places,
            verified: plan.keep != Keep::Programs,
            no_sockets: made.no_sockets,
            socket_guard: made.socket_guard,
            persistent: false,
            _claim: claim,
        }
    }

    /// Takes these keys from others instead of those so far, from the next packet on: all of them
    /// or, on a failure, none.
    pub fn take_keys(&mut self, keys: &[(u8, SipKey)], mark: u32) -> Result<()> {
        let Self { ebpf, setup, .. } = self;
        fill::rekey(ebpf, keys)?;
        siphash::wipe(&mut setup.keys);
        setup.keys = keys.to_vec();
        setup.key_mark = mark;
        Ok(())
    }

    /// Guards further addresses, closed, for which what [`Dataplane::guarding`] says is attached;
    /// and serves further groups.
    pub fn guard_more(
        &mut self,
        guards: Vec<SetupGuard>,
        groups: impl IntoIterator<Item = GroupId>,
    ) -> Result<()> {
        for group in groups {
            let index = GroupIndex(self.setup.groups.len());
            fill::serve_more(&mut self.ebpf, index, group)?;
            self.setup.groups.push(group);
        }
        for guard in guards {
            let ifindex = check_interface(&guard.interface)?;
            fill::guard_more(&mut self.ebpf, &guard, ifindex)?;
            self.setup.guards.push(guard);
        }
        if self.socket_guard == SocketGuard::Idle && !self.setup.guards.is_empty() {
            self.socket_guard = sockets::guard(&self.pins, self.no_sockets.as_deref());
        }
        Ok(())
    }

    /// The guarded addresses.
    pub fn guards(&self) -> &[SetupGuard] {
        &self.setup.guards
    }

    /// Until when each guarded address may be served already, because an earlier run was granted
    /// the lease.
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

    /// How each link's program was attached, in the order of the links; `None` where its interface
    /// was missing.
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
        let map = array(&self.ebpf, "peers")?;
        PeerRows::map(map.fd(), rows_of(map)?, self.places.clone())
    }

    /// Whether there is room for these peers, in the order of their rows.
    pub fn has_room(&self, peers: &[(NodeId, LinkId, IpAddr)]) -> Result<()> {
        // One for this node itself.
        row_allocator::room(peers.len() + 1, rows_of(array(&self.ebpf, "peers")?)?)
    }

    /// Answers these peers from now on, and no others. The rows of peers that stay keep their
    /// contents; views that were mapped before have them by their old numbers.
    pub fn reform(&mut self, peers: Vec<(NodeId, LinkId, IpAddr)>) -> Result<()> {
        self.has_room(&peers)?;
        self.setup.peers = peers;
        self.places = row_allocator::place(&mut self.ebpf, &self.setup)?;
        row_allocator::allow(&mut self.ebpf, &self.setup, &self.places)
    }

    pub fn local(&self) -> Result<LocalView> {
        LocalView::map(array(&self.ebpf, "local")?.fd())
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
        let place = |guard: &SetupGuard| {
            let place = vips.get(&Address::from(guard.address.address), 0)?;
            anyhow::Ok(GuardPlace(place))
        };
        let places = self.setup.guards.iter().map(place);
        let places = places.collect::<Result<_>>()?;
        GuardView::map(array(&self.ebpf, "guard")?.fd(), places)
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

    /// The program that tells of the end of processes. To be taken once. Only empty maps outlive
    /// what is returned.
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
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        // An agent that panics leaves its guard behind: it closes on time.
        if !self.persistent && !std::thread::panicking() {
            self.pins.remove_or_tell();
        }
    }
}
