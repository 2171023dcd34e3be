//! One row for each setting of the file, and one file for each table.
//!
//! A row says what the setting means, which values are good, what holds without it, what a reload
//! does about it, whether all nodes must agree on it, and which field of [`Config`] it fills. From
//! the row follow the reader, the names that messages know, [`Config::difference`],
//! [`Config::digest`], the summary of `heartbeat check`, `docs/heartbeat.toml.example` and
//! `docs/reference/config.md`.
//!
//! A new setting is a row, the field that it fills, the line that fills the field, and the code
//! that uses it. What must hold between several settings is judged by the module that reads them.

use super::{
    read::{At, Named, Reader, Section},
    types::Config,
};

pub(crate) mod cluster;
pub(crate) mod colocation;
pub(crate) mod control;
pub(crate) mod defaults;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod hook;
mod info;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod location;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod order;
pub(crate) mod paths;
pub(crate) mod placement;
pub(crate) mod realtime;
pub(crate) mod rebalance;
pub(crate) mod resource;
mod summary;
mod table;
pub(crate) mod vip;

pub use info::{DefaultInfo, SettingInfo, TableInfo};
pub use summary::IfSet;
use table::AnyTable;
pub(crate) use table::{Table, settings, value_of};

/// The line of `heartbeat check` about how nodes find each other alive.
pub const TIMING: &str = "timing";
/// The line of `heartbeat check` about the right to serve.
pub const LEASES: &str = "leases";

/// The row of a setting that is read by `R` and belongs to a `T`: a node, a group, or `()` where a
/// file has one such table.
pub(crate) struct Setting<R: Reader, T: 'static> {
    name: &'static str,
    /// The word of messages for one value, if that is not the name.
    noun: &'static str,
    /// The sentences of the documents, a line each.
    doc: &'static [&'static str],
    reader: R,
    default: Fallback<R::Value>,
    /// A value for examples. A setting with a default shows that, unless this says otherwise.
    example: &'static str,
    /// The types (of a resource, a check, a load) that have the setting; empty for all.
    only: &'static [&'static str],
    reload: Reload,
    /// Whether the digest covers it, because all nodes must agree on it.
    digest: bool,
    check: Check,
    /// The value that a configuration has.
    value: fn(&Config, &T) -> Option<R::Value>,
}

/// The effect of a missing setting.
#[derive(Clone, Copy)]
pub(crate) enum Fallback<V> {
    /// Nothing: the setting must be there, for the types that have it.
    Required,
    /// This value.
    Is(fn() -> V),
    /// A value that depends on other settings. The text says how.
    Follows(&'static str),
    /// Something that no value of the setting says. The text says what.
    Without(&'static str),
}

/// The effect of a reload on a changed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reload {
    /// Refuses it: only a restart of the agent takes it over.
    Restart,
    /// Takes it over as a change of the list of nodes.
    Nodes,
    AutoFailback,
    Maintenance,
    AcceptConfiguration,
    Hooks,
    Health,
    Load,
    Metrics,
    Placement,
    Rebalance,
    Capacity,
    Constraints,
    /// Takes it over as a setting of the group.
    Group,
    /// Stops the resource as it was, and starts the new one.
    Replace,
    /// Takes it over without stopping the resource.
    Adjust,
    /// Nothing by itself: the name tells one node, group or resource from another.
    Identity,
    /// The effect on the setting below this one, which takes its value from here.
    Inherited,
}

/// Where the summary of `heartbeat check` has the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// In the line that has this name, always.
    Line(&'static str),
    /// At the end of the line about its node, group or resource, or in the line of settings, unless
    /// it has its default.
    IfSet,
    /// In a sentence that the summary makes of several settings.
    Prose,
    /// Nowhere: it may be secret, or it says nothing by itself.
    Hidden,
}

impl<R: Reader, T> Setting<R, T> {
    /// A row with the columns that each row has. A table fills in the others.
    const fn new(
        reader: R,
        doc: &'static [&'static str],
        value: fn(&Config, &T) -> Option<R::Value>,
    ) -> Self {
        Self {
            name: "",
            noun: "",
            doc,
            reader,
            default: Fallback::Required,
            example: "",
            only: &[],
            reload: Reload::Inherited,
            digest: false,
            check: Check::Hidden,
            value,
        }
    }

    /// The value in `section` and where it stands. `None` if it is absent or bad; a bad one was
    /// reported, and so was a required one that is absent.
    pub(crate) fn read(&self, section: &Section<'_>) -> Option<At<R::Value>> {
        self.read_by(&self.reader, section)
    }

    /// The same by another reader, where the type of a resource limits what is good.
    pub(crate) fn read_by(&self, reader: &R, section: &Section<'_>) -> Option<At<R::Value>> {
        match section.get(self) {
            Some(value) => reader.read(section, self, value),
            None => {
                if matches!(self.default, Fallback::Required) {
                    section.missing(self);
                }
                None
            }
        }
    }

    /// The value in `section`, without its place.
    pub(crate) fn value(&self, section: &Section<'_>) -> Option<R::Value> {
        self.read(section).map(|read| read.value)
    }

    /// The value in `section`, or the default. Where a required value is missing or bad, that was
    /// reported, and the value that stands in for it is never used.
    pub(crate) fn or_default(&self, section: &Section<'_>) -> R::Value
    where
        R::Value: Default,
    {
        let default = || match self.default {
            Fallback::Is(value) => value(),
            Fallback::Required | Fallback::Follows(_) | Fallback::Without(_) => R::Value::default(),
        };
        self.value(section).unwrap_or_else(default)
    }

    /// The value for examples.
    fn example_value(&self) -> String {
        match self.example {
            "" => self.default_value().unwrap_or_default(),
            example => example.to_owned(),
        }
    }

    fn default_value(&self) -> Option<String> {
        match self.default {
            Fallback::Is(value) => Some(self.reader.write(&value())),
            Fallback::Required | Fallback::Follows(_) | Fallback::Without(_) => None,
        }
    }
}

impl<R: Reader, T> Named for Setting<R, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn noun(&self) -> &'static str {
        match self.noun {
            "" => self.name,
            noun => noun,
        }
    }

    fn example(&self) -> String {
        let value = self.example_value();
        format!("{} = {value}{}", self.name, self.reader.hint())
    }
}

/// A row whose type of value does not matter.
pub(crate) trait Row<T>: Named + Sync {
    fn reload(&self) -> Reload;
    fn in_digest(&self) -> bool;
    fn check(&self) -> Check;
    fn only(&self) -> &'static [&'static str];

    /// The value that `of` has in `config`, as the file writes it.
    fn written(&self, config: &Config, of: &T) -> Option<String>;

    /// The same, unless it is the default.
    fn set(&self, config: &Config, of: &T) -> Option<String>;

    /// The same in words: `agent stall 2s`.
    fn shown(&self, config: &Config, of: &T) -> Option<String>;

    fn info(&self) -> SettingInfo;
}

impl<R: Reader + Sync, T> Row<T> for Setting<R, T> {
    fn reload(&self) -> Reload {
        self.reload
    }

    fn in_digest(&self) -> bool {
        self.digest
    }

    fn check(&self) -> Check {
        self.check
    }

    fn only(&self) -> &'static [&'static str] {
        self.only
    }

    fn written(&self, config: &Config, of: &T) -> Option<String> {
        (self.value)(config, of).map(|value| self.reader.write(&value))
    }

    fn set(&self, config: &Config, of: &T) -> Option<String> {
        let value = self.written(config, of)?;
        (self.default_value().as_deref() != Some(&*value)).then_some(value)
    }

    fn shown(&self, config: &Config, of: &T) -> Option<String> {
        let value = self.reader.show(&(self.value)(config, of)?);
        Some(format!("{} {value}", self.name.replace('_', " ")))
    }

    fn info(&self) -> SettingInfo {
        SettingInfo {
            name: self.name,
            doc: joined(self.doc),
            takes: self.reader.takes(),
            default: match self.default {
                Fallback::Required => DefaultInfo::Required,
                Fallback::Is(value) => DefaultInfo::Is(self.reader.write(&value())),
                Fallback::Follows(what) => DefaultInfo::Follows(what),
                Fallback::Without(what) => DefaultInfo::Without(what),
            },
            example: self.example_value(),
            only: self.only,
            reload: self.reload.words(),
            agreed: self.digest,
        }
    }
}

impl Reload {
    /// The words of the documents.
    const fn words(self) -> &'static str {
        match self {
            Self::Restart => "needs a restart of the agent",
            Self::Nodes => "takes it over, as docs/operate/nodes.md says",
            Self::Replace => "stops the resource, and starts it with the new value",
            Self::Identity => "removes what had the old name, and adds what has the new one",
            Self::Inherited => "as for the setting that takes its value from here",
            _ => "takes it over",
        }
    }
}

/// All tables, in the order of the documents.
static TABLES: [&dyn AnyTable; 19] = [
    &cluster::TABLE,
    &paths::TABLE,
    &control::TABLE,
    &realtime::TABLE,
    &link::TABLE,
    &node::TABLE,
    &defaults::TABLE,
    &vip::TABLE,
    &group::TABLE,
    &resource::TABLE,
    &location::TABLE,
    &colocation::TABLE,
    &order::TABLE,
    &health::TABLE,
    &load::TABLE,
    &placement::TABLE,
    &rebalance::TABLE,
    &metrics::TABLE,
    &hook::TABLE,
];

/// The tables that a file has once.
pub(crate) static SINGLE: [&Table<()>; 8] = [
    &cluster::TABLE,
    &paths::TABLE,
    &control::TABLE,
    &realtime::TABLE,
    &load::TABLE,
    &placement::TABLE,
    &rebalance::TABLE,
    &metrics::TABLE,
];

/// All tables and settings, for documents.
pub fn tables() -> Vec<TableInfo> {
    TABLES.iter().map(|table| table.info()).collect()
}

/// The headers of all tables.
pub(crate) fn headers() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.header())
}

/// The names of the tables at the file's top.
pub(crate) fn top_names() -> Vec<&'static str> {
    let names = headers().map(|header| header.trim_matches(['[', ']']));
    names.filter(|name| !name.contains('.')).collect()
}

/// The lines of a doc comment as one text.
fn joined(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}
