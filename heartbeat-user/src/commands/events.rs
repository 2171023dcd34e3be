//! `heartbeat events`: what happened lately.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Result, bail};
use heartbeat_common::time::Boottime;

use super::output;
use crate::control::{
    client::Client,
    protocol::{Events, Request, Response},
};

/// How often `--follow` asks for news.
const FOLLOW: Duration = Duration::from_millis(200);

/// Prints the events, and with `follow` those to come.
pub fn run(socket: &Path, json: bool, follow: bool) -> Result<()> {
    let mut client = Client::connect(socket)?;
    let mut after = 0;
    loop {
        let events = match client.ask(&Request::Events { after }, Duration::ZERO)? {
            Response::Events(events) => events,
            other => bail!("the agent answered something else: {other:?}"),
        };
        if !output::print(&render(&events, json)?)? || !follow {
            return Ok(());
        }
        after = events.events.last().map_or(after, |event| event.number);
        std::thread::sleep(FOLLOW);
    }
}

/// One line an event.
fn render(events: &Events, json: bool) -> Result<String> {
    let mut text = String::new();
    if events.lost > 0 && !json {
        let _ = writeln!(text, "({} older events are forgotten)", events.lost);
    }
    for event in &events.events {
        if json {
            let _ = writeln!(text, "{}", serde_json::to_string(event)?);
        } else {
            let _ = writeln!(
                text,
                "[{}] {}",
                Boottime::from_nanos(event.at_ns),
                event.what
            );
        }
    }
    Ok(text)
}
