//! Floods on the wire of the owner, at the highest rate of this machine. No node is falsely
//! reported as down, no lease is lost, and a dead node is found as soon as on a quiet wire.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};
use heartbeat_common::{
    siphash::SipKey,
    time::Boottime,
    wire::{Incarnation, LeaseEntry, NodeId},
};
use heartbeat_tests::{
    Cluster, Fault, Options,
    config::{Family, interface},
    e2e::{
        EventLog, MILLISECOND, SOON,
        availability::{longest_silence, wait_served},
        flood::{Flood, record},
        machine_stalls::MachineStalls,
        shortcuts::{node_in, options, with_cluster},
    },
    kernel::frames::{FrameSpec, mac},
    needs,
    sys::boottime,
    wait::observe,
    wait_until,
};
use heartbeat_user::{
    config::flags,
    control::protocol::{Event, EventKind, GroupEvent},
};

const TARGET: &str = "a";
/// The node that the attacker pretends to be.
const SOURCE: &str = "b";
/// The node that dies, to measure how soon that is noticed.
const VICTIM: &str = "c";
const VARIANTS: u64 = 64;
/// The length of a flood before and after the death of a node.
const SPAN: Duration = Duration::from_millis(500);
/// The longest gap of the client in a flood: less than any takeover.
const SMALL: Duration = Duration::from_millis(190);
const WRONG_KEY: SipKey = SipKey { k0: 694, k1: 496 };

/// A probe of a later incarnation of the peer. Only its tag is wrong.
fn forged(number: u64) -> FrameSpec {
    FrameSpec::probe(2, 0, number + 1).with(|spec| {
        spec.from = Family::V4.address(0, 2);
        spec.to = Family::V4.address(0, 1);
        spec.header.cluster = flags::cluster_id("rig");
        spec.header.destination = NodeId(1);
        spec.header.incarnation = Incarnation(u64::MAX);
        spec.header.key_id = 1;
        spec.leases = vec![LeaseEntry::default(); (number % 9) as usize];
        spec.key = Some(WRONG_KEY);
    })
}

/// A kind of frames: its name, the frames, and the counter of their verdict.
type Kind = (&'static str, Vec<Vec<u8>>, &'static str);

fn kinds(cluster: &Cluster) -> Result<Vec<Kind>> {
    let junk = |number: u64| forged(number).frame_around(&[number as u8; 104]);
    let junk = (0..VARIANTS).map(junk).collect::<Result<_>>()?;
    let bad_tags = (0..VARIANTS).map(|number| forged(number).frame());
    let bad_tags = bad_tags.collect::<Result<_>>()?;
    let port = format!("{SOURCE}-{}", interface(0));
    let ends = [2, 1].map(|host| match Family::V4.address(0, host) {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    });
    let heartbeat = |frame: &[u8]| {
        frame.get(26..34) == Some(ends.as_flattened()) && frame.get(42..46) == Some(b"HRTB")
    };
    let probe = |frame: &[u8]| heartbeat(frame) && frame.get(47) == Some(&1);
    let wire = cluster.switch().namespace();
    let replays = record(wire, &port, VARIANTS as usize, SOON, probe)?;
    Ok(vec![
        ("junk", junk, "drop_bad_magic"),
        ("bad tags from a peer's address", bad_tags, "drop_bad_mac"),
        ("replayed probes", replays, "drop_replayed_probe"),
    ])
}

/// The number of runs of the target's responder, and their nanoseconds, including the kernel's own
/// clock readings.
fn runs(cluster: &Cluster) -> Result<(u64, u64)> {
    let pin = cluster.node(TARGET)?.pins.path().join("prog_responder");
    let info = ProgramInfo::from_pin(pin)?;
    Ok((info.run_count(), info.run_time().as_nanos() as u64))
}

/// Lets a node die and return. Returns the time from its deadline to the report.
fn lateness(cluster: &mut Cluster, event_log: &mut EventLog) -> Result<Duration> {
    cluster.inject(VICTIM, Fault::Silent)?;
    let down = event_log.wait_state(cluster, TARGET, VICTIM, "down", SOON)?;
    cluster.heal(VICTIM, Fault::Silent)?;
    cluster.wait_well(SOON, TARGET)?;
    let EventKind::Peer { trace, .. } = down.what else {
        anyhow::bail!("{down:?}");
    };
    let trace = trace.context("no trace")?;
    Ok(Duration::from_nanos(trace.awake_ns - trace.deadline_ns))
}

/// Timing for a flood that shares the few CPUs with its receivers, unlike an attacker's: a receiver
/// may wait for a CPU as long as the scheduler lets it.
fn crowded() -> Options {
    Options {
        timeout: 100 * MILLISECOND,
        lease: 200 * MILLISECOND,
        max_lease: 400 * MILLISECOND,
        ..options()
    }
}

#[test]
fn floods_delay_no_detection_and_lose_no_lease() -> Result<()> {
    needs!(Cluster);
    with_cluster(crowded(), flooded)
}

fn flooded(cluster: &mut Cluster) -> Result<()> {
    let client = cluster.client(MILLISECOND)?;
    wait_served(&client, TARGET, SOON)?;
    // In a flood one CPU empties the queue of a node. If that CPU is stalled, the node receives
    // nothing.
    let stalls = MachineStalls::of_the_machine()?;
    // The kernel measures the run time of programs while this is open.
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut all = EventLog::begin(cluster)?;
    let begun_at = boottime();
    let kinds = kinds(cluster)?;
    let quiet = lateness(cluster, &mut EventLog::begin(cluster)?)?;
    eprintln!("quiet: {VICTIM} called dead {quiet:?} after its deadline");
    let port = format!("{TARGET}-{}", interface(0));
    for (kind, frames, counter) in kinds {
        let mut event_log = EventLog::begin(cluster)?;
        let before = cluster.node(TARGET)?.counter(counter)?;
        let ran = runs(cluster)?;
        let flood = Flood::start(cluster.switch().namespace(), &port, frames)?;
        observe(SPAN, || cluster.check_agents())?;
        let late = lateness(cluster, &mut event_log)?;
        observe(SPAN, || cluster.check_agents())?;
        let sent = flood.stop()?;
        let mut counted = 0;
        // The queue of the node may have been full for some frames.
        wait_until(SOON, "half of the flood is counted", || {
            counted = cluster.node(TARGET)?.counter(counter)? - before;
            Ok(counted >= sent.frames / 2)
        })?;
        let now = runs(cluster)?;
        eprintln!(
            "{kind}: {:.0} frames a second, {counted} of {} judged in {} ns each; {VICTIM} called \
             dead {late:?} after its deadline",
            sent.rate(),
            sent.frames,
            (now.1 - ran.1) / (now.0 - ran.0).max(1)
        );
        ensure!(sent.frames > 10_000, "{sent:?} is no flood");
    }
    for node in ["a", "b", "c"] {
        all.listen(cluster, node)?;
    }
    // Only the dead node was reported as down, and it reported the others.
    for report in all.down_reports() {
        ensure!(
            report.node == VICTIM
                || report.reporter == VICTIM
                || stalls.explain(Boottime::from_nanos(report.at_ns)),
            "{report:?}"
        );
    }
    let moved = |event: &&Event| {
        let moves = matches!(
            event.what.of_group(),
            Some(GroupEvent::LeaseGivenUp(_) | GroupEvent::LeaseAcquired { .. })
        );
        moves && !stalls.explain(Boottime::from_nanos(event.at_ns))
    };
    for node in ["a", "b", "c"] {
        let event = all.reported_by(node).find(moved);
        ensure!(event.is_none(), "{node}: {event:?}");
    }
    let stood = stalls.since(begun_at);
    eprintln!("the machine stood still for {stood:?}");
    let gap = longest_silence(&client, begun_at);
    let most = SMALL + stood;
    ensure!(gap <= most, "the client had no answer for {gap:?}");
    told_of_the_forger(cluster, &all)
}

/// The status shows whose address was forged, how often, and from where; the events show it once.
fn told_of_the_forger(cluster: &Cluster, all: &EventLog) -> Result<()> {
    let status = cluster.node(TARGET)?.control.status()?;
    let link = node_in(&status, SOURCE)?.links[0].peer.clone();
    let link = link.context("no row")?;
    let from = mac(2).map(|byte| format!("{byte:02x}")).join(":");
    ensure!(
        link.bad_tags == status.counters["drop_bad_mac"] && link.bad_tags > 0,
        "{link:?}"
    );
    ensure!(link.refused_from.as_deref() == Some(&from), "{link:?}");
    let told = all.reported_by(TARGET).filter(|event| {
        matches!(&event.what, EventKind::Refused { node, from: by, .. } if node == SOURCE && *by == from)
    });
    let told = told.count();
    ensure!(told == 1, "told {told} times");
    let shown = cluster.node(TARGET)?.heartbeat(&["status"])?.success()?;
    ensure!(shown.contains(&format!("last sender {from}")), "{shown}");
    Ok(())
}
