//! Unfit nodes whose kernels still answer: stalled agents, dead processes, hung disks. All other
//! nodes know it and act on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        EventLog, MILLISECOND, SOON,
        actors::{group, vip},
        availability::wait_served,
        groups::{client, output_of, result_of, wait_all_active, wait_group, wait_runs},
        lines::has_lines,
        machine_stalls::MachineStalls,
        shortcuts::{node_in, options, wait_status},
        trial::runs,
        worker,
    },
    needs,
    skip::skip,
    sys::boottime,
    wait::observe,
    wait_until,
};
use heartbeat_user::control::protocol::EventKind;

/// The most until a peer's agent reports what the next heartbeat, one each 5 ms, carries.
const NEXT_HEARTBEAT: Duration = Duration::from_millis(100);

/// Two groups of one address each. They stay where they are when a better node comes back.
fn two_groups() -> String {
    let sticky = "stickiness = \"inf\"";
    group("web", sticky, &[vip("webip", 101)]) + &group("db", sticky, &[vip("dbip", 102)])
}

fn with_cluster(extra: &str, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let options = Options {
        extra: two_groups() + extra,
        ..options()
    };
    Cluster::run(options, |cluster| {
        prepare(cluster)?;
        cluster.start_agents()?;
        wait_all_active(cluster)?;
        for group in ["web", "db"] {
            wait_runs(cluster, group, "a")?;
        }
        test(cluster)
    })
}

/// Makes the directories that the health checks of the nodes use.
fn prepare(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        fs::create_dir(node.dir().join("data"))?;
    }
    Ok(())
}

#[test]
fn stalled_agent_is_seen_by_all_and_gets_no_group_until_it_is_well() -> Result<()> {
    needs!(Cluster);
    with_cluster("", |cluster| {
        let mut event_log = EventLog::begin(cluster)?;
        let stalls = MachineStalls::begin()?;
        let stopped_at = boottime();
        cluster.inject("a", Fault::Stop)?;
        let promised = options().agent_stall + options().interval;
        for peer in ["b", "c"] {
            let stalled = event_log.wait_state(cluster, peer, "a", "agent-stalled", SOON)?;
            let after = Boottime::from_nanos(stalled.at_ns).since(stopped_at);
            eprintln!("stopped: {peer} called a stalled after {after:?}, {promised:?} promised");
            let most = promised + options().timeout + stalls.since(stopped_at);
            ensure!(after <= most, "{peer} noticed after {after:?}");
            wait_status(cluster.node(peer)?, "a serves nothing", |status| {
                node_in(status, "a").is_ok_and(|a| a.state == "agent-stalled")
                    && status.groups.iter().all(|group| {
                        group.running && group.owner.as_ref().is_some_and(|owner| owner != "a")
                    })
            })?;
            has_lines(
                &output_of(cluster, peer, &["explain", "web"])?,
                &["  * a: CANNOT have it, * agent stalled*"],
            )?;
        }
        let taken = event_log.acquisitions("web").len();
        cluster.heal("a", Fault::Stop)?;
        wait_all_active(cluster)?;
        observe(20 * options().lease, || {
            for peer in ["b", "c"] {
                event_log.listen(cluster, peer)?;
            }
            ensure!(
                event_log.acquisitions("web").len() <= taken.max(1),
                "it moved again"
            );
            Ok(())
        })
    })
}

#[test]
fn exit_of_a_watched_process_reaches_peers_with_the_next_heartbeat() -> Result<()> {
    needs!(Cluster);
    let checks = "\n[[health]]\nname = \"worker\"\ntype = \"process\"\n\
                  pidfile = \"%DIR%/worker.pid\"\ninterval = \"200ms\"\nrise = 1\n\
                  failure = \"degraded\"\n\n[[health]]\nname = \"polled\"\ntype = \"exec\"\n\
                  exec = [\"/bin/sh\", \"-c\", \"kill -0 $(cat %DIR%/worker.pid)\"]\n\
                  interval = \"1s\"\nrise = 1\nfall = 1\nfailure = \"degraded\"\n";
    let options = Options {
        extra: two_groups() + checks,
        ..options()
    };
    Cluster::run(options, |cluster| {
        prepare(cluster)?;
        let mut workers = Vec::new();
        for node in ["a", "b", "c"] {
            workers.push(worker::start(cluster.node(node)?)?);
        }
        cluster.start_agents()?;
        wait_all_active(cluster)?;
        let well = |cluster: &Cluster| {
            for node in ["a", "b"] {
                wait_status(cluster.node(node)?, "all are well", |status| {
                    status.nodes.iter().all(|node| node.failing.is_empty())
                })?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let stalls = MachineStalls::begin()?;
        let begun_at = boottime();
        let mut at_once = Vec::new();
        let mut polled = Vec::new();
        for _ in 0..runs()?.max(4) {
            well(cluster)?;
            let mut event_log = EventLog::begin(cluster)?;
            fs::remove_file(worker::pidfile(cluster.node("a")?))?;
            let killed_at = boottime();
            drop(workers.remove(0));
            let mut told = |check: &str| -> Result<Duration> {
                let event = event_log.wait(cluster, "b", SOON, "a fails", |what| {
                    matches!(what, EventKind::PeerHealth { node, failing, fatal: false }
                        if node == "a" && failing.iter().any(|failing| failing == check))
                })?;
                Ok(Boottime::from_nanos(event.at_ns).since(killed_at))
            };
            at_once.push(told("worker")?);
            polled.push(told("polled")?);
            has_lines(
                &output_of(cluster, "b", &["status"])?,
                &["  * Node a (id 1): online, DEGRADED (worker*"],
            )?;
            workers.insert(0, worker::start(cluster.node("a")?)?);
        }
        well(cluster)?;
        at_once.sort_unstable();
        polled.sort_unstable();
        let show = |name: &str, times: &[Duration]| {
            let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
            eprintln!(
                "process killed, {name}: a peer knew after p50/p99/max = {:.1?}/{:.1?}/{:.1?} in \
                 {} runs",
                at(50),
                at(99),
                at(100),
                times.len()
            );
        };
        show("watched by the kernel", &at_once);
        show("polled each second", &polled);
        let slowest = at_once.last().context("no run")?;
        let most = NEXT_HEARTBEAT + stalls.since(begun_at);
        ensure!(*slowest < most, "a peer knew only after {slowest:?}");
        Ok(())
    })
}

/// A file system on a loop device, mounted in a node's directory. While it is frozen, each write
/// hangs.
struct Disk {
    place: PathBuf,
}

impl Disk {
    /// Mounts one. The inner error is the reason why this host can have none.
    fn new(dir: &Path) -> Result<Result<Self, String>> {
        let (image, place) = (dir.join("disk.img"), dir.join("data"));
        fs::File::create(&image)?.set_len(16 << 20)?;
        for (program, args) in [
            (
                "mkfs.ext4",
                vec!["-q".into(), image.clone().into_os_string()],
            ),
            (
                "mount",
                vec![
                    "-o".into(),
                    "loop".into(),
                    image.clone().into_os_string(),
                    place.clone().into_os_string(),
                ],
            ),
        ] {
            let output = Command::new(program).args(args).output();
            let output = output.with_context(|| format!("cannot run {program}"))?;
            if !output.status.success() {
                return Ok(Err(format!(
                    "{program}: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                )));
            }
        }
        Ok(Ok(Self { place }))
    }

    fn freeze(&self, how: &str) -> Result<()> {
        let status = Command::new("fsfreeze").arg(how).arg(&self.place).status();
        let status = status.context("cannot run fsfreeze")?;
        ensure!(status.success(), "fsfreeze {how} failed");
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for (program, arg) in [("fsfreeze", Some("-u")), ("umount", None)] {
            let mut command = Command::new(program);
            command.args(arg).arg(&self.place).stderr(Stdio::null());
            // Thawing fails if nothing is frozen.
            let _ = command.status();
        }
    }
}

#[test]
fn hung_disk_check_makes_the_owner_give_up_until_it_is_well() -> Result<()> {
    needs!(Cluster);
    let checks = "\n[[health]]\nname = \"data\"\ntype = \"disk\"\npath = \"%DIR%/data\"\n\
                  interval = \"200ms\"\ntimeout = \"300ms\"\nrise = 2\nfall = 1\n\
                  \n[[hook]]\non = [\"health\", \"peer-unhealthy\"]\n\
                  exec = [\"/bin/sh\", \"-c\", \"echo $HEARTBEAT_EVENT \
                  $HEARTBEAT_CHECK$HEARTBEAT_PEER $HEARTBEAT_CHECK_STATE$HEARTBEAT_PEER_STATE \
                  $HEARTBEAT_PEER_FAILING >>%DIR%/hooks\"]\n";
    let options = Options {
        extra: two_groups() + checks,
        ..options()
    };
    Cluster::run(options, |cluster| {
        prepare(cluster)?;
        let disk = match Disk::new(cluster.node("a")?.dir())? {
            Ok(disk) => disk,
            Err(reason) => {
                skip(&reason);
                return Ok(());
            }
        };
        let played = (|| {
            cluster.start_agents()?;
            wait_all_active(cluster)?;
            for group in ["web", "db"] {
                wait_runs(cluster, group, "a")?;
            }
            let client = client(cluster, 101, MILLISECOND)?;
            wait_served(&client, "a", SOON)?;
            let mut event_log = EventLog::begin(cluster)?;
            let at = boottime();
            disk.freeze("-f")?;
            let event = event_log.wait_state(cluster, "b", "a", "unhealthy", SOON)?;
            eprintln!(
                "disk hung: a peer knew after {:?}",
                Boottime::from_nanos(event.at_ns).since(at)
            );
            // Mostly b takes over. If it asks one heartbeat too early, c does.
            for group in ["web", "db"] {
                wait_group(cluster, group, "runs elsewhere", |group| {
                    group.running && group.owner.as_deref().is_some_and(|owner| owner != "a")
                })?;
            }
            wait_until(SOON, "another node serves", || {
                Ok(client
                    .steady(100 * MILLISECOND)
                    .is_some_and(|node| *node != *"a"))
            })?;
            has_lines(
                &output_of(cluster, "b", &["status"])?,
                &["  * Node a (id 1): UNHEALTHY (data*"],
            )?;
            result_of(cluster, "b", &["move", "web", "a"])?.refusal(&[
                "node a is unhealthy",
                "until its health check data succeeds",
            ])?;
            has_lines(
                &output_of(cluster, "b", &["explain", "web"])?,
                &["  * a: CANNOT have it, * unhealthy*"],
            )?;
            disk.freeze("-u")?;
            wait_all_active(cluster)?;
            wait_status(cluster.node("b")?, "a is well", |status| {
                node_in(status, "a").is_ok_and(|a| a.state == "up" && a.failing.is_empty())
            })?;
            output_of(cluster, "b", &["move", "web", "a"])?;
            wait_runs(cluster, "web", "a")?;
            for (node, line) in [
                ("a", "health data failing"),
                ("a", "health data well"),
                ("b", "peer-unhealthy a unhealthy data"),
            ] {
                let hooks = cluster.node(node)?.dir().join("hooks");
                wait_until(SOON, &format!("a hook on {node} is told: {line}"), || {
                    let told = fs::read_to_string(&hooks).unwrap_or_default();
                    Ok(told.lines().any(|told| told.trim_end() == line))
                })?;
            }
            Ok(())
        })();
        // The agent has files open on the disk, so it ends before the disk is unmounted.
        let _ = disk.freeze("-u");
        cluster.inject("a", Fault::Kill)?;
        drop(disk);
        played
    })
}

/// A check that a reload adds counts as passed until it fails.
#[test]
fn checks_are_replaced_by_a_reload() -> Result<()> {
    needs!(Cluster);
    with_cluster("\n# checks\n", |cluster| {
        let check = "\n[[health]]\nname = \"flag\"\ntype = \"exec\"\n\
                     exec = [\"/usr/bin/test\", \"-e\", \"/nonexistent\"]\n\
                     interval = \"100ms\"\nfall = 3\nfailure = \"degraded\"\n";
        let a = cluster.node("a")?;
        a.reconfigure("\n# checks\n", check)?;
        let done = output_of(cluster, "a", &["reload"])?;
        has_lines(&done, &["reloaded: *health*"])?;
        for peer in ["a", "b"] {
            wait_status(cluster.node(peer)?, "the new check fails on a", |status| {
                node_in(status, "a").is_ok_and(|a| a.failing.len() == 1 && a.state == "up")
            })?;
        }
        // Node b has no such check: it takes the name from the report of a.
        wait_status(cluster.node("b")?, "the check has its name", |status| {
            node_in(status, "a").is_ok_and(|a| a.failing == ["flag"])
        })?;
        a.reconfigure("/nonexistent", "/proc")?;
        output_of(cluster, "a", &["reload"])?;
        wait_status(cluster.node("b")?, "the check is well", |status| {
            node_in(status, "a").is_ok_and(|a| a.failing.is_empty())
        })?;
        a.reconfigure("failure = \"degraded\"", "failure = \"mild\"")?;
        result_of(cluster, "a", &["reload"])?.refusal(&["failure", "mild"])
    })
}
