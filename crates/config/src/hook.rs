//! `[[hook]]`: commands to run when something happens.

use std::{path::PathBuf, time::Duration};

use super::{
    command, fields,
    read::{Section, label},
    types::{Hook, HookEvent},
    values,
};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10 * 60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// All of them. A hook needs nothing but itself, so it is whole already.
pub(super) fn read(top: &Section<'_>) -> Vec<Hook> {
    use fields::{EXEC, HOOK, HOOK_TIMEOUT, ON};
    let known = [ON, EXEC, HOOK_TIMEOUT];
    top.tables(&HOOK, &known, label("hook"))
        .iter()
        .filter_map(hook)
        .collect()
}

fn hook(section: &Section<'_>) -> Option<Hook> {
    use fields::{EXEC, HOOK_TIMEOUT};
    let limit = values::duration(SHORTEST, LONGEST);
    let timeout = section.text(&HOOK_TIMEOUT, limit);
    let on = hook_events(section);
    let mut words = command::required(section, &EXEC)?.into_iter();
    Some(Hook {
        on: on?,
        program: PathBuf::from(words.next()?),
        args: words.collect(),
        timeout: timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.value),
    })
}

fn hook_events(section: &Section<'_>) -> Option<Vec<HookEvent>> {
    use fields::ON;
    if !section.has(&ON) {
        section.missing(&ON);
    }
    let listed = section.one_or_list(&ON, values::event)?;
    if listed.is_empty() {
        let remedy = format!("name an event, as in {}", ON.example);
        section.problem(section.at_field(&ON), "on is empty", remedy);
    }
    let mut events = Vec::new();
    for event in listed.into_iter().flatten() {
        if events.contains(&event.value) {
            section.problem(
                event.at,
                format!("on \"{}\" stands twice", event.value),
                "keep one",
            );
        } else {
            events.push(event.value);
        }
    }
    Some(events)
}
