//! `heartbeat events`: the recent events.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use clap::Args;
use clap_complete::ArgValueCandidates;
use heartbeat_common::time::Boottime;

use super::{names, output, status};
use crate::{
    clock,
    control::{
        client::Client,
        protocol::{Event, Events, Request, Response, Status},
    },
    peering, wall_clock,
};

/// Poll interval of `--follow`, and the same for another node's events.
const FOLLOW: Duration = Duration::from_millis(200);
const FOLLOW_NODE: Duration = Duration::from_secs(1);

/// The events to print: those that meet all given conditions.
#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Only events since this time: `10min` ago, or a date and time such as `2026-11-25 17:03:00`
    /// (UTC)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Only the last N events
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Only events of this group, its resources and its addresses
    #[arg(long, value_name = "GROUP", add = ArgValueCandidates::new(names::groups))]
    group: Option<String>,
}

/// Reads a duration before now, or a time in UTC as RFC 3339 has it, with or without `T` and `Z`.
/// Returns nanoseconds since 1970.
fn since(text: &str) -> Result<u64, String> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()));
    }
    let ago = text.trim_start_matches('-').trim_end_matches(" ago");
    let ago = humantime::parse_duration(ago).map_err(|_| {
        "expected a duration such as 10min, or a time in UTC such as 2026-11-25 17:03:00".to_owned()
    })?;
    Ok(clock::wall().saturating_sub(nanos(ago)))
}

impl Filter {
    /// Returns the names that an event of the group may be about; `None` means any.
    fn subjects(&self, status: &Status) -> Result<Option<Vec<String>>> {
        let Some(name) = &self.group else {
            return Ok(None);
        };
        let Some(group) = status.groups.iter().find(|group| group.name == *name) else {
            let known: Vec<&str> = status.groups.iter().map(|group| &*group.name).collect();
            bail!(
                "no group is called `{name}`; there are {}",
                known.join(", ")
            );
        };
        let resources = group.resources.iter();
        let resources = resources.map(|resource| resource.name.clone());
        Ok(Some(resources.chain([name.clone()]).collect()))
    }

    /// Removes the events that are not to be printed.
    fn apply(&self, events: &mut Vec<Event>, subjects: Option<&[String]>) {
        if let Some(since) = self.since {
            events.retain(|event| event.at_unix_ns.is_none_or(|at| at >= since));
        }
        if let Some(subjects) = subjects {
            events.retain(|event| {
                let subject = event.what.subject();
                event.what.is_of_group() && subjects.iter().any(|name| name == subject)
            });
        }
    }
}

/// How events are printed, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub json: bool,
    /// Whether to go on with new events.
    pub follow: bool,
    /// Whether times are those since boot.
    pub boottime: bool,
}

/// Prints the events of `node`, or of the local one, that pass the filter.
pub fn run(socket: &Path, node: Option<&str>, how: How, filter: &Filter) -> Result<()> {
    let subjects = match filter.group {
        Some(_) => filter.subjects(&status::ask(socket)?)?,
        None => None,
    };
    let mut client = Client::connect(socket)?;
    let mut after = 0;
    let mut lines = filter.lines;
    loop {
        let mut events = fetch(&mut client, node, after)?;
        after = events.events.last().map_or(after, |event| event.number);
        filter.apply(&mut events.events, subjects.as_deref());
        // The number of lines limits the past, and no event that is still to come.
        if let Some(lines) = lines.take() {
            let excess = events.events.len().saturating_sub(lines);
            events.events.drain(..excess);
            events.lost = 0;
        }
        let text = render(&events, how.json, how.boottime)?;
        if !output::print(&text)? || !how.follow {
            return Ok(());
        }
        std::thread::sleep(node.map_or(FOLLOW, |_| FOLLOW_NODE));
    }
}

/// Requests all events after number `after`.
fn fetch(client: &mut Client, node: Option<&str>, mut after: u64) -> Result<Events> {
    let takes = node.map_or(Duration::ZERO, |_| peering::PATIENCE);
    let mut all = Events {
        lost: 0,
        events: Vec::new(),
    };
    loop {
        let request = Request::Events {
            after,
            node: node.map(str::to_owned),
        };
        let page = match client.ask(&request, takes)? {
            Response::Events(page) => page,
            other => bail!("unexpected answer from the agent: {other:?}"),
        };
        all.lost += page.lost;
        let last = page.events.last().map(|event| event.number);
        all.events.extend(page.events);
        // The local agent gives all of its events at once.
        match (last, node) {
            (Some(last), Some(_)) => after = last,
            _ => return Ok(all),
        }
    }
}

/// Formats one line per event. Text begins with the wall-clock time, or with the time since boot.
fn render(events: &Events, json: bool, boottime: bool) -> Result<String> {
    let mut text = String::new();
    if events.lost > 0 && !json {
        let _ = writeln!(text, "({} older events are no longer stored)", events.lost);
    }
    for event in &events.events {
        if json {
            let _ = writeln!(text, "{}", serde_json::to_string(event)?);
        } else {
            let _ = match event.at_unix_ns {
                Some(at) if !boottime => write!(text, "{}", wall_clock::rfc3339(at)),
                _ => write!(text, "[{}]", Boottime::from_nanos(event.at_ns)),
            };
            let _ = writeln!(text, " {}", event.what);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{EventKind, GroupEvent};

    fn events(at_unix_ns: Option<u64>) -> Events {
        let started = Event {
            schema_version: 1,
            number: 1,
            at_ns: 8_007_442_001_000,
            at_unix_ns,
            what: EventKind::Started,
        };
        Events {
            lost: 0,
            events: vec![started],
        }
    }

    #[test]
    fn event_begins_with_wall_clock_time_or_time_since_boot() {
        let at = Some(1_764_524_988_123_456_789);
        let shown = |at, boottime| render(&events(at), false, boottime).unwrap();
        assert_eq!(
            shown(at, false),
            "2025-11-30T17:49:48.123456Z agent started\n"
        );
        assert_eq!(shown(at, true), "[8007.442001] agent started\n");
        assert_eq!(shown(None, false), "[8007.442001] agent started\n");
    }

    /// Events at 10, 20 and 30 s, the second of group web, the third of its resource.
    fn three() -> Vec<Event> {
        let group = EventKind::Group {
            group: "web".to_owned(),
            event: GroupEvent::BallotsExhausted,
        };
        let resource = EventKind::Resource {
            resource: "apache".to_owned(),
            state: "started".to_owned(),
            note: String::new(),
        };
        let events = [EventKind::Started, group, resource].into_iter().zip(1..);
        let event = |(what, number): (EventKind, u64)| Event {
            schema_version: 1,
            number,
            at_ns: 0,
            at_unix_ns: Some(number * 10_000_000_000),
            what,
        };
        events.map(event).collect()
    }

    #[test]
    fn filter_keeps_events_since_a_time_and_of_a_group() {
        let numbers = |filter: Filter, subjects: Option<&[String]>| {
            let mut events = three();
            filter.apply(&mut events, subjects);
            let numbers = events.iter().map(|event| event.number);
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(numbers(Filter::default(), None), [1, 2, 3]);
        let later = Filter {
            since: Some(20_000_000_000),
            ..Filter::default()
        };
        assert_eq!(numbers(later, None), [2, 3]);
        let names = ["web".to_owned(), "apache".to_owned()];
        assert_eq!(numbers(Filter::default(), Some(&names)), [2, 3]);
        assert_eq!(numbers(Filter::default(), Some(&names[..1])), [2]);
    }

    #[test]
    fn time_is_a_duration_ago_or_a_date() {
        let date = 1_764_090_180_000_000_000;
        for text in ["2025-11-25 17:03:00", "2025-11-25T17:03:00Z"] {
            assert_eq!(since(text), Ok(date), "{text}");
        }
        for text in ["10min", "-10min", "10min ago", "1h 30m"] {
            let before = since(text).unwrap();
            let ago = clock::wall() - before;
            assert!(
                (600_000_000_000..5_500_000_000_000).contains(&ago),
                "{text}: {ago}"
            );
        }
        for text in ["", "yesterday", "10", "2025-13-01 00:00:00"] {
            let error = since(text).unwrap_err();
            assert!(error.contains("such as 10min"), "{text}: {error}");
        }
    }

    #[test]
    fn event_in_json_has_both_clocks_without_rounding() {
        let at = Some(1_764_524_988_123_456_789);
        assert_eq!(
            render(&events(at), true, false).unwrap(),
            "{\"schema_version\":1,\"number\":1,\"at_ns\":8007442001000,\
             \"at_unix_ns\":\"1764524988123456789\",\"event\":\"started\"}\n"
        );
    }
}
