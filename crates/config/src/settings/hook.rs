//! `[[hook]]`: commands to run when something happens.

use std::time::Duration;

use super::{
    Check::{IfSet, Prose},
    Fallback::{Is, Required},
    Reload::Hooks,
    settings,
};
use crate::{
    readers::{Command, OneOrMore, Time, Word},
    types::{Hook, HookEvent},
};

/// The events.
const EVENTS: Word<HookEvent> = Word {
    all: &HookEvent::ALL,
    word: HookEvent::as_str,
    other: "no event",
};

settings! {
    /// Commands to run, without a shell, when something happens.
    "[[hook]]" of Hook, "with two brackets";

    /// The events that run the command.
    ON: OneOrMore<HookEvent> = OneOrMore(EVENTS) => {
        name: "on", default: Required, example: r#""peer-down""#,
        reload: Hooks, digest: false, check: Prose;
        |_, hook| hook.on.clone()
    }

    /// The command.
    EXEC: Command = Command => {
        name: "exec", default: Required, example: r#"["/usr/local/bin/notify"]"#,
        reload: Hooks, digest: false, check: Prose;
        |_, hook| hook.command()
    }

    /// The time after which the command is killed.
    TIMEOUT: Time = Time { low: Duration::from_millis(100), high: Duration::from_secs(600) } => {
        name: "timeout", default: Is(|| Duration::from_secs(10)),
        reload: Hooks, digest: false, check: IfSet;
        |_, hook| hook.timeout
    }
}
