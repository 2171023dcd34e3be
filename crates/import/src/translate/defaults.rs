//! `rsc_defaults` and `op_defaults`, and Pacemaker's own defaults where they are absent, which
//! differ from ours.

use std::time::Duration;

use heartbeat_core::placement::Score;

use crate::{
    emit::{Block, Comment, Remark, Value},
    model::{Attr, Model},
    place::Place,
    values,
};

#[derive(Debug, Default)]
pub(super) struct Defaults {
    /// The stickiness of one resource. A group's is the sum over its resources.
    pub(super) stickiness: Score,
    /// The number of failures; 0 means never.
    pub(super) threshold: u32,
    /// The time; `None` means for ever.
    pub(super) failure_timeout: Option<Duration>,
    /// The timeout of all operations.
    pub(super) timeout: Option<Duration>,
    /// The place of the setting that resources are not managed.
    pub(super) unmanaged: Option<Place>,
    /// The place of the setting that resources are stopped.
    pub(super) stopped: Option<Place>,
    comments: Vec<Comment>,
    /// Whether any part of the output has defaults.
    needed: bool,
}

/// The value of `migration-threshold`; as in Pacemaker, 0 means never.
pub(super) fn threshold(text: &str) -> Option<u32> {
    match values::score(text)? {
        Score::MUST => Some(0),
        score => u32::try_from(score.points()).ok(),
    }
}

/// The longest time in our configuration.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);

/// The value of `failure-timeout`: `Some(None)` means for ever.
pub(super) fn failure_timeout(text: &str) -> Option<Option<Duration>> {
    let time = values::time(text)?;
    // A longer time than our configuration allows is as good as for ever.
    let time = Some(time).filter(|time| !time.is_zero() && *time <= LONGEST);
    Some(time.map(|time| time.max(Duration::from_secs(1))))
}

/// The value in our configuration.
pub(super) fn or_never(time: Option<Duration>) -> Value {
    time.map_or_else(|| Value::from("never"), Value::from)
}

pub(super) fn translate(model: &mut Model) -> Defaults {
    let mut defaults = Defaults {
        needed: !model.primitives.is_empty(),
        ..Defaults::default()
    };
    for attr in std::mem::take(&mut model.rsc_defaults).0 {
        defaults.of_resources(&attr);
    }
    for attr in std::mem::take(&mut model.op_defaults).0 {
        defaults.of_operations(&attr);
    }
    defaults
}

impl Defaults {
    fn of_resources(&mut self, attr: &Attr) {
        let understood = match attr.name.as_str() {
            "resource-stickiness" => values::score(&attr.value)
                .filter(|score| *score >= Score::ZERO)
                .map(|score| {
                    self.stickiness = score;
                    "stickiness; the stickiness of a group is the sum over its resources, as in \
                     Pacemaker"
                }),
            "migration-threshold" => threshold(&attr.value).map(|threshold| {
                self.threshold = threshold;
                "migration_threshold, where 0 means never"
            }),
            "failure-timeout" => failure_timeout(&attr.value).map(|timeout| {
                self.failure_timeout = timeout;
                "failure_timeout"
            }),
            "is-managed" => values::truth(&attr.value).map(|managed| {
                self.unmanaged = (!managed).then(|| attr.place.clone());
                "maintenance in [cluster] if false"
            }),
            "maintenance" => values::truth(&attr.value).map(|maintenance| {
                self.unmanaged = maintenance.then(|| attr.place.clone());
                "maintenance in [cluster] if true"
            }),
            "target-role" if attr.value.eq_ignore_ascii_case("stopped") => {
                self.stopped = Some(attr.place.clone());
                Some("maintenance in each group, so that it stays stopped")
            }
            "target-role" if attr.value.eq_ignore_ascii_case("started") => Some("so it is here"),
            _ => None,
        };
        self.comment("rsc_defaults", attr, understood);
    }

    fn of_operations(&mut self, attr: &Attr) {
        let understood = match attr.name.as_str() {
            "timeout" => values::time(&attr.value)
                .filter(|timeout| !timeout.is_zero())
                .map(|timeout| {
                    self.timeout = Some(timeout.clamp(Duration::from_millis(100), HOUR));
                    "written out in each resource whose operations have no timeout of their own, \
                     from 100 ms to 60 min"
                }),
            "record-pending" => Some("`heartbeat status` always shows pending operations"),
            _ => None,
        };
        self.comment("op_defaults", attr, understood);
    }

    fn comment(&mut self, section: &str, attr: &Attr, understood: Option<&str>) {
        let subject = format!("{section} {}={}", attr.name, attr.value);
        self.comments.push(match understood {
            Some(what) => Comment::note(format!("{subject} ({}): {what}", attr.place), &attr.place),
            None => Remark::new(
                &attr.place,
                subject,
                "heartbeat has no such default",
                "set the value in each group or resource that needs it",
            )
            .into(),
        });
    }

    /// `[defaults]`, below the comments on the cluster's `properties`.
    pub(super) fn block(&self, properties: &[Comment]) -> Block {
        let mut block = Block::default();
        block.comments.extend_from_slice(properties);
        block.comments.extend_from_slice(&self.comments);
        if self.needed {
            block.header = "[defaults]";
            block.comments.push(Comment::general(
                "Settings that the input lacks have Pacemaker's defaults. Heartbeat's own defaults \
                 are migration_threshold = 3 and failure_timeout = \"10min\".",
            ));
            block.field("stickiness", self.stickiness);
            block.field("migration_threshold", Value::Number(self.threshold.into()));
            block.field("failure_timeout", or_never(self.failure_timeout));
        }
        block
    }
}
