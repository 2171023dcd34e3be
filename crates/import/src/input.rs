//! The input of the importer: the files' texts, and the options.

use std::{sync::Arc, time::SystemTime};

use super::place::Place;

/// One file to import.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name of the file in messages and comments.
    pub name: String,
    pub text: String,
}

impl Input {
    /// Line `line` of this file.
    pub(super) fn place(&self, line: usize) -> Place {
        Place {
            file: Arc::from(self.name.as_str()),
            line,
            statement: 0,
        }
    }
}

/// The inputs of an import. Without `corosync` the nodes' addresses are unknown.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub corosync: Option<Input>,
    /// The resources, in the crm shell's syntax or as `cib.xml`.
    pub resources: Option<Input>,
}

/// Options for parts that can be translated in two ways.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The links' interfaces, in the links' order: the input does not name them.
    pub interfaces: Vec<String>,
    /// Whether IPaddr2 stays an agent, and does not become the built-in `vip`.
    pub keep_agents: bool,
    /// The present time, which decides whether a date has passed; without it, none has.
    pub now: Option<SystemTime>,
}
