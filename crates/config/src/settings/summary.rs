//! The part of the summary of `heartbeat check` that follows from the rows.

use super::{Check, Row, SINGLE, Table, group, health, hook, link, node, resource};
use crate::types::{Config, Group, HealthCheck, Hook, Link, Node, Resource};

impl Config {
    /// The settings in the line with this name: `interval 10ms, timeout 30ms`.
    pub fn summary_line(&self, line: &str) -> String {
        let rows = SINGLE.iter().flat_map(|table| table.rows);
        let rows = rows.filter(|row| matches!(row.check(), Check::Line(of) if of == line));
        let shown: Vec<_> = rows.filter_map(|row| row.shown(self, &())).collect();
        shown.join(", ")
    }

    /// The settings that have no line and not their default: `[realtime] priority 50`.
    pub fn summary_of_others(&self) -> Vec<String> {
        let of_table = |table: &&'static Table<()>| {
            let shown = set(table, self, &()).into_iter();
            let header = table.header;
            shown.map(move |shown| format!("{header} {shown}"))
        };
        SINGLE.iter().flat_map(of_table).collect()
    }
}

/// The subject of a line of the summary.
pub trait IfSet {
    /// The end of the line, of settings that do not have their default: `, check level 10`.
    fn if_set(&self, config: &Config) -> String;
}

macro_rules! if_set {
    ($($of:ty: $table:path;)*) => {
        $(impl IfSet for $of {
            fn if_set(&self, config: &Config) -> String {
                let set = set(&$table, config, self).into_iter();
                set.map(|shown| format!(", {shown}")).collect()
            }
        })*
    };
}

if_set! {
    Link: link::TABLE;
    Node: node::TABLE;
    Group: group::TABLE;
    Resource: resource::TABLE;
    HealthCheck: health::TABLE;
    Hook: hook::TABLE;
}

fn set<T>(table: &Table<T>, config: &Config, of: &T) -> Vec<String> {
    let rows: Vec<&'static dyn Row<T>> = table.rows.to_vec();
    let shown = rows.into_iter().filter(|row| {
        let is_set = row.set(config, of).is_some();
        is_set && row.check() == Check::IfSet
    });
    shown.filter_map(|row| row.shown(config, of)).collect()
}
