//! `heartbeat events`: the recent events.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Result, bail};
use heartbeat_common::time::Boottime;

use super::output;
use crate::{
    control::{
        client::Client,
        protocol::{Events, Request, Response},
    },
    wall_clock,
};

/// Poll interval of `--follow`.
const FOLLOW: Duration = Duration::from_millis(200);

/// Prints the events, and with `follow` also new ones.
pub fn run(socket: &Path, json: bool, follow: bool, boottime: bool) -> Result<()> {
    let mut client = Client::connect(socket)?;
    let mut after = 0;
    loop {
        let events = match client.ask(&Request::Events { after }, Duration::ZERO)? {
            Response::Events(events) => events,
            other => bail!("unexpected answer from the agent: {other:?}"),
        };
        if !output::print(&render(&events, json, boottime)?)? || !follow {
            return Ok(());
        }
        after = events.events.last().map_or(after, |event| event.number);
        std::thread::sleep(FOLLOW);
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
    use crate::control::protocol::{Event, EventKind};

    fn events(at_unix_ns: Option<u64>) -> Events {
        let started = Event {
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

    #[test]
    fn event_in_json_has_both_clocks_without_rounding() {
        let at = Some(1_764_524_988_123_456_789);
        assert_eq!(
            render(&events(at), true, false).unwrap(),
            "{\"number\":1,\"at_ns\":8007442001000,\
             \"at_unix_ns\":\"1764524988123456789\",\"event\":\"started\"}\n"
        );
    }
}
