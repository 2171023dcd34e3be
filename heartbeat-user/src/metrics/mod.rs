//! The agent's metrics as text, for Prometheus.
//!
//! One row of a table declares a metric: its name, its labels, its meaning, and how its samples
//! follow from a [`Snapshot`]. The page docs/operate/monitoring.md has the same table. All values
//! come from the status and from counts of the control task, so a scrape asks nothing of the pulse.

mod agent;
mod groups;
mod links;
mod nodes;
mod samples;
mod tally;
#[cfg(test)]
mod tests;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::MetricType,
    registry::Registry,
};

use self::samples::{Samples, Value};
pub(crate) use self::tally::Tally;
use crate::{
    clock,
    control::protocol::{Group, Node, PeerLink, Status},
};

/// The first part of each name.
const PREFIX: &str = "heartbeat";

/// The format of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The older text format 0.0.4, which also the textfile collector of node_exporter reads.
    Text,
}

impl Format {
    /// The media type for HTTP.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The values of one scrape.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    pub(crate) tally: Tally,
    /// The kernel's clock source, if it can be read.
    clock_source: Option<String>,
}

impl Snapshot {
    pub(crate) fn new(status: Status, tally: Tally) -> Self {
        Self {
            status,
            tally,
            clock_source: clock::source().ok(),
        }
    }
}

/// A metric: a family of samples with the same name.
#[derive(Debug)]
struct Metric {
    /// The name without [`PREFIX`], and without `_total` of a counter. The unit is its last word.
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
    samples: Source,
}

/// Where the samples of a metric come from. A function of one thing gives no sample where it gives
/// no value.
#[derive(Debug)]
enum Source {
    /// The function adds all samples.
    All(fn(&Snapshot, &mut Samples<'_, '_>) -> fmt::Result),
    /// One sample for each node, with its name as the label.
    Nodes(fn(&Node) -> Option<Value>),
    /// One sample for each group, with its name as the label.
    Groups(fn(&Group) -> Option<Value>),
    /// One sample for each link to each peer, with node, link and address as the labels.
    Links(fn(&PeerLink) -> Option<Value>),
}

impl Source {
    fn add_to(&self, out: &mut Samples<'_, '_>, snapshot: &Snapshot) -> fmt::Result {
        let Status { nodes, groups, .. } = &snapshot.status;
        match self {
            Self::All(add) => add(snapshot, out),
            Self::Nodes(value) => nodes
                .iter()
                .try_for_each(|node| out.add_known(&[&node.name], value(node))),
            Self::Groups(value) => groups
                .iter()
                .try_for_each(|group| out.add_known(&[&group.name], value(group))),
            Self::Links(value) => nodes.iter().try_for_each(|Node { name, links, .. }| {
                links.iter().try_for_each(|link| {
                    let labels: &[&str] = &[name, &link.link.to_string(), &link.address];
                    out.add_known(labels, link.peer.as_ref().and_then(value))
                })
            }),
        }
    }
}

impl Metric {
    /// The name as samples have it, without the prefix and apart from the parts of a histogram.
    fn name_of_samples(&self) -> String {
        let suffix = match self.kind {
            MetricType::Counter => "_total",
            _ => "",
        };
        format!("{}{suffix}", self.name)
    }
}

/// All metrics, in the order of the text.
fn all() -> impl Iterator<Item = &'static Metric> {
    [
        nodes::METRICS,
        groups::METRICS,
        links::METRICS,
        agent::METRICS,
    ]
    .into_iter()
    .flatten()
}

/// Writes the metrics of a snapshot as text.
pub(crate) fn render(snapshot: Snapshot, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape { snapshot, format }));
    let mut text = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut text, &registry)?,
        Format::Text => text::encode_registry(&mut text, &registry)?,
    }
    Ok(text)
}

/// The values of one scrape, as the registry asks for them.
#[derive(Debug)]
struct Scrape {
    snapshot: Snapshot,
    format: Format,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in all() {
            let full = metric.name_of_samples();
            // The older format names a counter with its suffix, as its samples.
            let name = match self.format {
                Format::OpenMetrics => metric.name,
                Format::Text => &full,
            };
            let encoder = encoder.encode_descriptor(name, metric.help, None, metric.kind)?;
            let mut samples = Samples::new(encoder, metric, self.format);
            metric.samples.add_to(&mut samples, &self.snapshot)?;
        }
        Ok(())
    }
}
