//! The operations of a resource: timeouts of start, stop and monitor, and the interval of monitor.

use std::time::Duration;

use heartbeat_config::duration::Show;

use super::{defaults::Defaults, remarks::left_over};
use crate::{
    emit::{Block, Comment, Remark, Value},
    model::{Attrs, Op, Primitive},
    place::Place,
    values,
};

/// The limits of our configuration.
const SHORTEST: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3_600);
/// Attributes that are left out along with their monitor.
const OF_MONITORS: [&str; 6] = [
    "interval",
    "timeout",
    "role",
    "enabled",
    "OCF_CHECK_LEVEL",
    "depth",
];

/// Adds the fields for the operations of `primitive`.
pub(super) fn translate(
    primitive: &Primitive,
    is_ocf: bool,
    defaults: &Defaults,
    block: &mut Block,
) {
    let mut reader = Reader {
        id: &primitive.id,
        comments: Vec::new(),
    };
    let mut timeouts: [Option<Duration>; 3] = [defaults.timeout; 3];
    let mut said = [false; 2];
    let mut monitors: Vec<(Duration, &Op)> = Vec::new();
    for op in &primitive.ops {
        match op.name.as_str() {
            "start" | "stop" => {
                let at = usize::from(op.name == "stop");
                if std::mem::replace(&mut said[at], true) {
                    reader.remark(op, "the resource has one already", "keep one of the two");
                    continue;
                }
                let mut attrs = op.attrs.clone();
                if let Some(timeout) = reader.timeout(op, &mut attrs) {
                    timeouts[at] = Some(timeout);
                }
                // A start or stop with an interval has no other meaning.
                attrs.take("interval");
                reader.rest(op, attrs);
            }
            "monitor" => monitors.extend(reader.interval(op).map(|interval| (interval, op))),
            _ => reader.remark(
                op,
                "heartbeat runs only start, stop and monitor",
                "no action needed, unless the resource depends on it",
            ),
        }
    }
    // The most frequent monitor; of equals, the first.
    let chosen = (0..monitors.len()).min_by_key(|at| monitors[*at].0);
    let mut interval = None;
    let mut level = None;
    for (at, (every, op)) in monitors.into_iter().enumerate() {
        if Some(at) != chosen {
            let remedy = "move the second check into an exec resource of its own";
            reader.remark(
                op,
                "a resource has one monitor; the import keeps the most frequent",
                remedy,
            );
            continue;
        }
        let mut attrs = op.attrs.clone();
        attrs.take("interval");
        attrs.take("enabled");
        interval = Some(every);
        timeouts[2] = reader.timeout(op, &mut attrs).or(timeouts[2]);
        let depth = attrs
            .take("OCF_CHECK_LEVEL")
            .or_else(|| attrs.take("depth"));
        if let Some(attr) = depth {
            match attr.value.parse::<u32>() {
                Ok(number) if is_ocf => level = Some(number),
                _ => attrs.0.push(attr),
            }
        }
        reader.rest(op, attrs);
    }
    let off = interval.is_none() && primitive.ops.iter().any(is_off);
    block.comments.append(&mut reader.comments);
    if let Some(level) = level {
        block.field("check_level", Value::Number(level.into()));
    }
    for (key, timeout) in ["start_timeout", "stop_timeout", "monitor_timeout"]
        .into_iter()
        .zip(timeouts)
    {
        if let Some(timeout) = timeout {
            block.field(key, timeout);
        }
    }
    match interval {
        Some(interval) => block.field("monitor_interval", interval),
        None if off => block.field("monitor_interval", "never"),
        // The interval is the one in the agent's meta-data, or our own default.
        None => {}
    }
}

/// Whether `op` is a monitor that is switched off.
fn is_off(op: &Op) -> bool {
    op.name == "monitor" && op.attrs.get("enabled").and_then(values::truth) == Some(false)
}

/// Reads the operations of one resource, and collects remarks.
struct Reader<'a> {
    id: &'a str,
    comments: Vec<Comment>,
}

impl Reader<'_> {
    fn subject(&self, op: &Op) -> String {
        let interval = op.attrs.get("interval");
        let interval =
            interval.map_or_else(String::new, |interval| format!(" interval={interval}"));
        format!("op {}{interval} of {}", op.name, self.id)
    }

    fn remark(&mut self, op: &Op, reason: &str, remedy: &str) {
        let subject = self.subject(op);
        self.comments
            .push(Remark::new(&op.place, subject, reason, remedy).into());
        // The other attributes are named too.
        let mut attrs = op.attrs.clone();
        attrs
            .0
            .retain(|attr| !OF_MONITORS.contains(&attr.name.as_str()));
        self.rest(op, attrs);
    }

    fn timeout(&mut self, op: &Op, attrs: &mut Attrs) -> Option<Duration> {
        let attr = attrs.take("timeout")?;
        let timeout = values::time(&attr.value).filter(|timeout| !timeout.is_zero());
        let timeout =
            timeout.map(|timeout| self.within(op, &attr.place, ("timeout", timeout, HOUR)));
        if timeout.is_none() {
            let subject = format!("timeout={} of {}", attr.value, self.subject(op));
            let remedy =
                "write one, as in \"20s\"; without it the default of the agent's meta-data applies";
            self.comments.push(
                Remark::new(&attr.place, subject, "the value is not a duration", remedy).into(),
            );
        }
        timeout
    }

    /// `time`, or the nearest value that our configuration allows, up to `most`.
    fn within(
        &mut self,
        op: &Op,
        place: &Place,
        (what, time, most): (&str, Duration, Duration),
    ) -> Duration {
        let taken = time.clamp(SHORTEST, most);
        if taken != time {
            let subject = format!("{what}={} of {}", Show(time), self.subject(op));
            let reason = format!(
                "heartbeat allows {} to {}, and {} is the nearest value",
                Show(SHORTEST),
                Show(most),
                Show(taken)
            );
            let remedy = "check whether this is long enough: a stop that takes longer blocks the \
            group";
            self.comments
                .push(Remark::new(place, subject, reason, remedy).into());
        }
        taken
    }

    /// The monitor's interval; `None` if this monitor has none.
    fn interval(&mut self, op: &Op) -> Option<Duration> {
        let role = op.attrs.get("role").map(str::to_ascii_lowercase);
        if let Some(role) = role.filter(|role| role != "started") {
            let reason = format!(
                "the operation is for the role {role}, and heartbeat's resources \
            have no roles"
            );
            self.remark(op, &reason, "no action needed");
            return None;
        }
        if op.attrs.get("enabled").and_then(values::truth) == Some(false) {
            self.remark(op, "it is switched off", "no action needed");
            return None;
        }
        let text = op.attrs.get("interval").unwrap_or("0");
        match values::time(text) {
            Some(Duration::ZERO) => {
                let remedy = "no action needed: at its start, heartbeat runs the monitor of each \
                              resource once";
                self.remark(op, "an interval of 0 means no recurring monitor", remedy);
                None
            }
            Some(interval) => Some(self.within(op, &op.place, ("interval", interval, 24 * HOUR))),
            None => {
                self.remark(
                    op,
                    "the interval is not a duration",
                    "write monitor_interval, as in \"10s\"",
                );
                None
            }
        }
    }

    /// Remarks on the remaining attributes.
    fn rest(&mut self, op: &Op, mut attrs: Attrs) {
        attrs.take("role");
        if let Some(attr) = attrs.take("on-fail") {
            // The effect of a failure without `on-fail`.
            let usual = match op.name.as_str() {
                "stop" => false,
                _ => attr.value == "restart",
            };
            if !usual {
                self.comments.push(
                    Remark::new(
                        &attr.place,
                        format!("on-fail={} of {}", attr.value, self.subject(op)),
                        "the reaction to a failure is fixed: heartbeat restarts the resource in \
                         place, up to migration_threshold times, then moves the group",
                        "no action needed, unless the resource must behave so",
                    )
                    .into(),
                );
            }
        }
        let owner = self.subject(op);
        self.comments.extend(left_over("attribute", &owner, attrs));
    }
}
