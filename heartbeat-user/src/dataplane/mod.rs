//! The kernel side as the agent sees it: loads the programs, fills the maps, attaches, pins, reads.
//!
//! Nothing here decides anything.

mod acceptor;
mod attach;
mod egress;
mod exits;
mod fill;
mod filter;
mod heritage;
mod kernel;
mod object;
mod pidfd;
pub mod pins;
mod setup;
mod view;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{Program, ProgramError},
};
use heartbeat_common::{
    maps::{Address, GuardRow},
    siphash::SipKey,
    time::Boottime,
    verdict::Verdict,
    wire::Incarnation,
};

pub use acceptor::{LeaseSlots, OwnVote};
pub use attach::Attached;
pub use exits::{Exit, ProcessExits, WatchError};
pub use pins::{Claim, Pins};
pub use setup::{Setup, SetupGuard, SetupLink};
pub use view::{GuardView, LocalView, PeerRows};

use crate::config::XdpMode;
pub use heritage::guarded;
use heritage::{Heritage, KEPT};

/// Those that answer, stamp and guard. What tells of processes is loaded when it is asked for.
const PROGRAMS: [&str; 4] = ["responder", "stamp_probe", "guard_ingress", "guard_egress"];

/// The loaded, attached and pinned programs.
///
/// Dropping it removes the pins and so detaches the programs, unless [`Dataplane::persist`] was
/// called.
#[derive(Debug)]
pub struct Dataplane {
    ebpf: Ebpf,
    setup: Setup,
    pins: Pins,
    attached: Vec<Attached>,
    inherited: Vec<Option<Boottime>>,
    votes_from: Boottime,
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
        let index = |name: &str| attach::check_interface(name);
        let links: Vec<u32> = setup
            .links
            .iter()
            .map(|link| index(&link.interface))
            .collect::<Result<_>>()?;
        let guarded: Vec<u32> = setup
            .guards
            .iter()
            .map(|guard| index(&guard.interface))
            .collect::<Result<_>>()?;
        let pins = Pins::of(&setup.instance);
        let claim = pins.claim()?;
        kernel::tell_what_it_lacks();
        let heritage = Heritage::read(&pins, &setup);
        let inherited: Vec<_> = setup
            .guards
            .iter()
            .zip(&guarded)
            .map(|(guard, index)| heritage.as_ref()?.open_until(guard, *index))
            .collect();
        // Also where there is nothing else to go on with.
        let stale = heritage::guarded(&pins);
        sweep(&inherited, &stale)?;
        let goes_on = |name: &str| KEPT.contains(&name) || name.starts_with("link_");
        pins.remove_all_but(|name| heritage.is_some() && goes_on(name))?;
        let none = vec![None; inherited.len()];
        let ebpf = match open(&setup, &pins) {
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
            votes_from: Boottime::default(),
            persistent: false,
            _claim: claim,
        };
        if let Err(error) = dataplane.start(heritage.as_ref(), &links, &guarded) {
            if let Err(error) = sweep(&none, &stale) {
                log::error!("could not remove the addresses of an earlier run: {error:#}");
                dataplane.persist();
            }
            return Err(error);
        }
        if heritage.is_some() {
            log::info!(
                "went on with the votes and the guard that an earlier run left at {}",
                dataplane.pins.dir().display()
            );
        }
        Ok(dataplane)
    }

    fn start(&mut self, heritage: Option<&Heritage>, links: &[u32], guarded: &[u32]) -> Result<()> {
        let Self { ebpf, setup, .. } = self;
        self.votes_from = fill::fill(ebpf, setup, heritage, links, guarded)?;
        self.load_programs()?;
        self.pin_maps()?;
        self.attach()?;
        if heritage.is_none() {
            // Whatever answered here before has detached by now, and its votes are counted from now.
            self.votes_from = fill::abstain(&mut self.ebpf, &self.setup)?;
        }
        Ok(())
    }

    fn load_programs(&mut self) -> Result<()> {
        let (ebpf, pins) = (&mut self.ebpf, &self.pins);
        for name in PROGRAMS {
            let program = ebpf
                .program_mut(name)
                .with_context(|| format!("the object has no program `{name}`"))?;
            load(program).with_context(|| format!("the kernel refused the program `{name}`"))?;
            program
                .pin(pins.path(&format!("prog_{name}")))
                .with_context(|| format!("could not pin the program `{name}`"))?;
        }
        Ok(())
    }

    fn pin_maps(&self) -> Result<()> {
        // Names with a dot are the object's own data sections.
        for (name, map) in self.ebpf.maps().filter(|(name, _)| !name.starts_with('.')) {
            let name = name.to_lowercase();
            if KEPT.contains(&name.as_str()) {
                // The loader has pinned it, or found it pinned.
                continue;
            }
            map.pin(self.pins.path(&name))
                .with_context(|| format!("could not pin the map `{name}`"))?;
        }
        Ok(())
    }

    fn attach(&mut self) -> Result<()> {
        let Self {
            ebpf, pins, setup, ..
        } = self;
        let mut used = Vec::new();
        // The guard first: while anything is exchanged, no address is without it.
        for name in setup.guarded_interfaces() {
            guard_interface(ebpf, setup, pins, name, &mut used)?;
        }
        for link in &setup.links {
            let name = &link.interface;
            egress::attach(ebpf, "stamp_probe", name, pins)?;
            let attached = attach::xdp(ebpf, "responder", name, link.mode, pins)?;
            log::info!("{name}: responder attached in {} mode", attached.name());
            used.push(egress::pin("stamp_probe", name));
            used.push(attach::xdp_pin(name, attached));
            self.attached.push(attached);
        }
        // What an earlier configuration needed and this one does not.
        pins.remove_all_but(|name| !name.starts_with("link_") || used.iter().any(|pin| pin == name))
    }

    /// Guards further addresses, closed, also on interfaces that had none so far.
    pub fn guard_more(&mut self, guards: Vec<SetupGuard>) -> Result<()> {
        let names = |setup: &Setup| -> Vec<String> {
            let names = setup.guarded_interfaces().into_iter();
            names.map(str::to_owned).collect()
        };
        let before = names(&self.setup);
        for guard in guards {
            let ifindex = attach::check_interface(&guard.interface)?;
            fill::guard_more(&mut self.ebpf, &guard, ifindex)?;
            self.setup.guards.push(guard);
        }
        let Self {
            ebpf, setup, pins, ..
        } = self;
        let after = names(setup);
        let mut used = Vec::new();
        for name in after.iter().filter(|name| !before.contains(name)) {
            guard_interface(ebpf, setup, pins, name, &mut used)?;
        }
        Ok(())
    }

    /// Until when each guarded address may be served already, because an earlier run was granted the
    /// lease.
    pub fn inherited(&self) -> &[Option<Boottime>] {
        &self.inherited
    }

    /// How each link's program is attached, in the order of the links.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
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
        PeerRows::map(self.array("peers")?.fd(), self.setup.rows())
    }

    pub fn local(&self) -> Result<LocalView> {
        LocalView::map(self.array("local")?.fd())
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

    /// The deadline events. Can be taken once.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>> {
        self.take_ring("events")
    }

    /// The votes that peers gave. Can be taken once.
    pub fn take_votes(&mut self) -> Result<RingBuf<MapData>> {
        self.take_ring("votes")
    }

    /// Hears of the end of processes. To be taken once, within a tokio runtime. Nothing of it outlives what is
    /// returned but empty maps.
    pub fn process_exits(&mut self) -> ProcessExits {
        ProcessExits::attach(&mut self.ebpf)
    }

    fn take_ring(&mut self, name: &str) -> Result<RingBuf<MapData>> {
        let map = self
            .ebpf
            .take_map(name)
            .with_context(|| format!("the map `{name}` is gone"))?;
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
    ebpf: &mut Ebpf,
    setup: &Setup,
    pins: &Pins,
    name: &str,
    used: &mut Vec<String>,
) -> Result<()> {
    egress::attach(ebpf, "guard_egress", name, pins)?;
    used.push(egress::pin("guard_egress", name));
    if setup.is_link(name) {
        // There the responder guards what comes in.
        return Ok(());
    }
    let attached = attach::xdp(ebpf, "guard_ingress", name, XdpMode::Auto, pins)?;
    log::info!("{name}: guard attached in {} mode", attached.name());
    used.push(attach::xdp_pin(name, attached));
    Ok(())
}

/// Makes the maps, but for those that are kept and found pinned.
fn open(setup: &Setup, pins: &Pins) -> Result<Ebpf> {
    let entries = u32::try_from(setup.rows()).context("too many peers")?;
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries("peers", entries)
        .map_max_entries("watch", entries)
        .verifier_log_level(VerifierLogLevel::STATS);
    for name in KEPT {
        loader.map_pin_path(name, pins.path(name));
    }
    loader
        .load(object::object()?)
        .context("could not create the BPF maps (root, or CAP_BPF and CAP_NET_ADMIN, is needed)")
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}
