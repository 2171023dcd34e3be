//! Scripts that keepalived runs when a state changes, as hooks.

use super::{
    command::Command,
    groups::Served,
    site::{Notify, Site, State},
    units::{Unit, owners},
    why::{Left, Why},
};
use crate::{
    emit::{Block, Comment, Value, listed},
    place::Place,
};

impl State {
    const ALL: [Self; 3] = [Self::Master, Self::Backup, Self::Fault];

    const fn word(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
        }
    }

    /// The nearest event of ours.
    const fn event(self) -> &'static str {
        match self {
            Self::Master => "takeover",
            Self::Backup => "release",
            Self::Fault => "health",
        }
    }

    const fn note(self) -> &'static str {
        match self {
            Self::Master => {
                "if the script starts a service that belongs to the address, make the service a \
                 resource of the group instead"
            }
            Self::Backup => {
                "the hook runs when the address leaves this node, and not when the agent starts"
            }
            Self::Fault => {
                "the hook runs when a fatal health check fails; other faults, such as a network \
                 without carrier, are events of other kinds"
            }
        }
    }
}

/// The hooks of all units.
pub(super) fn hooks(sites: &[Site], served: &[Served], lefts: &mut Vec<Left>) -> Vec<Block> {
    let addresses: usize = served.iter().map(|one| one.names.len()).sum();
    let mut blocks = Vec::new();
    for one in served {
        for (owner, notifies) in of_unit(sites, &one.unit) {
            // A hook runs for each address, keepalived's script ran once.
            let only = one.names.first().filter(|_| addresses > 1);
            for kind in [
                None,
                Some(State::Master),
                Some(State::Backup),
                Some(State::Fault),
            ] {
                let same = notifies
                    .iter()
                    .copied()
                    .filter(|notify| notify.state == kind);
                let same: Vec<&Notify> = same.collect();
                let Some((first, others)) = same.split_first() else {
                    continue;
                };
                let (alike, differing): (Vec<&Notify>, Vec<&Notify>) = others
                    .iter()
                    .partition(|other| other.command == first.command);
                for other in differing {
                    lefts.push(Left::new(&owner, &other.item, Why::Differs));
                }
                let places = std::iter::once(*first).chain(alike);
                let places: Vec<Place> = places.map(|one| one.item.place.clone()).collect();
                let states = kind.map_or(State::ALL.to_vec(), |state| vec![state]);
                for state in states {
                    let block = hook(first, state, &owner, only, &places);
                    blocks.push(with_arguments(block, first, state, &owner, one.priority));
                }
            }
        }
    }
    blocks
}

/// The notify settings of a unit, by owner.
fn of_unit<'a>(sites: &'a [Site], unit: &Unit) -> Vec<(String, Vec<&'a Notify>)> {
    let mut found: Vec<(String, Vec<&Notify>)> = Vec::new();
    for (owner, common) in sites.iter().flat_map(owners) {
        if !unit.is_of(&owner) || common.notify.is_empty() {
            continue;
        }
        match found.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, all)) => all.extend(&common.notify),
            None => found.push((owner, common.notify.iter().collect())),
        }
    }
    found
}

fn hook(
    notify: &Notify,
    state: State,
    owner: &str,
    only: Option<&String>,
    places: &[Place],
) -> Block {
    let mut block = Block::new("[[hook]]");
    let text = format!("{} of {owner} ({})", notify.item.keyword(), listed(places));
    block.comments.push(Comment::Note(text, places.to_vec()));
    block
        .comments
        .extend(notify.command.remark().map(Comment::general));
    block.comments.push(Comment::general(state.note()));
    let condition = match (state, only) {
        (State::Fault, _) => Some(
            "test \"$HEARTBEAT_CHECK_STATE $HEARTBEAT_CHECK_FAILURE\" != \"failing fatal\""
                .to_owned(),
        ),
        (_, Some(name)) => {
            block.comments.push(Comment::general(
                "a hook runs for each address, and this one belongs to a single address: the shell \
                 compares the name",
            ));
            Some(format!("test \"$HEARTBEAT_VIP\" != {name}"))
        }
        (_, None) => None,
    };
    block.field("on", state.event());
    let words = notify.command.words();
    let exec = match condition {
        Some(condition) => {
            let script = format!("{condition} || exec \"$@\"");
            let shell = ["/bin/sh", "-c", &script, "hook"].map(str::to_owned);
            shell.into_iter().chain(words).collect()
        }
        None => words,
    };
    block.field("exec", Value::List(exec));
    block
}

/// Appends the four arguments that keepalived gives to `notify`.
fn with_arguments(
    mut block: Block,
    notify: &Notify,
    state: State,
    owner: &str,
    priority: i64,
) -> Block {
    if notify.state.is_some() {
        return block;
    }
    let (kind, name) = match owner.split_once(' ') {
        Some(("vrrp_sync_group", name)) => ("GROUP", name),
        Some((_, name)) => ("INSTANCE", name),
        None => ("INSTANCE", owner),
    };
    block.comments.push(Comment::general(
        "keepalived adds the last four words; the priority is from the first file, because \
         heartbeat never changes it",
    ));
    if let Some((_, Value::List(words))) = block.fields.last_mut() {
        let added = [kind, name, state.word(), &priority.to_string()].map(str::to_owned);
        match (&notify.command, words.iter().position(|word| word == "-c")) {
            // A shell's text refers to its arguments only by number.
            (Command::Shell(text), Some(_)) => {
                let place = words.iter().rposition(|word| word == text);
                if let Some(word) = place.and_then(|at| words.get_mut(at)) {
                    word.push_str(" \"$@\"");
                }
                words.push("notify".to_owned());
                words.extend(added);
            }
            _ => words.extend(added),
        }
    }
    block
}
