//! One run: a cluster starts, the owner dies, and another node takes over.

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

/// The period of the client's requests, by which its gap may be too long.
pub(crate) const PERIOD: Duration = Duration::from_micros(250);
/// The longest wait until all is well.
const START: Duration = Duration::from_secs(20);
/// The longest takeover, on top of the configured times.
const TAKEOVER: Duration = Duration::from_secs(5);
/// The time for which the successor must have served.
const STEADY: Duration = Duration::from_millis(300);
/// The time for which the owner must have served before it dies.
const SERVED: Duration = Duration::from_millis(100);
/// The quiet time before the fault of a single run.
const QUIET_ONE: Duration = Duration::from_millis(2_500);
const QUIET_MANY: Duration = Duration::from_millis(1_000);
/// The range, in heartbeats, of the random delay of the fault.
const PHASE_HEARTBEATS: u32 = 64;

/// Runs once. Fails only after an interrupt of the user, or if no cluster could be built. A missing
/// takeover is an outcome.
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
    let mut trial = Trial {
        cluster: &mut cluster,
        victim: &victim,
        fault: arguments.fault,
        seen: HashMap::new(),
        events: Vec::new(),
        fault_at: None,
        client: None,
    };
    let result = trial.play(arguments);
    let false_downs = trial.false_downs();
    let acquisitions = trial.acquisitions();
    let overlaps = trial.overlaps(&acquisitions);
    let fault_at = trial.fault_at;
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

/// The random delay of the fault, which keeps faults and heartbeats out of step.
fn phase(arguments: &Arguments) -> Duration {
    let span = (arguments.interval * PHASE_HEARTBEATS).as_nanos() as u64;
    // The standard library's hash keys are random per process and differ per state.
    let random = RandomState::new().hash_one(boottime());
    Duration::from_nanos(random % span.max(1))
}

struct Trial<'a> {
    cluster: &'a mut Cluster,
    victim: &'a str,
    fault: Fault,
    /// Number of the last event that we know, by node.
    seen: HashMap<String, u64>,
    /// The events since all was well, each with its reporter.
    events: Vec<(String, Event)>,
    fault_at: Option<Boottime>,
    /// The client, once all is well.
    client: Option<Client>,
}

impl Trial<'_> {
    fn play(&mut self, arguments: &Arguments) -> Result<Takeover> {
        let victim = self.victim;
        self.cluster.start_agents()?;
        self.cluster.wait_well(START, victim)?;
        // Reports about nodes that had not started yet are no false alarms, so the count begins
        // here.
        self.collect(|_| true)?;
        self.events.clear();
        self.client = Some(self.cluster.client(PERIOD)?);
        self.await_served()?;
        let quiet_since = boottime();
        observe(
            if arguments.runs.is_some_and(|runs| runs > 1) {
                QUIET_MANY
            } else {
                QUIET_ONE
            },
            || self.cluster.check_agents(),
        )?;
        // A false alarm is counted, but the fault must hit the owner of a cluster that is well.
        self.cluster.wait_well(START, victim)?;
        self.await_served()?;
        // The victim's events may be lost later.
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

    /// Waits until the future victim serves the client.
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

    /// Combines the successor's event and the client's records of the takeover.
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

    /// Collects the new events of the nodes that `wanted` accepts.
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

    /// A report is false unless it is about the victim or by it: a victim that is cut off misses
    /// all others.
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

    /// All acquisitions of the lease since all was well.
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
