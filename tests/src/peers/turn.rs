//! A contender's turn: a fresh world, and one fault after the other.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;

use super::{STOPPED, report::Sample};
use crate::{
    Fault,
    client::Record,
    contender::{Contender, Running},
    interrupt::Interrupted,
    sys::boottime,
    wait::observe,
    wait_until,
};

/// The longest takeover, and the longest detection.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time for which a successor must have served.
const STEADY: Duration = Duration::from_millis(300);
/// The time for which a fault goes on after the takeover.
const HOLD: Duration = Duration::from_secs(2);
/// The quiet time before a fault, and the range of the random time on top of it, which keeps faults
/// and heartbeats out of step.
const QUIET: Duration = Duration::from_millis(500);
const PHASE: Duration = Duration::from_millis(1_000);

/// Starts `contender`, injects each of `faults` once, and gives each result to `add`.
pub(super) fn play(
    contender: &dyn Contender,
    faults: &[Fault],
    add: &mut dyn FnMut(Fault, Sample),
) -> Result<()> {
    let mut running = Running::start(contender).context("it did not start")?;
    for fault in faults {
        let sample = measure(contender, &mut running, *fault)?;
        add(*fault, sample);
    }
    Ok(())
}

fn measure(contender: &dyn Contender, running: &mut Running, fault: Fault) -> Result<Sample> {
    let owner = running
        .wait_whole()
        .context("it is not whole before the fault")?;
    // The standard library's hash keys are random per process and differ per state.
    let random = RandomState::new().hash_one(boottime());
    let phase = Duration::from_nanos(random % PHASE.as_nanos() as u64);
    observe(QUIET + phase, || Ok(()))?;
    let fault_at = running.inject(&owner, fault)?;
    let ended = await_end(contender, running, &owner, fault, fault_at);
    let healed_at = boottime();
    running.heal(&owner, fault)?;
    let successor = ended?;
    running
        .wait_whole()
        .context("it is not whole after the fault")?;
    let witness = match &successor {
        Some(node) => node.clone(),
        None => another(running, &owner)?,
    };
    let detected = running.called_dead(&witness, &owner, fault_at)?;
    let serves = contender.serves();
    let two_owners = running.world.observer().two_owners(fault_at, boottime());
    let client = running.world.client();
    let (outage, moved) = client.with_records(|records| {
        (
            outage(records, fault_at, healed_at),
            first_answer(records, &owner, fault_at, healed_at),
        )
    });
    Ok(Sample {
        outage_ms: outage.filter(|_| serves).map(millis),
        moved_ms: moved.map(|at| millis(at.since(fault_at))),
        detected_ms: detected.map(|at| millis(at.since(fault_at))),
        two_owners_ms: serves.then(|| millis(two_owners.time)),
    })
}

/// Waits for the successor or the detection, and for the rest of the fault. Returns the successor.
fn await_end(
    contender: &dyn Contender,
    running: &mut Running,
    owner: &str,
    fault: Fault,
    fault_at: Boottime,
) -> Result<Option<String>> {
    let witness = another(running, owner)?;
    let mut successor = None;
    let waited = wait_until(
        PATIENCE,
        "a successor serves, or the fault is detected",
        || {
            if fault == Fault::Stop && boottime().since(fault_at) >= STOPPED {
                return Ok(true);
            }
            if !contender.serves() {
                std::thread::sleep(Duration::from_millis(20));
                return Ok(running.called_dead(&witness, owner, fault_at)?.is_some());
            }
            successor = running.owner(STEADY).filter(|node| node != owner);
            Ok(successor.is_some())
        },
    );
    match waited {
        Err(error) if error.is::<Interrupted>() => return Err(error),
        // A missing takeover is a result.
        Err(_) => return Ok(None),
        Ok(()) => {}
    }
    let rest = match fault {
        Fault::Stop => STOPPED.saturating_sub(boottime().since(fault_at)),
        _ if contender.serves() => HOLD,
        _ => Duration::ZERO,
    };
    observe(rest, || Ok(()))?;
    Ok(successor)
}

/// The first node by rank that is not `owner`.
fn another(running: &Running, owner: &str) -> Result<String> {
    let mut names = running.world.names().into_iter();
    names
        .find(|name| name != owner)
        .context("there is one node")
}

/// The longest time between two answers, from the last one before `since` until the first one after
/// `until`, or until the last record. `None` without an answer before.
fn outage(records: &[Record], since: Boottime, until: Boottime) -> Option<Duration> {
    let mut at: Vec<_> = records
        .iter()
        .flat_map(Record::answers)
        .map(|one| one.at)
        .collect();
    at.sort_unstable();
    let first = at.partition_point(|at| *at < since).checked_sub(1)?;
    let last = at.partition_point(|at| *at < until);
    let mut during = at[first..last].to_vec();
    during.push(at.get(last).copied().unwrap_or(until).max(until));
    // The fault's end is no answer: only a silence that reaches it ends there.
    let gaps = during.windows(2).map(|pair| pair[1].since(pair[0]));
    gaps.max()
}

/// The first answer of another node than `owner` during the fault.
fn first_answer(
    records: &[Record],
    owner: &str,
    since: Boottime,
    until: Boottime,
) -> Option<Boottime> {
    let answers = records.iter().flat_map(Record::answers);
    let others = answers.filter(|one| *one.node != *owner && (since..until).contains(&one.at));
    others.map(|one| one.at).min()
}

/// With microseconds after the point: more is noise.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::client::Answer;

    const MS: u64 = 1_000_000;

    fn at(millis: u64) -> Boottime {
        Boottime::from_nanos(millis * MS)
    }

    fn record(sent: u64, answer: Option<(u64, &str)>) -> Record {
        let answer = answer.map(|(when, node)| Answer {
            given: at(when),
            at: at(when),
            node: Arc::from(node),
        });
        Record {
            sent: at(sent),
            answer,
            again: Vec::new(),
        }
    }

    #[test]
    fn outage_is_the_longest_silence_of_the_fault() {
        let records = [
            record(0, Some((1, "a"))),
            record(50, Some((51, "a"))),
            record(55, None),
            record(60, Some((71, "b"))),
            record(80, Some((81, "b"))),
            record(200, Some((201, "b"))),
        ];
        let found = outage(&records, at(52), at(90));
        assert_eq!(
            found,
            Some(Duration::from_millis(120)),
            "the silence reaches the end"
        );
        assert_eq!(
            outage(&records[..5], at(52), at(82)),
            Some(Duration::from_millis(20))
        );
        assert_eq!(outage(&records, at(0), at(90)), None);
        assert_eq!(first_answer(&records, "a", at(52), at(90)), Some(at(71)));
        assert_eq!(first_answer(&records, "b", at(52), at(90)), None);
    }
}
