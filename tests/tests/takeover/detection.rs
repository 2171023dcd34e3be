//! Each living node reports a dead node as down, on time, and reports no other node.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Fault, Options,
    e2e::{
        EventLog, MILLISECOND, SOON,
        event_log::DownReport,
        load::Spinners,
        machine_stalls::MachineStalls,
        shortcuts::{node_in, options, wait_status, with_cluster},
        trial::starve_time,
    },
    needs,
    sys::boottime,
    wait::observe,
};
use heartbeat_user::control::protocol::{DownTrace, EventKind, VipEvent};

const VICTIM: &str = "b";
const SURVIVORS: [&str; 2] = ["a", "c"];

/// The measured delays by which a time may be late.
#[derive(Clone, Copy)]
struct Late {
    /// The largest delay of the survivor's own probes.
    probes: Duration,
    /// The number of probes that were missed, or left so late that they count as one with the next.
    uncounted: u32,
    /// The time for which the machine stood still since the death.
    machine: Duration,
}

/// Lets one fault hit a node, heals it, and checks what both survivors reported.
fn death(
    fault: Fault,
    state: &str,
    check: impl Fn(&DownReport, Boottime, Late) -> Result<()>,
) -> Result<()> {
    with_cluster(options(), |cluster| {
        let stalls = MachineStalls::begin()?;
        let mut event_log = EventLog::begin(cluster)?;
        cluster.inject(VICTIM, fault)?;
        let dead_at = boottime();
        for survivor in SURVIVORS {
            event_log.wait_state(cluster, survivor, VICTIM, state, SOON)?;
        }
        let down_reports = event_log.down_reports();
        let reporters: Vec<_> = down_reports.iter().map(|report| &report.reporter).collect();
        ensure!(reporters == SURVIVORS, "once each: {down_reports:#?}");
        for report in &down_reports {
            ensure!((&*report.node, &*report.state) == (VICTIM, state));
            let pulse = cluster.node(&report.reporter)?.control.status()?.pulse;
            let late = Late {
                probes: Duration::from_nanos(pulse.max_lateness_ns),
                uncounted: u32::try_from(pulse.missed_ticks + pulse.late_ticks)?,
                machine: stalls.since(dead_at),
            };
            check(report, dead_at, late).with_context(|| format!("{report:#?} {pulse:?}"))?;
        }

        cluster.heal(VICTIM, fault)?;
        cluster.wait_well(SOON, "a")?;
        for survivor in SURVIVORS {
            event_log.listen(cluster, survivor)?;
        }
        let down_reports = event_log.down_reports();
        ensure!(
            down_reports.iter().all(|report| report.node == VICTIM),
            "nobody else: {down_reports:#?}"
        );
        Ok(())
    })
}

/// The report on a node that fell silent before `silent_at`.
fn on_time(report: &DownReport, silent_at: Boottime, late: Late) -> Result<()> {
    let Options {
        interval, timeout, ..
    } = options();
    let DownTrace {
        last_reply_ns,
        deadline_ns,
        fired_ns,
        awake_ns,
    } = report.trace.context("a silence without its trace")?;
    let [last_reply, deadline, fired, awake] =
        [last_reply_ns, deadline_ns, fired_ns, awake_ns].map(Boottime::from_nanos);
    let earliest = last_reply.after(timeout);
    ensure!(
        last_reply <= silent_at.after(interval),
        "it had fallen silent"
    );
    ensure!(
        deadline >= earliest,
        "the deadline is the timeout after the last reply"
    );
    // A late probe moves the deadline by its delay, and a probe that did not count by an interval.
    let slack = late.probes + interval * late.uncounted + MILLISECOND;
    ensure!(deadline <= earliest.after(slack), "the deadline is off");
    ensure!(
        fired_ns == 0 || fired >= earliest,
        "the kernel's timer fired early"
    );
    ensure!(awake >= deadline, "the agent was early");
    ensure!(awake_ns == report.at_ns, "when it was decided");
    ensure!(
        awake <= silent_at.after(2 * timeout + late.machine),
        "the agent was late"
    );
    Ok(())
}

/// The report on an agent that has not ticked since `stalled_at` while its kernel answers.
fn stalled_on_time(report: &DownReport, stalled_at: Boottime, late: Late) -> Result<()> {
    let at = Boottime::from_nanos(report.at_ns);
    ensure!(report.trace.is_none(), "there was no silence");
    let most = options().agent_stall + options().timeout + late.machine;
    ensure!(at <= stalled_at.after(most), "later than {most:?}");
    Ok(())
}

#[test]
fn node_without_its_link_is_down() -> Result<()> {
    needs!(Cluster);
    death(Fault::Cut, "down", on_time)
}

#[test]
fn node_that_receives_nothing_is_down_though_its_link_is_up() -> Result<()> {
    needs!(Cluster);
    death(Fault::Silent, "down", on_time)
}

#[test]
fn killed_agent_is_stalled_while_its_kernel_answers() -> Result<()> {
    needs!(Cluster);
    death(Fault::Kill, "agent-stalled", stalled_on_time)
}

#[test]
fn stopped_agent_is_stalled_while_its_kernel_answers() -> Result<()> {
    needs!(Cluster);
    death(Fault::Stop, "agent-stalled", stalled_on_time)
}

#[test]
fn isolated_node_misses_all_others_and_its_quorum() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let mut event_log = EventLog::begin(cluster)?;
        cluster.inject(VICTIM, Fault::Silent)?;
        for other in SURVIVORS {
            event_log.wait_state(cluster, VICTIM, other, "down", SOON)?;
        }
        event_log.wait(cluster, VICTIM, SOON, "its quorum is lost", |what| {
            matches!(
                what,
                EventKind::Quorum {
                    quorate: false,
                    alive: 1
                }
            )
        })?;
        cluster.heal(VICTIM, Fault::Silent)?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn peer_is_up_while_one_of_its_links_is() -> Result<()> {
    needs!(Cluster);
    const LINKS: usize = 3;
    let with_three = Options {
        links: LINKS,
        ..options()
    };
    with_cluster(with_three, |cluster| {
        let mut event_log = EventLog::begin(cluster)?;
        for broken in 0..LINKS {
            let port = format!("b-hb{broken}");
            cluster.switch().set_port_forwarding(&port, false)?;
            for survivor in SURVIVORS {
                let what = format!("link {broken} to b is down");
                event_log.wait(cluster, survivor, SOON, &what, |what| {
                    matches!(what, EventKind::Link { node, link, to, .. }
                        if node == VICTIM && usize::from(*link) == broken && to == "down")
                })?;
            }
            if broken == LINKS - 1 {
                break;
            }
            let status = cluster.node("a")?.control.status()?;
            let b = node_in(&status, VICTIM)?;
            let states = b.links.iter().map(|link| link.state.as_deref());
            let expected = (0..LINKS).map(|link| Some(if link <= broken { "down" } else { "up" }));
            ensure!(b.state == "up" && states.eq(expected), "{b:#?}");
            // A peer with a link that is up gets no report about itself.
            let said = SURVIVORS
                .iter()
                .flat_map(|node| event_log.reported_by(node));
            let mut said = said.filter(|event| matches!(event.what, EventKind::Peer { .. }));
            ensure!(said.next().is_none(), "{event_log:#?}");
        }
        for survivor in SURVIVORS {
            event_log.wait_state(cluster, survivor, VICTIM, "down", SOON)?;
        }
        cluster.switch().set_port_forwarding("b-hb0", true)?;
        wait_status(cluster.node("a")?, "b is up again by link 0", |status| {
            node_in(status, VICTIM).is_ok_and(|b| b.state == "up")
        })?;
        for link in 1..LINKS {
            let port = format!("b-hb{link}");
            cluster.switch().set_port_forwarding(&port, true)?;
        }
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn starved_cluster_reports_no_false_down() -> Result<()> {
    needs!(Cluster);
    let stress = starve_time(20)?;
    let strict = Options {
        interval: 2 * MILLISECOND,
        timeout: 10 * MILLISECOND,
        agent_stall: 500 * MILLISECOND,
        lease: 60 * MILLISECOND,
        max_lease: 100 * MILLISECOND,
        ..Options::default()
    };
    with_cluster(strict, |cluster| {
        let mut event_log = EventLog::begin(cluster)?;
        // Load of ordinary priority does not delay these threads; only a host that withholds a CPU
        // does.
        let machine = MachineStalls::of_the_machine()?;
        let begun_at = boottime();
        let _spinners = Spinners::start(2)?;
        let mut listened = boottime();
        observe(stress, || {
            cluster.check_agents()?;
            // An agent keeps only so many events: they are collected before it drops any.
            if boottime().since(listened) > Duration::from_secs(1) {
                for node in ["a", "b", "c"] {
                    event_log.listen(cluster, node)?;
                }
                listened = boottime();
            }
            Ok(())
        })?;
        cluster.wait_well(SOON, "a")?;
        for node in ["a", "b", "c"] {
            event_log.listen(cluster, node)?;
            let moved = event_log.reported_by(node).find(|event| {
                let moves = matches!(
                    event.what.of_vip(),
                    Some(VipEvent::Takeover { .. } | VipEvent::Release { .. })
                );
                moves && !machine.explain(Boottime::from_nanos(event.at_ns))
            });
            ensure!(moved.is_none(), "{node} moved the address: {moved:#?}");
        }
        let stood = machine.since(begun_at);
        eprintln!("the machine stood still for {stood:?} in {stress:?}");
        let mut down_reports = event_log.down_reports();
        down_reports.retain(|report| !machine.explain(Boottime::from_nanos(report.at_ns)));
        ensure!(down_reports.is_empty(), "called dead: {down_reports:#?}");
        Ok(())
    })
}
