//! Loads the object, fills its maps and runs its programs.

use std::{
    collections::BTreeMap,
    fmt,
    hash::Hash,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod, TestRun as _, TestRunOptions, TestRunResult,
    maps::{Array, HashMap, Map, MapData, RingBuf},
    programs::{SchedClassifier, Xdp},
};
use heartbeat_common::{
    lease::Slot,
    maps::{
        Address, Config, DeadlineEvent, Key, LeaseRow, Link, Local, PeerRow, PeerSlot, VoteEvent,
    },
    verdict::{Action, Verdict},
    wire::GroupId,
};
use heartbeat_user::dataplane::{LocalView, ProcessExits};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    counters::Counters,
    senders::Senders,
    world::{Program, ROWS, World},
};

/// An entry of `watch`, private to the programs: a timer, then three words.
type Watch = [u8; 32];
/// The offset of the field that says whether the timer runs, 0 or 1.
const WATCH_ARMED: usize = 16;

/// Sizes of maps that are chosen when the object is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Entries of `peers` and `watch`.
    pub rows: u32,
    /// Bytes of the event ring: a power of two and of whole pages. The object's own if `None`.
    pub event_bytes: Option<u32>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            rows: ROWS,
            event_bytes: None,
        }
    }
}

/// The programs in the kernel, and their maps.
pub struct Kernel {
    config: Array<MapData, Config>,
    keys: Array<MapData, Key>,
    local: Array<MapData, Local>,
    local_fd: OwnedFd,
    links: HashMap<MapData, Address, Link>,
    allow: HashMap<MapData, Address, PeerSlot>,
    senders: Senders,
    peers: Array<MapData, PeerRow>,
    leases: HashMap<MapData, u32, LeaseRow>,
    votes: RingBuf<MapData>,
    counters: Counters,
    events: RingBuf<MapData>,
    /// The timers end with the last descriptor.
    watch: Array<MapData, Watch>,
    leases_id: u32,
    ebpf: Ebpf,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The object with all its instructions is not worth printing.
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

/// The result of a program for one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub action: Action,
    /// The counter that grew.
    pub verdict: Option<Verdict>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

/// The responder alone, which several threads may run at once. A counter then does not tell whose
/// frame it counted.
#[derive(Debug)]
pub struct Responder<'a>(&'a Xdp);

impl Responder<'_> {
    /// The output of the program for `frame`, which arrives by [`super::IFINDEX`]: the frame itself
    /// if it is not answered.
    pub fn run(&self, frame: &[u8]) -> Result<Vec<u8>> {
        let mut out = vec![0; frame.len()];
        self.0.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        })?;
        Ok(out)
    }
}

impl Kernel {
    pub(super) fn load(object: &Path, sizes: Sizes) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("peers", sizes.rows)
            .map_max_entries("watch", sizes.rows)
            .map_max_entries("senders", Senders::ENTRIES);
        if let Some(bytes) = sizes.event_bytes {
            loader.map_max_entries("events", bytes);
        }
        let mut ebpf = loader
            .load_file(object)
            .with_context(|| format!("could not load {}", object.display()))?;
        let responder: &mut Xdp = ebpf
            .program_mut("responder")
            .context("no responder")?
            .try_into()?;
        responder
            .load()
            .context("the kernel refused the responder")?;
        let stamp: &mut SchedClassifier = ebpf
            .program_mut("stamp_probe")
            .context("no stamp_probe")?
            .try_into()?;
        stamp.load().context("the kernel refused stamp_probe")?;
        let leases_id = match ebpf.map("leases") {
            Some(Map::HashMap(map)) => map.info()?.id(),
            other => bail!("leases is no hash map but {other:?}"),
        };
        let local_fd = match ebpf.map("local") {
            Some(Map::Array(map)) => map.fd().as_fd().try_clone_to_owned()?,
            other => bail!("local is no array but {other:?}"),
        };
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        Ok(Self {
            config: take("config")?.try_into()?,
            keys: take("keys")?.try_into()?,
            local: take("local")?.try_into()?,
            local_fd,
            links: take("links")?.try_into()?,
            allow: take("allow")?.try_into()?,
            senders: Senders::new(take("senders")?.try_into()?),
            peers: take("peers")?.try_into()?,
            leases: take("leases")?.try_into()?,
            votes: take("votes")?.try_into()?,
            counters: Counters::new(take("counters")?.try_into()?)?,
            events: take("events")?.try_into()?,
            watch: take("watch")?.try_into()?,
            leases_id,
            ebpf,
        })
    }

    /// Makes the maps equal to `world`, except rows that it does not have.
    pub fn install(&mut self, world: &World) -> Result<()> {
        self.config.set(0, world.config, 0)?;
        for (slot, key) in (0..).zip(world.keys) {
            self.keys.set(slot, key, 0)?;
        }
        self.local.set(0, world.local, 0)?;
        replace(&mut self.links, &world.links)?;
        replace(&mut self.allow, &world.allow)?;
        self.senders.link = world.sender;
        for (index, row) in (0..).zip(&world.rows) {
            self.peers.set(index, row, 0)?;
        }
        let slots = world.slots.iter().map(|(group, slot)| {
            let row = LeaseRow {
                slot: *slot,
                ..LeaseRow::default()
            };
            (u32::from(group.0), row)
        });
        replace(&mut self.leases, &slots.collect())
    }

    /// Sets the socket of leaving frames: the agent's of this link, or a foreign one.
    pub fn send_by(&mut self, link: Option<u32>) {
        self.senders.link = link;
    }

    /// The reader of process exits. It exists once, and needs a tokio runtime.
    pub fn process_exits(&mut self) -> ProcessExits {
        ProcessExits::attach(&mut self.ebpf)
    }

    /// The agent's view of map `local`.
    pub fn local_view(&self) -> Result<LocalView> {
        LocalView::map(self.local_fd.as_fd())
    }

    /// The acceptor's slots.
    pub fn slots(&self) -> Result<BTreeMap<GroupId, Slot>> {
        let slot = |entry: Result<(u32, LeaseRow), _>| {
            let (group, row) = entry?;
            Ok((GroupId(u16::try_from(group)?), row.slot))
        };
        self.leases.iter().map(slot).collect()
    }

    /// The id of the map of slots, for `bpftool map`.
    pub const fn leases_id(&self) -> u32 {
        self.leases_id
    }

    /// The vote events since the last call.
    pub fn votes(&mut self) -> Result<Vec<VoteEvent>> {
        let mut votes = Vec::new();
        while let Some(item) = self.votes.next() {
            match bytemuck::try_pod_read_unaligned(&item) {
                Ok(event) => votes.push(event),
                Err(error) => bail!("a vote event of {} bytes: {error}", item.len()),
            }
        }
        Ok(votes)
    }

    pub fn responder(&self) -> Result<Responder<'_>> {
        let responder = self.ebpf.program("responder").context("no responder")?;
        Ok(Responder(responder.try_into()?))
    }

    /// Runs `program` on `frame`, which arrives or leaves by [`super::IFINDEX`].
    pub fn run(&mut self, program: Program, frame: &[u8]) -> Result<Run> {
        self.run_in(None, program, frame)
    }

    /// Runs the responder on `frame`, which arrives by an interface of the calling thread's
    /// namespace.
    pub fn receive_by(&mut self, ifindex: u32, frame: &[u8]) -> Result<Run> {
        // `struct xdp_md`, include/uapi/linux/bpf.h: data, data_end, data_meta, then the interface
        // and its receive queue.
        let context = [0, frame.len() as u32, 0, ifindex, 0, 0];
        let context = bytemuck::cast_slice(&context);
        self.run_in(Some(context), Program::Receive, frame)
    }

    fn run_in(&mut self, context: Option<&[u8]>, program: Program, frame: &[u8]) -> Result<Run> {
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: context,
            ..TestRunOptions::default()
        };
        let TestRunResult {
            return_value,
            data_size_out,
            ..
        } = self.test_run(program, options).with_context(|| {
            format!("could not test-run {program:?} with {} bytes", frame.len())
        })?;
        ensure!(
            data_size_out as usize == frame.len(),
            "{program:?} made a frame of {data_size_out} bytes out of one of {}",
            frame.len()
        );
        Ok(Run {
            action: action(program, return_value)?,
            verdict: self.counters.moved()?,
            frame: out,
        })
    }

    fn test_run(&mut self, program: Program, options: TestRunOptions<'_>) -> Result<TestRunResult> {
        let Self { ebpf, senders, .. } = self;
        let loaded = |name| ebpf.program(name).with_context(|| format!("no {name}"));
        match program {
            Program::Receive => {
                let responder = <&Xdp>::try_from(loaded("responder")?)?;
                Ok(responder.test_run(options)?)
            }
            Program::Stamp => {
                let stamp = <&SchedClassifier>::try_from(loaded("stamp_probe")?)?;
                senders.around(|| Ok(stamp.test_run(options)?))
            }
        }
    }

    pub fn row(&self, row: u32) -> Result<PeerRow> {
        Ok(self.peers.get(&row, 0)?)
    }

    /// Whether the deadline timer of `row` runs.
    pub fn watched(&self, row: u32) -> Result<bool> {
        let watch = self.watch.get(&row, 0)?;
        Ok(watch[WATCH_ARMED] != 0)
    }

    /// The next deadline event. `None` if there is none within `timeout`.
    pub fn wait_event(&mut self, timeout: Duration) -> Result<Option<DeadlineEvent>> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(event) = self.event()? {
                return Ok(Some(event));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut ring = [PollFd::new(self.events.as_fd(), PollFlags::POLLIN)];
            // Rounded up, lest the last millisecond be spent in a busy loop.
            poll(&mut ring, PollTimeout::try_from(left.as_millis() + 1)?)?;
        }
    }

    /// The next deadline event, if there is one.
    pub fn event(&mut self) -> Result<Option<DeadlineEvent>> {
        let Some(item) = self.events.next() else {
            return Ok(None);
        };
        match bytemuck::try_pod_read_unaligned(&item) {
            Ok(event) => Ok(Some(event)),
            Err(error) => bail!("an event of {} bytes: {error}", item.len()),
        }
    }
}

/// Bytes that a test run of `program` asks of a frame that begins like `frame`: an Ethernet header,
/// and at TC the IP header that it announces.
pub(super) fn shortest(program: Program, frame: &[u8]) -> usize {
    match (program, frame.get(12..14)) {
        (Program::Stamp, Some([0x08, 0x00])) => 34,
        (Program::Stamp, Some([0x86, 0xdd])) => 54,
        _ => 14,
    }
}

fn action(program: Program, code: u32) -> Result<Action> {
    // include/uapi/linux/bpf.h (XDP) and include/uapi/linux/pkt_cls.h (TC).
    Ok(match (program, code) {
        (Program::Receive, 1) | (Program::Stamp, 2) => Action::Drop,
        // TC_ACT_UNSPEC: other programs on the interface have their say, too.
        (Program::Receive, 2) | (Program::Stamp, u32::MAX) => Action::Pass,
        (Program::Receive, 3) => Action::Transmit,
        _ => bail!("{program:?} returned {code}"),
    })
}

fn replace<K: Pod + Eq + Hash, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    entries: &std::collections::HashMap<K, V>,
) -> Result<()> {
    let old: Vec<K> = map.keys().collect::<Result<_, _>>()?;
    for key in old.iter().filter(|key| !entries.contains_key(key)) {
        map.remove(key)?;
    }
    for (key, value) in entries {
        map.insert(key, value, 0)?;
    }
    Ok(())
}
