//! The content of one node's file, which `read` makes and the other modules use.

use std::net::IpAddr;

use super::{
    command::{self, Command},
    syntax::Item,
    why::{Left, Why},
};
use crate::place::Place;

/// A text and its place.
#[derive(Clone, Debug)]
pub(super) struct Sourced {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Sourced {
    pub(super) fn value(item: &Item) -> Option<Self> {
        Some(Self {
            text: item.value()?.to_owned(),
            place: item.place.clone(),
        })
    }

    pub(super) fn keyword(item: &Item) -> Self {
        Self {
            text: item.keyword().to_owned(),
            place: item.place.clone(),
        }
    }
}

/// One file.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// The node's name, if the caller gives it.
    pub(super) name: Option<String>,
    pub(super) router: Option<Sourced>,
    pub(super) instances: Vec<Instance>,
    pub(super) bundles: Vec<Bundle>,
    /// The items `vrrp_script` and `vrrp_track_process`.
    pub(super) checks: Vec<Item>,
    pub(super) lefts: Vec<Left>,
}

/// The common settings of instances and sync groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    pub(super) tracked: Vec<Tracked>,
    pub(super) notify: Vec<Notify>,
}

/// A `vrrp_instance`.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) interface: Option<Sourced>,
    pub(super) priority: Option<Sourced>,
    /// The initial state.
    pub(super) state: Option<Sourced>,
    /// The node's own address.
    pub(super) source: Option<Sourced>,
    pub(super) peers: Vec<Sourced>,
    pub(super) addresses: Vec<Address>,
    pub(super) nopreempt: Option<Sourced>,
    pub(super) common: Common,
}

/// A line of `virtual_ipaddress`, or of `virtual_ipaddress_excluded`.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// The prefix length. Without one keepalived adds the address alone.
    pub(super) len: Option<u8>,
    pub(super) device: Option<String>,
    pub(super) place: Place,
    /// The place of the line's block.
    pub(super) block: Place,
    pub(super) excluded: bool,
}

/// A `vrrp_sync_group`.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) members: Vec<Sourced>,
    pub(super) common: Common,
}

/// The kind of a `track_` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Interface,
    Script,
    Process,
}

/// A line of `track_interface`, `track_script` or `track_process`.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The weight; `None` means the script's or the process's own weight.
    pub(super) weight: Option<i64>,
    pub(super) reverse: bool,
    pub(super) item: Item,
}

impl Tracked {
    pub(super) fn kind(keyword: &str) -> Option<Kind> {
        match keyword {
            "track_interface" => Some(Kind::Interface),
            "track_script" => Some(Kind::Script),
            "track_process" => Some(Kind::Process),
            _ => None,
        }
    }

    pub(super) fn read(kind: Kind, line: &Item) -> Self {
        Self {
            kind,
            name: line.keyword().to_owned(),
            weight: weight(line),
            reverse: line.words.iter().any(|word| word.text == "reverse"),
            item: line.clone(),
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name
    }
}

/// The number after the word `weight`.
fn weight(item: &Item) -> Option<i64> {
    let mut words = item.words.iter().map(|word| word.text.as_str());
    words.find(|word| *word == "weight")?;
    words.next()?.parse().ok()
}

/// A state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Master,
    Backup,
    Fault,
}

/// A `notify` line.
#[derive(Clone, Debug)]
pub(super) struct Notify {
    /// The state; `None` means every state.
    pub(super) state: Option<State>,
    pub(super) command: Command,
    pub(super) item: Item,
}

impl Notify {
    pub(super) fn read(item: &Item) -> Option<Self> {
        let state = match item.keyword() {
            "notify" => None,
            "notify_master" => Some(State::Master),
            "notify_backup" => Some(State::Backup),
            "notify_fault" => Some(State::Fault),
            _ => return None,
        };
        let command = match command::of(item)? {
            // The script is no check.
            Command::Process(_) | Command::Tcp(_) => Command::Shell(item.value()?.to_owned()),
            command => command,
        };
        Some(Self {
            state,
            command,
            item: item.clone(),
        })
    }

    pub(super) fn left(&self, owner: &str, why: Why) -> Left {
        Left::new(owner, &self.item, why)
    }
}

/// The known keywords with a block.
const BLOCKS: [&str; 12] = [
    "global_defs",
    "global_definitions",
    "vrrp_instance",
    "vrrp_sync_group",
    "vrrp_script",
    "vrrp_track_process",
    "unicast_peer",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "track_interface",
    "track_script",
    "track_process",
];

/// The reason for leaving out an item whatever its keyword, or for braces that do not belong to it.
pub(super) fn aside(item: &Item) -> Option<Why> {
    let keyword = item.keyword();
    let include = [
        "include", "includer", "includem", "includew", "includeb", "includea",
    ];
    if include.contains(&keyword) {
        Some(Why::Included)
    } else if keyword.starts_with('@') {
        Some(Why::Conditional)
    } else if keyword.starts_with('$') || keyword.starts_with('~') {
        Some(Why::Parameter)
    } else if item.items().is_empty() || keyword == "group" || BLOCKS.contains(&keyword) {
        None
    } else {
        Some(Why::of(keyword))
    }
}
