//! The figures of a comparison, as data and as JSON. Keys are only ever added.

use anyhow::Result;
use clap::ValueEnum as _;
use serde::Serialize;

use super::{Plan, machine::Machine};
use crate::{Fault, contender::Contender};

/// One fault of one contender, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// The longest time without an answer for the client; `None` without a service.
    pub(super) outage_ms: Option<f64>,
    /// From the fault to the first answer of another node; `None` if no other node answered.
    pub(super) moved_ms: Option<f64>,
    /// From the fault until the successor called the owner dead, where that is told.
    pub(super) detected_ms: Option<f64>,
    /// The time with two owners on the wire, until all was well again.
    pub(super) two_owners_ms: Option<f64>,
}

/// Nearest-rank quantiles: each is a value that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    pub count: usize,
    pub median: f64,
    pub p90: f64,
    pub max: f64,
}

impl Quantiles {
    /// The quantiles of `values`; `None` without any.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            count: sorted.len(),
            median: at(0.5)?,
            p90: at(0.9)?,
            max: at(1.0)?,
        })
    }
}

/// A fault of a contender in all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub fault: String,
    pub runs: usize,
    pub outage_ms: Option<Quantiles>,
    pub moved_ms: Option<Quantiles>,
    pub detected_ms: Option<Quantiles>,
    pub two_owners_ms: Option<Quantiles>,
    #[serde(skip)]
    samples: Vec<Sample>,
}

/// A contender and its results.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub key: &'static str,
    pub product: &'static str,
    /// The product and its settings, in a few words.
    pub label: &'static str,
    pub settings: &'static str,
    pub version: Option<String>,
    pub serves: bool,
    /// The reason why it was not measured.
    pub missing: Option<String>,
    pub outcomes: Vec<Outcome>,
    /// The reasons why rounds ended early.
    pub failures: Vec<String>,
}

/// The whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The day in UTC: `2026-12-31`.
    pub date: String,
    pub commit: String,
    pub machine: Machine,
    pub rounds: u32,
    pub contenders: Vec<Entry>,
}

impl Report {
    pub(super) fn new(plan: &Plan, contenders: &[&dyn Contender]) -> Result<Self> {
        let entry = |contender: &&dyn Contender| {
            let missing = contender.missing();
            let version = match &missing {
                Some(_) => None,
                None => Some(contender.version()?),
            };
            Ok(Entry {
                key: contender.key(),
                product: contender.product(),
                label: contender.label(),
                settings: contender.settings(),
                version,
                serves: contender.serves(),
                missing,
                outcomes: plan.faults.iter().copied().map(Outcome::new).collect(),
                failures: Vec::new(),
            })
        };
        Ok(Self {
            date: super::machine::date()?,
            commit: super::machine::commit(),
            machine: Machine::read()?,
            rounds: plan.rounds,
            contenders: contenders.iter().map(entry).collect::<Result<_>>()?,
        })
    }

    pub(super) fn add(&mut self, key: &str, fault: Fault, sample: Sample) {
        let fault = name(fault);
        let entry = self.contenders.iter_mut().find(|entry| entry.key == key);
        let outcomes = entry.into_iter().flat_map(|entry| &mut entry.outcomes);
        for outcome in outcomes.filter(|outcome| outcome.fault == fault) {
            outcome.add(sample);
        }
    }

    pub(super) fn fail(&mut self, key: &str, reason: String) {
        let entry = self.contenders.iter_mut().find(|entry| entry.key == key);
        entry
            .into_iter()
            .for_each(|entry| entry.failures.push(reason.clone()));
    }
}

impl Outcome {
    fn new(fault: Fault) -> Self {
        Self {
            fault: name(fault),
            runs: 0,
            outage_ms: None,
            moved_ms: None,
            detected_ms: None,
            two_owners_ms: None,
            samples: Vec::new(),
        }
    }

    fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
        self.runs = self.samples.len();
        let of = |value: fn(&Sample) -> Option<f64>| {
            Quantiles::of(self.samples.iter().filter_map(value))
        };
        self.outage_ms = of(|sample| sample.outage_ms);
        self.moved_ms = of(|sample| sample.moved_ms);
        self.detected_ms = of(|sample| sample.detected_ms);
        self.two_owners_ms = of(|sample| sample.two_owners_ms);
    }

    /// The fault in words.
    pub fn title(&self) -> &'static str {
        match self.fault.as_str() {
            "silent" => "owner silent (the switch port stops forwarding)",
            "cut" => "port down (carrier lost)",
            "kill" => "owner's daemons killed",
            "stop" => "owner's daemons stopped for 5 s",
            _ => "another fault",
        }
    }
}

/// The name of a fault, as the demo's options have it.
fn name(fault: Fault) -> String {
    let value = fault.to_possible_value();
    value
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// A report of one fault, with a contender for each label and its outage.
#[cfg(test)]
pub(super) fn made_up(outages: &[(&'static str, f64)]) -> Report {
    let entry = |(label, outage): &(&'static str, f64)| {
        let mut outcome = Outcome::new(Fault::Silent);
        outcome.add(Sample {
            outage_ms: Some(*outage),
            two_owners_ms: Some(0.0),
            ..Sample::default()
        });
        Entry {
            key: label,
            product: "product",
            label,
            settings: "",
            version: None,
            serves: true,
            missing: None,
            outcomes: vec![outcome],
            failures: Vec::new(),
        }
    };
    Report {
        date: "2026-12-31".to_owned(),
        commit: "0123abcdef".to_owned(),
        machine: Machine {
            cpu: "A CPU".to_owned(),
            cores: 2,
            kernel: "6.12.1".to_owned(),
        },
        rounds: 1,
        contenders: outages.iter().map(entry).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let ten = Quantiles::of((1..=10).rev().map(f64::from)).expect("values");
        assert_eq!(
            (ten.count, ten.median, ten.p90, ten.max),
            (10, 5.0, 9.0, 10.0)
        );
        assert_eq!(Quantiles::of(std::iter::empty()), None);
    }
}
