//! Candidates for names on the command line, for the completion at a shell: as the running agent
//! knows them, else as the configuration has them. A failure gives no candidates.

use clap_complete::CompletionCandidate;

use super::status;
use crate::{
    config::{Config, DEFAULT_PATH},
    control::protocol::Status,
};

/// The names of one kind, by each of their sources.
struct Kind {
    of_agent: fn(&Status) -> Vec<String>,
    of_file: fn(&Config) -> Vec<String>,
}

const NODES: Kind = Kind {
    of_agent: |status| {
        let nodes = status.nodes.iter();
        nodes.map(|node| node.name.clone()).collect()
    },
    of_file: |config| {
        let nodes = config.nodes.iter();
        nodes.map(|node| node.name.clone()).collect()
    },
};

const GROUPS: Kind = Kind {
    of_agent: |status| {
        let groups = status.groups.iter();
        groups.map(|group| group.name.clone()).collect()
    },
    of_file: |config| {
        let groups = config.served_groups().iter();
        groups.map(|group| group.name.clone()).collect()
    },
};

const RESOURCES: Kind = Kind {
    of_agent: |status| {
        let resources = status.groups.iter().flat_map(|group| &group.resources);
        resources.map(|resource| resource.name.clone()).collect()
    },
    of_file: |config| {
        let groups = config.served_groups().iter();
        let resources = groups.flat_map(|group| group.resources.iter());
        resources.map(|resource| resource.name.clone()).collect()
    },
};

/// The names of all nodes.
pub fn nodes() -> Vec<CompletionCandidate> {
    candidates(&[NODES])
}

/// The names of all groups.
pub fn groups() -> Vec<CompletionCandidate> {
    candidates(&[GROUPS])
}

/// The names of all resources.
pub fn resources() -> Vec<CompletionCandidate> {
    candidates(&[RESOURCES])
}

/// The names of all groups and resources.
pub fn groups_and_resources() -> Vec<CompletionCandidate> {
    candidates(&[GROUPS, RESOURCES])
}

fn candidates(kinds: &[Kind]) -> Vec<CompletionCandidate> {
    let path = std::env::var_os("HEARTBEAT_CONFIG").unwrap_or_else(|| DEFAULT_PATH.into());
    let Ok(config) = Config::load(path.as_ref(), None) else {
        return Vec::new();
    };
    let status = status::ask(&config.socket()).ok();
    let names = kinds.iter().flat_map(|kind| match &status {
        Some(status) => (kind.of_agent)(status),
        None => (kind.of_file)(&config),
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}
