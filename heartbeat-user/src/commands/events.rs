//! `heartbeat events`: what happened lately.

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

/// How often `--follow` asks for news.
const FOLLOW: Duration = Duration::from_millis(200);

/// Prints the events, and with `interface_monitor` those to come.
pub fn run(socket: &Path, json: bool, follow: bool, boottime: bool) -> Result<()> {
    let mut client = Client::connect(socket)?;
    let mut after = 0;
    loop {
        let events = match client.ask(&Request::Events { after }, Duration::ZERO)? {
            Response::Events(events) => events,
            other => bail!("the agent answered something else: {other:?}"),
        };
        if !output::print(&render(&events, json, boottime)?)? || !follow {
            return Ok(());
        }
        after = events.events.last().map_or(after, |event| event.number);
        std::thread::sleep(FOLLOW);
    }
}

/// One line an event. Text has the wall clock's time, or that since boot.
fn render(events: &Events, json: bool, boottime: bool) -> Result<String> {
    let mut text = String::new();
    if events.lost > 0 && !json {
        let _ = writeln!(text, "({} older events are forgotten)", events.lost);
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
    fn event_begins_with_the_wall_clock_or_on_demand_with_the_time_since_boot() {
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
    fn event_in_json_has_both_clocks_and_none_that_a_reader_rounds() {
        let at = Some(1_764_524_988_123_456_789);
        assert_eq!(
            render(&events(at), true, false).unwrap(),
            "{\"number\":1,\"at_ns\":8007442001000,\
             \"at_unix_ns\":\"1764524988123456789\",\"event\":\"started\"}\n"
        );
    }
}
