//! Two nodes on one cable, with the real programs at both ends.
//!
//! The near node probes and records, the far one answers without an agent. A second cable is for
//! the baseline, a program that passes everything. The guard has cables of its own, so that it adds
//! no cost to the others.

use std::{
    env, fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Program, Xdp, XdpMode as Attach},
};
use heartbeat_common::{
    siphash::SipKey,
    verdict::Verdict,
    wire::{ClusterId, DEFAULT_PORT, LinkId, NodeId},
};
use heartbeat_user::dataplane::{Dataplane, Setup, SetupLink, XdpMode};

use super::{guarded::Guarded, probes::VOTER_SET};
use crate::{
    cluster::OBJECT,
    netns::Namespace,
    workdir::{WorkDir, sweep},
};

pub(super) const CLUSTER: ClusterId = ClusterId(0x6265_6e63);
pub(super) const NEAR: NodeId = NodeId(1);
pub(super) const FAR: NodeId = NodeId(2);
pub(super) const LINK: LinkId = LinkId(0);
pub(super) const KEY_ID: u8 = 1;
pub(super) const PORT: u16 = DEFAULT_PORT;

pub(super) const NEAR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
pub(super) const FAR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
/// Also on the near node, but on no node's allow-list.
pub(super) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 9));
pub(super) const BASELINE_NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1));
pub(super) const BASELINE_FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2));
pub(super) const PREFIX_LEN: u8 = 24;

pub(super) const INTERFACE: &str = "hb0";
const BASELINE_INTERFACE: &str = "base0";
const BASELINE_PROGRAM: &str = "pass";

/// A key that protects nothing: no other host is on its network.
const KEY: [u8; 16] = *b"bench bench bend";
/// A timeout that no reply of a stalled machine exceeds, because the benchmark measures late
/// replies, too.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest lease that the two acceptors grant.
pub(super) const MAX_LEASE: Duration = Duration::from_secs(1);

/// A program whose runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Baseline,
    NearResponder,
    NearStamp,
    FarResponder,
    GuardIngress,
    GuardEgress,
    /// The responder of a link that carries a guarded address.
    GuardedLink,
}

/// The kernel's counts for a program. The kernel counts only while its statistics are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) count: u64,
    pub(super) nanos: u64,
}

/// The programs drop before their namespaces.
pub(super) struct Pair {
    near_plane: Dataplane,
    far_plane: Dataplane,
    pub(super) guarded: Guarded,
    baseline: Ebpf,
    pub(super) near: Namespace,
    pub(super) far: Namespace,
    _dir: WorkDir,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    pub(super) fn new() -> Result<Self> {
        sweep();
        let dir = WorkDir::new(false)?;
        let near = Namespace::new("near")?;
        let far = Namespace::new("far")?;
        join(&near, &far, INTERFACE, NEAR_ADDRESS, FAR_ADDRESS)?;
        join(&near, &far, BASELINE_INTERFACE, BASELINE_NEAR, BASELINE_FAR)?;
        near.add_address(INTERFACE, STRANGER, PREFIX_LEN)?;
        let load = |node: &Namespace, name, own, (peer, address)| {
            let instance = dir.instance(name);
            let peer = Some((peer, LINK, address));
            let setup = setup(instance, own, (LINK, INTERFACE), peer);
            node.enter(|| Dataplane::load(setup, |_, _| Ok(())))
        };
        let near_plane = load(&near, "near", (NEAR, NEAR_ADDRESS), (FAR, FAR_ADDRESS))?;
        let far_plane = load(&far, "far", (FAR, FAR_ADDRESS), (NEAR, NEAR_ADDRESS))?;
        Ok(Self {
            near_plane,
            far_plane,
            guarded: Guarded::new(&near, &far, &dir)?,
            baseline: far.enter(attach_baseline)?,
            near,
            far,
            _dir: dir,
        })
    }

    /// The asking node's programs and maps.
    pub(super) fn near_plane(&self) -> &Dataplane {
        &self.near_plane
    }

    pub(super) fn near_plane_mut(&mut self) -> &mut Dataplane {
        &mut self.near_plane
    }

    /// The answering node's programs and maps.
    pub(super) fn far_plane(&self) -> &Dataplane {
        &self.far_plane
    }

    /// The key that all nodes share, and its id.
    pub(super) fn key(&self) -> (u8, SipKey) {
        (KEY_ID, SipKey::from_bytes(KEY))
    }

    pub(super) fn runs(&mut self, watched: Watched) -> Result<Runs> {
        let (ebpf, name) = match watched {
            Watched::Baseline => (&mut self.baseline, BASELINE_PROGRAM),
            Watched::NearResponder => (self.near_plane.ebpf_mut(), "responder"),
            Watched::NearStamp => (self.near_plane.ebpf_mut(), "stamp_probe"),
            Watched::FarResponder => (self.far_plane.ebpf_mut(), "responder"),
            Watched::GuardIngress => (self.guarded.plane.ebpf_mut(), "guard_ingress"),
            Watched::GuardEgress => (self.guarded.plane.ebpf_mut(), "guard_egress"),
            Watched::GuardedLink => (self.guarded.plane.ebpf_mut(), "responder"),
        };
        let info = ebpf
            .program(name)
            .map(Program::info)
            .with_context(|| format!("there is no program {name}"))?
            .with_context(|| format!("cannot read the statistics of {name}"))?;
        Ok(Runs {
            count: info.run_count(),
            nanos: info.run_time().as_nanos() as u64,
        })
    }

    /// The number of packets with `verdict` in the program `watched`.
    pub(super) fn verdicts(&self, watched: Watched, verdict: Verdict) -> Result<u64> {
        let plane = match watched {
            Watched::FarResponder => &self.far_plane,
            Watched::GuardIngress | Watched::GuardEgress | Watched::GuardedLink => {
                &self.guarded.plane
            }
            Watched::Baseline | Watched::NearResponder | Watched::NearStamp => &self.near_plane,
        };
        let counters = plane.counters()?;
        Ok(counters.get(verdict.name()).copied().unwrap_or_default())
    }
}

/// Joins the two nodes by a cable with `interface` on both ends.
pub(super) fn join(
    near: &Namespace,
    far: &Namespace,
    interface: &str,
    near_address: IpAddr,
    far_address: IpAddr,
) -> Result<()> {
    near.route()
        .add_veth(interface, interface, far.fd())
        .with_context(|| format!("cannot join the nodes by {interface}"))?;
    for (node, address) in [(near, near_address), (far, far_address)] {
        node.set_up(interface, true)?;
        node.add_address(interface, address, PREFIX_LEN)?;
    }
    Ok(())
}

/// A node with one link and at most one peer, and nothing to guard.
pub(super) fn setup(
    instance: String,
    (node, address): (NodeId, IpAddr),
    (link, interface): (LinkId, &str),
    peer: Option<(NodeId, LinkId, IpAddr)>,
) -> Setup {
    Setup {
        instance,
        cluster: CLUSTER,
        node,
        port: PORT,
        timeout: TIMEOUT,
        max_lease: MAX_LEASE,
        keys: vec![(KEY_ID, SipKey::from_bytes(KEY))],
        key_mark: 1,
        links: vec![SetupLink {
            id: link,
            interface: interface.to_owned(),
            address,
            mode: XdpMode::Native,
        }],
        peers: peer.into_iter().collect(),
        guards: Vec::new(),
        replace: false,
        groups: Vec::new(),
        voter_set: VOTER_SET,
    }
}

fn attach_baseline() -> Result<Ebpf> {
    let object = env::var_os(OBJECT)
        .map(PathBuf::from)
        .with_context(|| format!("{OBJECT} is not set: run this through `cargo xtask bench`"))?;
    let mut ebpf = Ebpf::load_file(&object)
        .with_context(|| format!("cannot load the BPF object {}", object.display()))?;
    let program: &mut Xdp = ebpf
        .program_mut(BASELINE_PROGRAM)
        .with_context(|| format!("{} holds no program {BASELINE_PROGRAM}", object.display()))?
        .try_into()?;
    program.load().context("the kernel refused the baseline")?;
    program
        .attach(BASELINE_INTERFACE, Attach::Driver)
        .context("cannot attach the baseline in native mode")?;
    Ok(ebpf)
}
