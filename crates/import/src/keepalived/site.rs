//! What one node's file says, as `read` takes it in and the others use it.

use std::net::IpAddr;

use super::{
    command::{self, Command},
    syntax::Item,
    why::{Left, Why},
};
use crate::place::Place;

/// A text, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Said {
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
    /// The node's name, if the caller says it.
    pub(super) name: Option<String>,
    pub(super) router: Option<Said>,
    pub(super) instances: Vec<Instance>,
    pub(super) bundles: Vec<Bundle>,
    /// `vrrp_script` and `vrrp_track_process`.
    pub(super) checks: Vec<Item>,
    pub(super) lefts: Vec<Left>,
}

/// What instances and sync groups have in common.
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
    pub(super) interface: Option<Said>,
    pub(super) priority: Option<Said>,
    /// The state with which it begins.
    pub(super) state: Option<Said>,
    /// The node's own address.
    pub(super) source: Option<Said>,
    pub(super) peers: Vec<Said>,
    pub(super) addresses: Vec<Address>,
    pub(super) nopreempt: Option<Said>,
    pub(super) common: Common,
}

/// A line of `virtual_ipaddress`, or of `virtual_ipaddress_excluded`.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// Without one keepalived adds the address alone.
    pub(super) len: Option<u8>,
    pub(super) device: Option<String>,
    pub(super) place: Place,
    /// Of the block that the line stands in.
    pub(super) block: Place,
    pub(super) excluded: bool,
}

/// A `vrrp_sync_group`.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) members: Vec<Said>,
    pub(super) common: Common,
}

/// What a line of a `track_` block is about.
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
    /// `None` is the weight of the script or process itself.
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

/// The number behind the word `weight`.
fn weight(item: &Item) -> Option<i64> {
    let mut words = item.words.iter().map(|word| word.text.as_str());
    words.find(|word| *word == "weight")?;
    words.next()?.parse().ok()
}

/// A state in which an instance may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Master,
    Backup,
    Fault,
}

/// A `notify` line.
#[derive(Clone, Debug)]
pub(super) struct Notify {
    /// `None` is each of them.
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
            // It is no check.
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

/// Those of the keywords taken that stand before braces.
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

/// Why an item is left out whatever its keyword, or for braces that do not belong to it.
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
