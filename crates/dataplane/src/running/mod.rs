//! The loaded programs: the changes to their maps while they run, and the values read from them.

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
        execute::{Inputs, Started, execute},
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
    /// The place in the map of each row of a peer.
    places: Vec<RowPlace>,
    verified: bool,
    /// The reason why there are no programs for the guard at the sockets.
    no_sockets: Option<String>,
    socket_guard: SocketGuard,
    persistent: bool,
    /// The last field: the claim must outlive the removal of the pins.
    _claim: Claim,
}

impl Dataplane {
    /// Loads the programs, fills the maps, attaches to all links and guarded interfaces, and pins
    /// everything. On failure nothing stays.
    ///
    /// If an earlier run of the same instance left its pins, this one continues with its votes and
    /// its guard. `sweep` is called before the pins change, with the time until which each guarded
    /// address may still be served because of them. `sweep` removes the addresses that may not be
    /// served.
    pub fn load(
        setup: Setup,
        sweep: impl Fn(&[Option<Boottime>], &[GuardRow]) -> Result<()>,
    ) -> Result<Self> {
        clock::must_have_no_offset()?;
        let interfaces = (discovery::links(&setup)?, discovery::guarded(&setup));
        let pins = Pins::of(&setup.instance);
        let object = programs::fingerprint(object::object()?);
        let (seen, claim) = Observation::of(&setup, &pins, object, interfaces)?;
        let plan = Plan::new(&setup, &seen)?;
        kernel::log_missing_features();
        let inputs = Inputs {
            object,
            pins,
            claim,
            sweep: &sweep,
        };
        let started = execute(&plan, setup, &seen, inputs)?;
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

    /// Accepts these keys from others instead of the present ones, from the next packet on: all of
    /// them or, on a failure, none.
    pub fn take_keys(&mut self, keys: &[(u8, SipKey)], mark: u32) -> Result<()> {
        let Self { ebpf, setup, .. } = self;
        fill::rekey(ebpf, keys)?;
        siphash::wipe(&mut setup.keys);
        setup.keys = keys.to_vec();
        setup.key_mark = mark;
        Ok(())
    }

    /// Guards further addresses, closed, after the attachments of [`Dataplane::guarding`]; and adds
    /// further groups.
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

    /// The time until which each guarded address may be served at the start, because an earlier run
    /// was granted the lease.
    pub fn inherited(&self) -> &[Option<Boottime>] {
        &self.inherited
    }

    /// The time until which each group may be served at the start, by its lease alone.
    pub fn inherited_groups(&self) -> &[Option<Boottime>] {
        &self.inherited_groups
    }

    /// Whether the kernel had to verify the programs: an earlier run of the same object left none.
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// The mode of each link's program, in the order of the links; `None` where the interface was
    /// missing.
    pub fn attached(&self) -> &[Option<Attachment>] {
        &self.attached
    }

    /// The state of the guard at the sockets after its attachment.
    pub fn socket_guard(&self) -> &SocketGuard {
        &self.socket_guard
    }

    /// A watch that notices when another process detaches the guard at the sockets.
    pub fn socket_watch(&self) -> SocketWatch {
        SocketWatch::new(self.pins.clone(), self.socket_guard.clone())
    }

    /// The time from which the acceptor votes; in the past if it votes already.
    pub fn votes_from(&self) -> Boottime {
        self.votes_from
    }

    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The loaded object, for `aya_log::EbpfLogger`.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Maps the rows of peers. Each call makes a mapping of its own.
    pub fn peer_rows(&self) -> Result<PeerRows> {
        let map = array(&self.ebpf, "peers")?;
        PeerRows::map(map.fd(), rows_of(map)?, self.places.clone())
    }

    /// Checks that there is room for these peers, in the order of their rows.
    pub fn has_room(&self, peers: &[(NodeId, LinkId, IpAddr)]) -> Result<()> {
        // One more row, for this node itself.
        row_allocator::room(peers.len() + 1, rows_of(array(&self.ebpf, "peers")?)?)
    }

    /// Answers these peers from now on, and no others. The rows of remaining peers keep their
    /// contents. Views that were mapped before have them by their old numbers.
    pub fn reform(&mut self, peers: Vec<(NodeId, LinkId, IpAddr)>) -> Result<()> {
        self.has_room(&peers)?;
        self.setup.peers = peers;
        self.places = row_allocator::place(&mut self.ebpf, &self.setup)?;
        row_allocator::allow(&mut self.ebpf, &self.setup, &self.places)
    }

    pub fn local(&self) -> Result<LocalView> {
        LocalView::map(array(&self.ebpf, "local")?.fd())
    }

    /// Announces that no agent is present or about to start.
    pub fn disown(&self) -> Result<()> {
        self.local()?.write(&fill::silent(&self.setup));
        Ok(())
    }

    /// Maps the guard's rows. Each call makes a mapping of its own, like [`Dataplane::peer_rows`].
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

    /// A reader of this node's acceptor. It can be opened any number of times.
    pub fn slots(&self) -> Result<LeaseSlots> {
        LeaseSlots::open(&self.pins, self.votes_from)
    }

    /// The requests of the agent with this incarnation and nonce to this node's acceptor.
    pub fn own_vote(
        &self,
        key: (u8, SipKey),
        incarnation: Incarnation,
        nonce: u64,
    ) -> Result<OwnVote> {
        OwnVote::open(&self.pins, &self.setup, key, incarnation, nonce)
    }

    /// The sockets whose probes the kernel signs. The map can be opened any number of times.
    pub fn senders(&self) -> Result<Senders> {
        Senders::open(&self.pins)
    }

    /// The deadline events. The ring can be taken once.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>> {
        self.take_ring("events")
    }

    /// The votes of peers. The ring can be taken once.
    pub fn take_votes(&mut self) -> Result<RingBuf<MapData>> {
        self.take_ring("votes")
    }

    /// The program that reports the end of processes. It can be taken once. Only empty maps outlive
    /// the returned value.
    pub fn exit_program(&mut self) -> ExitProgram {
        ExitProgram::attach(&mut self.ebpf)
    }

    fn take_ring(&mut self, name: &str) -> Result<RingBuf<MapData>> {
        let map = self
            .ebpf
            .take_map(name)
            .with_context(|| format!("the map `{name}` is gone"))?;
        let mut ring: RingBuf<MapData> = map.try_into()?;
        // Events for an earlier agent are dropped.
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

    /// Packets with this `verdict`, over all CPUs.
    pub fn count(&self, verdict: Verdict) -> Result<u64> {
        self.counter(verdict as u32)
    }

    /// Replies of peers with votes for which the ring buffer to the agent had no room.
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
        // An agent that panics leaves its guard behind: the guard closes on time.
        if !self.persistent && !std::thread::panicking() {
            self.pins.remove_or_log();
        }
    }
}
