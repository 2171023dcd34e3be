//! `[[hook]]`: commands to run when something happens.

use std::{fmt, path::PathBuf, time::Duration};

use super::{command, fields, read::Section, sections::label, values};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10 * 60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A command to run when something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// At least one, without repetition.
    pub on: Vec<HookEvent>,
    /// Absolute path.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub timeout: Duration,
}

/// What a hook can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookEvent {
    PeerDown,
    /// Its kernel answers, its agent does not tick.
    PeerStalled,
    /// A check of its health fails.
    PeerUnhealthy,
    /// It hands over what it serves.
    PeerDraining,
    PeerUp,
    Takeover,
    Release,
    /// A check of this node's health failed, or is well again.
    Health,
    /// A group is handed over because this node has too much to do.
    Rebalance,
}

impl HookEvent {
    pub const ALL: [Self; 9] = [
        Self::PeerDown,
        Self::PeerStalled,
        Self::PeerUnhealthy,
        Self::PeerDraining,
        Self::PeerUp,
        Self::Takeover,
        Self::Release,
        Self::Health,
        Self::Rebalance,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerDown => "peer-down",
            Self::PeerStalled => "peer-stalled",
            Self::PeerUnhealthy => "peer-unhealthy",
            Self::PeerDraining => "peer-draining",
            Self::PeerUp => "peer-up",
            Self::Takeover => "takeover",
            Self::Release => "release",
            Self::Health => "health",
            Self::Rebalance => "rebalance",
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

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
