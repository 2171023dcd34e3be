//! Restarts and upgrades of the agent that neither peers nor clients nor resources notice.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData};
use heartbeat_common::{maps::Config, time::Boottime};
use heartbeat_tests::{
    Cluster, Fault, Options,
    client::Client,
    e2e::{
        Actors, EventLog, MILLISECOND, SOON,
        actors::{actor, group, vip},
        availability::{servers, wait_served},
        groups::{output_of, wait_agent, wait_all_active, wait_runs, with_groups},
        leftovers,
        machine_stalls::MachineStalls,
        shortcuts::{node_in, wait_holder, wait_logged, wait_status, with_cluster},
        variant,
    },
    needs,
    sys::boottime,
    wait_until,
};
use heartbeat_user::control::protocol::{EventKind, Status};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The node whose restarts are measured.
const OWNER: &str = "a";
/// A busy machine may need as long to verify the kernel programs.
const MAX_LEASE: Duration = Duration::from_secs(4);
/// A busy machine may need as long for a start with programs that are loaded.
const LONG_LEASE: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(200);

/// Heartbeats each millisecond, and a lease that is shorter than a restart unless it is extended
/// for one.
fn options(options: Options) -> Options {
    Options {
        interval: MILLISECOND,
        timeout: 20 * MILLISECOND,
        agent_stall: Duration::from_secs(5),
        lease: 30 * MILLISECOND,
        max_lease: MAX_LEASE,
        ..options
    }
}

/// A group with an address, and one without.
fn served() -> String {
    let web = [vip("webip", 101), actor("server", QUICK, "")];
    group("web", "", &web) + &group("jobs", "", &[actor("worker", QUICK, "")])
}

/// Watches a restart of the owner: by a client, by the peers and by the resources.
struct Watch<'a> {
    actors: &'a Actors,
    client: Client,
    event_log: EventLog,
    peers: &'a [&'a str],
    missed: Vec<u64>,
    /// Stalls of the machine: each millisecond may cost a heartbeat or a request.
    machine: MachineStalls,
    since: Boottime,
    mark: usize,
}

impl<'a> Watch<'a> {
    fn begin(cluster: &Cluster, actors: &'a Actors, peers: &'a [&'a str]) -> Result<Self> {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, OWNER, SOON)?;
        Ok(Self {
            actors,
            client,
            event_log: EventLog::begin(cluster)?,
            peers,
            missed: missed(cluster, peers)?,
            machine: MachineStalls::of_the_machine()?,
            since: boottime(),
            mark: actors.mark()?,
        })
    }

    /// Checks that no heartbeat or request was lost and no resource was touched since the
    /// beginning.
    fn end(mut self, cluster: &mut Cluster, what: &str) -> Result<()> {
        wait_agent(cluster, OWNER)?;
        wait_all_active(cluster)?;
        for group in ["web", "jobs"] {
            wait_runs(cluster, group, OWNER)?;
        }
        let until = boottime();
        // The last requests may be on their way.
        let mut unanswered = 0;
        let answered = wait_until(SOON, "all questions are answered", || {
            unanswered = self.client.with_records(|records| {
                let asked = records
                    .iter()
                    .filter(|r| r.sent > self.since && r.sent < until);
                asked.filter(|record| record.answer.is_none()).count()
            });
            Ok(unanswered as u64 <= self.late())
        });
        answered.with_context(|| format!("{what}: {unanswered} questions got no answer"))?;
        let servers = servers(&self.client, self.since);
        ensure!(
            servers.iter().map(|node| &**node).eq([OWNER]),
            "{what}: {servers:?} served"
        );
        let now = missed(cluster, self.peers)?;
        let late = self.late();
        ensure!(
            now.iter()
                .zip(&self.missed)
                .all(|(now, was)| *now <= was + late),
            "{what}: missed heartbeats were {:?}, and are {now:?}",
            self.missed
        );
        let actions = self.actors.actions(self.mark, &["server", "worker"])?;
        ensure!(actions.is_empty(), "{what}: {actions:?}");
        for peer in self.peers {
            self.event_log.listen(cluster, peer)?;
        }
        self.event_log
            .no_down_reports()
            .with_context(|| what.to_owned())?;
        let acquired = self.event_log.acquisitions("service");
        ensure!(acquired.is_empty(), "{what}: {acquired:?}");
        Ok(())
    }
}

impl Watch<'_> {
    /// The milliseconds for which the machine stood still since the beginning.
    fn late(&self) -> u64 {
        self.machine.since(self.since).as_millis() as u64
    }
}

/// The number of unanswered heartbeats to the owner, for each of `peers`.
fn missed(cluster: &Cluster, peers: &[&str]) -> Result<Vec<u64>> {
    let missed = |peer: &&str| {
        let mut least = u64::MAX;
        // A heartbeat may be on its way, while a lost one stays lost: the smallest sample counts.
        for _ in 0..20 {
            let status = cluster.node(peer)?.control.status()?;
            let link = node_in(&status, OWNER)?
                .links
                .first()
                .and_then(|link| link.peer.as_ref());
            let link = link.context("no link")?;
            least = least.min(link.probes.saturating_sub(link.replies));
        }
        Ok(least)
    };
    peers.iter().map(missed).collect()
}

/// Waits until the agent of `name` has ended well.
fn ended(cluster: &mut Cluster, name: &str) -> Result<()> {
    let node = cluster.node_mut(name)?;
    let status = node.agent()?.wait(SOON)?;
    ensure!(status.success(), "the agent of {name} ended with {status}");
    node.forget_agent();
    Ok(())
}

/// Stops the agent of `name` for a restart.
fn part(cluster: &mut Cluster, name: &str) -> Result<()> {
    cluster.node_mut(name)?.agent()?.signal(Signal::SIGUSR2)?;
    ended(cluster, name)
}

/// Stops the agent of the owner by `heartbeat stop FLAG`.
fn stop(cluster: &mut Cluster, flag: &str) -> Result<String> {
    let said = output_of(cluster, OWNER, &["stop", flag])?;
    ended(cluster, OWNER)?;
    Ok(said)
}

/// The output of `heartbeat WORDS` on the owner, if it succeeds.
fn tell(cluster: &Cluster, words: &[&str]) -> Result<String> {
    output_of(cluster, OWNER, words)
}

fn tag(cluster: &Cluster, program: &str) -> Result<String> {
    let pin = cluster.node(OWNER)?.pins.path().join(program);
    let mut command = Command::new("bpftool");
    command.args(["--json", "prog", "show", "pinned"]).arg(pin);
    let shown = cluster.node(OWNER)?.run(command)?.success()?;
    let shown: Value = serde_json::from_str(&shown)?;
    Ok(shown["tag"]
        .as_str()
        .context("a program without a tag")?
        .to_owned())
}

#[test]
fn graceful_restart_or_upgrade_is_seen_by_nobody() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(
        &actors,
        options(actors.options(served())),
        &["web", "jobs"],
        |cluster| {
            let watch = Watch::begin(cluster, &actors, &["b"])?;
            part(cluster, OWNER)?;
            cluster.start_agent(OWNER)?;
            watch.end(cluster, "SIGUSR2")?;
            wait_logged(cluster.node(OWNER)?, "ms without an agent; this one took")?;

            let watch = Watch::begin(cluster, &actors, &["b"])?;
            let links = leftovers::pinned(cluster.node(OWNER)?)?;
            let responder = tag(cluster, "prog_responder")?;
            let upgrade = variant::write(cluster.dir())?;
            let said = stop(cluster, "--keep")?;
            ensure!(
                said == "ended; all is left in place for the next agent\n",
                "{said}"
            );
            let program = cluster.dir().join("upgraded");
            actors.launch(&program, &upgrade)?;
            cluster.node_mut(OWNER)?.start_by(&program)?;
            watch.end(cluster, "upgrade")?;
            ensure!(
                tag(cluster, "prog_responder")? != responder,
                "the program is the same"
            );
            let after = leftovers::pinned(cluster.node(OWNER)?)?;
            for (pin, link) in links.iter().filter(|(pin, _)| pin.starts_with("link_")) {
                ensure!(after.get(pin) == Some(link), "{pin} was made anew");
            }

            // A stop that releases the groups is another kind of stop.
            let said = stop(cluster, "--release")?;
            ensure!(said == "stopped\n", "{said}");
            ensure!(!cluster.node(OWNER)?.pins.path().exists(), "pins are left");
            for group in ["web", "jobs"] {
                wait_runs(cluster, group, "b")?;
            }
            let again = tell(cluster, &["stop"])?;
            ensure!(again == "already stopped: no agent runs\n", "{again}");
            Ok(())
        },
    )
}

#[test]
fn agent_killed_and_back_within_its_lease_is_missed_by_nobody() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    let options = Options {
        lease: LONG_LEASE,
        max_lease: LONG_LEASE,
        ..options(actors.options(served()))
    };
    with_groups(&actors, options, &["web", "jobs"], |cluster| {
        for _ in 0..2 {
            let watch = Watch::begin(cluster, &actors, &["b"])?;
            cluster.inject(OWNER, Fault::Kill)?;
            cluster.start_agent(OWNER)?;
            watch.end(cluster, "kill")?;
        }
        // An agent that is back too late finds its groups elsewhere, and must stop them here.
        output_of(cluster, OWNER, &["move", "jobs", "b"])?;
        wait_runs(cluster, "jobs", "b")?;
        part(cluster, "b")?;
        ensure!(actors.runs("b", "worker"), "it was stopped");
        wait_runs(cluster, "jobs", OWNER)?;
        cluster.start_agent("b")?;
        wait_until(SOON, "it runs on the owner alone", || {
            let (_, some) = actors.running_on(&["a", "b"], &["worker"]);
            Ok(some == [OWNER])
        })
    })
}

#[test]
fn pins_of_another_layout_are_not_read_and_the_acceptor_abstains() -> Result<()> {
    needs!(Cluster);
    // The time is far longer than a start, so an acceptor that voted at once would be noticed.
    let options = Options {
        max_lease: Duration::from_secs(8),
        ..heartbeat_tests::e2e::shortcuts::options()
    };
    let longest = options.max_lease;
    with_cluster(options, |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, OWNER, SOON)?;
        cluster.inject(OWNER, Fault::Kill)?;
        let path = cluster.node(OWNER)?.pins.path().join("config");
        let map = || anyhow::Ok(Map::Array(MapData::from_pin(&path)?));
        let mut config: Array<MapData, Config> = map()?.try_into()?;
        let old = Config {
            layout_version: 1_000,
            ..config.get(&0, 0)?
        };
        config.set(0, old, 0)?;
        let before = boottime();
        cluster.heal(OWNER, Fault::Kill)?;
        wait_agent(cluster, OWNER)?;
        let started = boottime();
        let config: Array<MapData, Config> = map()?.try_into()?;
        let votes_from = Boottime::from_nanos(config.get(&0, 0)?.votes_from);
        ensure!(
            votes_from >= before.after(longest),
            "it votes from {votes_from} on, and was to start at {before}"
        );
        // Without this check an acceptor that does not abstain at all would pass.
        ensure!(
            votes_from > started,
            "the agent took longer to start than {longest:?}: nothing was shown"
        );
        wait_logged(
            cluster.node(OWNER)?,
            "it has map layout 1000, this release has",
        )?;
        cluster.wait_well(SOON, OWNER)?;
        wait_served(&client, OWNER, SOON)?;
        wait_holder(cluster, Some(OWNER))
    })
}

/// An incarnation is the wall clock in nanoseconds; this is longer than any test.
const AHEAD: Duration = Duration::from_secs(1_000_000);

#[test]
fn node_with_an_older_incarnation_says_so_and_a_restart_cures_it() -> Result<()> {
    needs!(Cluster);
    with_cluster(heartbeat_tests::e2e::shortcuts::options(), |cluster| {
        let instance = cluster.node("b")?.control.status()?.instance;
        let state = cluster.node("b")?.dir().join("state").join(instance);
        let file = state.join("incarnation");
        let last: u64 = fs::read_to_string(&file)?.trim().parse()?;
        // The clock was wrong for one incarnation, and right again when the state was lost.
        cluster.node_mut("b")?.stop()?;
        fs::write(&file, format!("{}\n", last + AHEAD.as_nanos() as u64))?;
        cluster.start_agent("b")?;
        cluster.wait_well(SOON, OWNER)?;
        cluster.node_mut("b")?.stop()?;
        fs::remove_file(&file)?;
        cluster.start_agent("b")?;
        let refused_by = |status: &Status| node_in(status, "b").map(|b| b.refused_by.clone());
        for name in ["a", "b", "c"] {
            let node = cluster.node(name)?;
            wait_status(node, "both others refuse b", |status| {
                refused_by(status).is_ok_and(|by| by == ["a", "c"])
            })?;
            let shown = node.heartbeat(&["status"])?.success()?;
            let line = "its heartbeats are refused by a, c: they are of an older incarnation";
            ensure!(shown.contains(line), "{shown}");
        }
        for (name, by) in [("a", "a"), ("c", "c"), ("b", "a")] {
            let events = cluster.node(name)?.control.events(0)?.events;
            let told = events.iter().filter(|event| {
                matches!(&event.what, EventKind::Outdated { node, by: who } if node == "b" && who == by)
            });
            ensure!(told.count() == 1, "{name}: {events:#?}");
        }
        wait_logged(cluster.node("b")?, "restart it")?;
        // The agents of the peers, and the state of their kernels, stay as they are.
        cluster.node_mut("b")?.stop()?;
        cluster.start_agent("b")?;
        cluster.wait_well(SOON, OWNER)?;
        wait_status(cluster.node("a")?, "nobody refuses b", |status| {
            refused_by(status).is_ok_and(|by| by.is_empty())
        })
    })
}
