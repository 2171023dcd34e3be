//! Scenarios of nodes whose kernels answer although the nodes are unfit: what heartbeats report,
//! and how the cluster reacts.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault, Options,
    client::Client,
    e2e::{
        MILLISECOND, SOON,
        actors::{group, vip},
        availability::{longest_silence, servers, wait_served},
        cgroup::Cgroup,
        groups::wait_all_active,
        worker,
    },
    sys::boottime,
    wait::{observe, wait_until},
};
use heartbeat_user::control::protocol::{Event, EventKind, VipEvent};
use serde::Serialize;

use crate::{Arguments, output::Output};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// The cluster of many articles, imported and run: an address, an Apache, a status
    Article,
    /// A node has too much to do, and one of its groups goes to a node with room
    Overload,
    /// The owner's agent stands still while its kernel answers
    Zombie,
    /// A process that the owner needs is killed
    Process,
}

/// The address that the client asks.
const HOST: u8 = 101;
/// The time for which the zombie is stopped.
const STILL: Duration = Duration::from_secs(1);
/// The time for which the end of a scenario is watched.
const AFTERMATH: Duration = Duration::from_millis(500);

/// The result of a scenario, for scripts.
#[derive(Debug, Serialize)]
struct Story {
    scenario: &'static str,
    events: Vec<Line>,
    /// The client's longest time without an answer.
    client_gap_ms: f64,
    /// The nodes that answered it, in order.
    served_by: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    /// The time since the fault.
    at_ms: f64,
    node: String,
    what: String,
}

impl Scenario {
    const fn name(self) -> &'static str {
        match self {
            Self::Article => "article",
            Self::Overload => "overload",
            Self::Zombie => "zombie",
            Self::Process => "process",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Article => "the cluster of many articles",
            Self::Overload => "node a gets more to do than its processors can",
            Self::Zombie => {
                "the agent of node a stands still for a second, its kernel goes on answering"
            }
            Self::Process => "a process that node a needs is killed with -9",
        }
    }

    /// The TOML that the scenario needs.
    fn settings(self, pattern: Option<&str>) -> Result<String> {
        Ok(match self {
            Self::Article | Self::Zombie => String::new(),
            Self::Process => "\n[[health]]\nname = \"worker\"\ntype = \"process\"\n\
                              pidfile = \"%DIR%/worker.pid\"\ninterval = \"200ms\"\nrise = 1\n"
                .to_owned(),
            Self::Overload => {
                let pattern =
                    pattern.context("the kernel shows no pressure of control groups (cgroup2)")?;
                format!(
                    "\n[load]\nsource = \"cgroup\"\ncgroup = \"{pattern}\"\ninterval = \"200ms\"\n\
                     half_life = \"500ms\"\n\
                     \n[rebalance]\nhigh = 400\nlow = 200\nhold = \"1s\"\ncooldown = \"2s\"\n"
                )
            }
        })
    }
}

/// Runs the scenario once. Fails if the cluster does not react as it should.
pub(crate) fn show(scenario: Scenario, arguments: &Arguments, out: &Output) -> Result<()> {
    let pattern = Cgroup::pattern().filter(|_| scenario == Scenario::Overload);
    let settings = scenario.settings(pattern.as_deref())?;
    let groups = ["web", "db"].iter().zip(HOST..);
    let groups = groups.map(|(name, host)| {
        // The client asks the first, and only that moves for load.
        let settings = format!("rebalance = {}", host == HOST);
        group(name, &settings, &[vip(&format!("{name}ip"), host)])
    });
    let options = Options {
        interval: arguments.interval,
        timeout: arguments.deadline,
        lease: arguments.lease,
        max_lease: arguments.lease * 4,
        groups: Some(groups.collect()),
        extra: settings,
        keep: arguments.keep_logs,
        ..Options::default()
    };
    out.line(&out.bold(&format!("{}: {}", scenario.name(), scenario.title())));
    let cgroups = pattern
        .iter()
        .flat_map(|pattern| ["a", "b", "c"].map(|node| Cgroup::new(pattern, node)));
    let cgroups: Vec<Cgroup> = cgroups.collect::<Result<_>>()?;
    let mut cluster = Cluster::new(options)?;
    let told = play(scenario, &mut cluster, &cgroups, out);
    let story = match told {
        Ok(story) => story,
        Err(error) => {
            out.line(&cluster.logs(40));
            return Err(error);
        }
    };
    out.line("");
    out.line(&format!(
        "the client had no answer for at most {:.1} ms; it was served by {}",
        story.client_gap_ms,
        story.served_by.join(", then ")
    ));
    if arguments.json {
        println!("{}", serde_json::to_string(&story)?);
    }
    Ok(())
}

fn play(
    scenario: Scenario,
    cluster: &mut Cluster,
    cgroups: &[Cgroup],
    out: &Output,
) -> Result<Story> {
    let mut workers = Vec::new();
    if scenario == Scenario::Process {
        for node in ["a", "b", "c"] {
            workers.push(worker::start(cluster.node(node)?)?);
        }
    }
    cluster.start_agents()?;
    wait_all_active(cluster)?;
    let address = heartbeat_tests::config::Family::V4.address(0, HOST);
    let client = Client::start(cluster.client_namespace(), address, MILLISECOND)?;
    wait_served(&client, "a", SOON)?;
    let mut book = Book::begin(cluster)?;

    let at = boottime();
    let mut spinners = Vec::new();
    match scenario {
        Scenario::Article => bail!("the article has a story of its own"),
        Scenario::Zombie => cluster.inject("a", Fault::Stop)?,
        Scenario::Process => drop(workers.remove(0)),
        Scenario::Overload => {
            let pressed = cgroups.first().context("no control group was made")?;
            spinners = pressed.spin(8)?;
        }
    }
    let moved = |what: &EventKind| matches!(what.of_vip(), Some(VipEvent::Takeover { .. }));
    wait_until(SOON, "another node takes over", || {
        book.listen(cluster, &["b", "c"])?;
        Ok(book.since(at).any(|(_, event)| moved(&event.what)))
    })?;
    if scenario == Scenario::Zombie {
        observe(STILL.saturating_sub(boottime().since(at)), || Ok(()))?;
        book.listen(cluster, &["b", "c"])?;
        book.say(boottime(), "a", "the agent goes on");
        cluster.heal("a", Fault::Stop)?;
    }
    observe(AFTERMATH, || cluster.check_agents())?;
    drop(spinners);
    book.listen(cluster, &["a", "b", "c"])?;

    let events = book.lines(at);
    for line in &events {
        out.line(&format!(
            "  {}  {}  {}",
            out.dim(&format!("{:>9.3} ms", line.at_ms)),
            out.bold(&line.node),
            line.what
        ));
    }
    let served_by: Vec<String> = servers(&client, at)
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(Story {
        scenario: scenario.name(),
        events,
        client_gap_ms: longest_silence(&client, at).as_secs_f64() * 1e3,
        served_by,
    })
}

/// The reports of the nodes, each once.
struct Book {
    seen: HashMap<String, u64>,
    told: Vec<(String, Event)>,
    said: Vec<(Boottime, String, String)>,
}

impl Book {
    fn begin(cluster: &Cluster) -> Result<Self> {
        let mut book = Self {
            seen: HashMap::new(),
            told: Vec::new(),
            said: Vec::new(),
        };
        book.listen(cluster, &["a", "b", "c"])?;
        book.told.clear();
        Ok(book)
    }

    fn listen(&mut self, cluster: &Cluster, nodes: &[&str]) -> Result<()> {
        for node in nodes {
            let seen = self.seen.entry((*node).to_owned()).or_default();
            for event in cluster.node(node)?.control.events(*seen)?.events {
                *seen = event.number;
                self.told.push(((*node).to_owned(), event));
            }
        }
        if self.told.len() > 10_000 {
            bail!("the nodes tell far too much");
        }
        Ok(())
    }

    fn say(&mut self, at: Boottime, node: &str, what: &str) {
        self.said.push((at, node.to_owned(), what.to_owned()));
    }

    fn since(&self, at: Boottime) -> impl Iterator<Item = &(String, Event)> {
        self.told
            .iter()
            .filter(move |(_, event)| event.at_ns >= at.as_nanos())
    }

    fn lines(&self, from: Boottime) -> Vec<Line> {
        let told = self.since(from).map(|(node, event)| {
            let at = Boottime::from_nanos(event.at_ns);
            (at, node.clone(), event.what.to_string())
        });
        let mut all: Vec<_> = told.chain(self.said.iter().cloned()).collect();
        all.sort();
        let line = |(at, node, what): (Boottime, String, String)| Line {
            at_ms: at.since(from).as_secs_f64() * 1e3,
            node,
            what,
        };
        all.into_iter().map(line).collect()
    }
}
