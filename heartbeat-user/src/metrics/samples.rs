//! The samples of one metric, on their way to the text.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeMetric as _, MetricEncoder, NoLabelSet},
    metrics::{MetricType, histogram::Histogram},
};

use super::{Format, Metric};

/// Takes the samples of one metric.
#[derive(Debug)]
pub(super) struct Samples<'e, 'm> {
    encoder: MetricEncoder<'e>,
    metric: &'m Metric,
    format: Format,
}

impl<'e, 'm> Samples<'e, 'm> {
    pub(super) fn new(encoder: MetricEncoder<'e>, metric: &'m Metric, format: Format) -> Self {
        Self {
            encoder,
            metric,
            format,
        }
    }

    /// Adds a sample with these values of the metric's labels, in their order.
    pub(super) fn add(&mut self, labels: &[&str], value: impl Into<Value>) -> fmt::Result {
        let Value(value) = value.into();
        let labels = self.labels(labels);
        // The older format has the suffix of a counter in the name already.
        let counts = match self.format {
            Format::OpenMetrics => matches!(self.metric.kind, MetricType::Counter),
            Format::Text => false,
        };
        if labels.is_empty() {
            return encode(&mut self.encoder, counts, value);
        }
        encode(&mut self.encoder.encode_family(&labels)?, counts, value)
    }

    /// The same if there is a value.
    pub(super) fn add_known(&mut self, labels: &[&str], value: Option<Value>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.add(labels, value))
    }

    /// Adds a sample for each of `states`: 1 for the one that is `current`, and 0 for the others.
    pub(super) fn state(&mut self, labels: &[&str], states: &[&str], current: &str) -> fmt::Result {
        states.iter().try_for_each(|state| {
            let labels = [labels, &[*state]].concat();
            self.add(&labels, *state == current)
        })
    }

    /// Adds a histogram.
    pub(super) fn histogram(&mut self, labels: &[&str], histogram: &Histogram) -> fmt::Result {
        let labels = self.labels(labels);
        if labels.is_empty() {
            // The encoder is borrowed for one family only.
            let none: [(&str, &str); 0] = [];
            return histogram.encode(self.encoder.encode_family(&none)?);
        }
        histogram.encode(self.encoder.encode_family(&labels)?)
    }

    fn labels(&self, values: &[&str]) -> Vec<(&'static str, String)> {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{:?}", self.metric);
        let names = self.metric.labels.iter().copied();
        names.zip(values.iter().copied().map(escaped)).collect()
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, counts: bool, value: f64) -> fmt::Result {
    if counts {
        encoder.encode_counter::<NoLabelSet, f64, u64>(&value, None)
    } else {
        encoder.encode_gauge(&value)
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value(f64);

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self(value as f64)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self(value as f64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(f64::from(u8::from(value)))
    }
}

/// Seconds, from nanoseconds.
pub(super) fn seconds(nanoseconds: u64) -> Value {
    Value(nanoseconds as f64 / 1e9)
}

/// A ratio, from a number per mille.
pub(super) fn ratio(per_mille: u16) -> Value {
    Value(f64::from(per_mille) / 1e3)
}

/// Escapes the value of a label (OpenMetrics, section "Escaping"). The encoder does not.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_with_quotes_and_lines_stays_one_value() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
