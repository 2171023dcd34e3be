//! What a caller gives the importer: the files' texts, and how to translate them.

use std::{sync::Arc, time::SystemTime};

use super::place::Place;

/// One file to import.
#[derive(Clone, Debug)]
pub struct Input {
    /// What messages and comments call it.
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

/// What is to be imported. Without `corosync` nobody knows the nodes' addresses.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub corosync: Option<Input>,
    /// The resources, in the crm shell's syntax or as `cib.xml`.
    pub resources: Option<Input>,
}

/// How to translate what can be translated in two ways.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The links' interfaces, in the links' order: the input does not name them.
    pub interfaces: Vec<String>,
    /// Whether IPaddr2 stays the agent that it is, and does not become the built-in `vip`.
    pub keep_agents: bool,
    /// By which it is told what has ended; without it, nothing has.
    pub now: Option<SystemTime>,
}
