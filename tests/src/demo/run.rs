//! One run: a cluster comes up, its owner dies, somebody takes over.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault, Options,
    client::{Answer, Client, Record},
    e2e::ownership::{Acquisition, acquisitions, overlaps},
    interrupt::Interrupted,
    sys::boottime,
    wait::{observe, wait_until},
};
use heartbeat_user::control::protocol::Event;

use crate::{
    Arguments,
    outcome::{FalseDown, Outcome, Phases, Takeover, false_takeovers, gap, verdict},
    output::Output,
};

/// How often the client asks: by so much its gap may be too long.
pub(crate) const PERIOD: Duration = Duration::from_micros(250);
/// How long a cluster may take until all is well.
const START: Duration = Duration::from_secs(20);
/// How long a takeover may take, beyond what the configuration makes it take.
const TAKEOVER: Duration = Duration::from_secs(5);
/// How long the successor must have served.
const STEADY: Duration = Duration::from_millis(300);
/// How long the owner must have served before it dies.
const SERVED: Duration = Duration::from_millis(100);
/// How long all is quiet before the fault: a single run shows more of it.
const QUIET_ONE: Duration = Duration::from_millis(2_500);
const QUIET_MANY: Duration = Duration::from_millis(1_000);
/// The fault comes at a random phase of this, on top of the quiet: so many heartbeats.
const PHASE_HEARTBEATS: u32 = 64;

/// Fails only if the user interrupts or no cluster could be built. That nobody takes over is an
/// outcome.
pub(crate) fn run(arguments: &Arguments, number: u32, out: &Output) -> Result<Outcome> {
    let options = Options {
        interval: arguments.interval,
        timeout: arguments.deadline,
        lease: arguments.lease,
        max_lease: arguments.lease * 4,
        keep: arguments.keep_logs,
        ..Options::default()
    };
    // The first in the order of preference owns the address.
    let victim = options.nodes[0].clone();
    let mut cluster = Cluster::new(options)?;
    if arguments.keep_logs {
        out.line(&format!("logs stay in {}", cluster.dir().display()));
    }
    let mut scene = Scene {
        cluster: &mut cluster,
        victim: &victim,
        fault: arguments.fault,
        seen: HashMap::new(),
        events: Vec::new(),
        fault_at: None,
        client: None,
    };
    let result = scene.play(arguments);
    let false_downs = scene.false_downs();
    let acquisitions = scene.acquisitions();
    let overlaps = scene.overlaps(&acquisitions);
    let fault_at = scene.fault_at;
    let false_takeovers = false_takeovers(acquisitions, &victim, fault_at);
    let result = match result {
        Ok(takeover) => Ok(takeover),
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => {
            out.line(&cluster.logs(40));
            Err(format!("{error:#}"))
        }
    };
    Ok(Outcome {
        number,
        victim,
        result,
        false_downs,
        false_takeovers,
        overlaps,
        fault_at,
    })
}

/// By how much the fault is put off: heartbeats and faults are not to be in step.
fn phase(arguments: &Arguments) -> Duration {
    let span = (arguments.interval * PHASE_HEARTBEATS).as_nanos() as u64;
    // The standard library's hash keys are random per process and differ per state.
    let random = RandomState::new().hash_one(boottime());
    Duration::from_nanos(random % span.max(1))
}

struct Scene<'a> {
    cluster: &'a mut Cluster,
    victim: &'a str,
    fault: Fault,
    /// Number of the last event that we know, by node.
    seen: HashMap<String, u64>,
    /// What the nodes said since all was well, each with its author.
    events: Vec<(String, Event)>,
    fault_at: Option<Boottime>,
    /// From when all is well on.
    client: Option<Client>,
}

impl Scene<'_> {
    fn play(&mut self, arguments: &Arguments) -> Result<Takeover> {
        let victim = self.victim;
        self.cluster.start_agents()?;
        self.cluster.wait_well(START, victim)?;
        // Nodes that were not there yet when others started are no false alarm: count from here.
        self.collect(|_| true)?;
        self.events.clear();
        self.client = Some(self.cluster.client(PERIOD)?);
        self.await_served()?;
        let quiet_since = boottime();
        observe(
            if arguments.runs > 1 {
                QUIET_MANY
            } else {
                QUIET_ONE
            },
            || self.cluster.check_agents(),
        )?;
        // A false alarm is counted, but the fault is to hit the owner of a cluster that is well.
        self.cluster.wait_well(START, victim)?;
        self.await_served()?;
        // The victim may not be able to tell later.
        self.collect(|node| node == victim)?;
        observe(phase(arguments), || self.cluster.check_agents())?;

        let fault_at = boottime();
        self.fault_at = Some(fault_at);
        self.cluster.inject(victim, self.fault)?;
        let successor = self.await_successor(arguments);
        let victim_answers = !matches!(self.fault, Fault::Kill | Fault::Stop);
        self.collect(|node| node != victim || victim_answers)?;
        self.takeover(successor?, fault_at, fault_at.since(quiet_since))
    }

    /// Waits until the client gets its answers from the owner that is to die.
    fn await_served(&self) -> Result<()> {
        let client = self.client()?;
        wait_until(START, "the client gets its answers from the owner", || {
            Ok(client.steady(SERVED).as_deref() == Some(self.victim))
        })
    }

    /// Waits until another node than the victim serves steadily.
    fn await_successor(&mut self, arguments: &Arguments) -> Result<String> {
        let mut successor = None;
        let patience = TAKEOVER + 10 * arguments.deadline.max(arguments.lease);
        wait_until(patience, "another node serves steadily", || {
            self.cluster.check_agents()?;
            let served = self.client()?.steady(STEADY);
            successor = served.filter(|node| **node != *self.victim);
            Ok(successor.is_some())
        })?;
        successor
            .map(|node| node.to_string())
            .context("nobody serves")
    }

    /// Puts together what the successor and the client say of the takeover.
    fn takeover(&self, successor: String, fault_at: Boottime, quiet: Duration) -> Result<Takeover> {
        let gap = self
            .client()?
            .with_records(|records| gap(records, self.victim, &successor, fault_at))
            .context("the client's books show no move from the victim to its successor")?;
        let own = || {
            self.events
                .iter()
                .filter(|(author, event)| {
                    *author == successor && event.at_ns >= fault_at.as_nanos()
                })
                .map(|(_, event)| event)
        };
        let phases = own()
            .find_map(Phases::of)
            .with_context(|| format!("{successor} serves, but tells of no takeover"))?;
        let verdict = own()
            .filter_map(verdict)
            .find_map(|(node, verdict)| (node == self.victim).then_some(verdict));
        Ok(Takeover {
            successor,
            fault_at,
            quiet,
            verdict,
            phases,
            last_answer: gap.last_answer,
            first_answer: gap.first_answer,
            lost: gap.lost,
            stale: gap.stale,
        })
    }

    /// Takes over the events that are new, from the nodes that `wanted` names.
    fn collect(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        for node in self
            .cluster
            .nodes()
            .iter()
            .filter(|node| wanted(&node.name))
        {
            let seen = self.seen.entry(node.name.clone()).or_default();
            for event in node.control.events(*seen)?.events {
                *seen = event.number;
                self.events.push((node.name.clone(), event));
            }
        }
        Ok(())
    }

    /// A verdict is false unless its object is the dead victim, or its author is: the victim of a
    /// cut is right to miss the others.
    fn false_downs(&self) -> Vec<FalseDown> {
        let verdicts = self.events.iter().filter_map(|(author, event)| {
            let (node, verdict) = verdict(event)?;
            let dead = self.fault_at.is_some_and(|fault_at| verdict.at >= fault_at);
            let right = dead && (node == self.victim || author == self.victim);
            (!right).then(|| FalseDown {
                seen_by: author.clone(),
                node: node.to_owned(),
                verdict,
            })
        });
        verdicts.collect()
    }

    /// Who acquired the lease since all was well.
    fn acquisitions(&self) -> Vec<Acquisition> {
        let told = self.events.iter();
        acquisitions(told.map(|(author, event)| (author.as_str(), event)))
    }

    fn overlaps(&self, acquisitions: &[Acquisition]) -> Vec<Answer> {
        let Some(client) = &self.client else {
            return Vec::new();
        };
        client.with_records(|records| {
            let answers = records.iter().flat_map(Record::answers);
            overlaps(answers, acquisitions)
                .into_iter()
                .cloned()
                .collect()
        })
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().context("no client asks yet")
    }
}
