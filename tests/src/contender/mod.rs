//! Contenders: heartbeat and the products beside it, each with its settings, all in one and the
//! same world.
//!
//! A contender starts its daemons on the nodes of a [`World`]: three nodes, a switch and a client
//! in namespaces. Faults, client and observer are the same for each. The daemons of other products
//! are those of the distribution's packages, unpacked and not installed. Nothing here judges.

mod arp;
mod bfdd;
mod etcd;
mod heartbeat;
mod keepalived;
mod machine;
mod pacemaker;
mod processes;
mod running;
mod wall_clock;
mod world;

use std::{fmt, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Error, Result};
use heartbeat_common::time::Boottime;
use nix::unistd::Pid;

pub use arp::TwoOwners;
pub use running::Running;
pub use world::{PERIOD, World};

use crate::Options;

/// The variable with the directory of unpacked packages, one directory for each product.
/// `cargo xtask` sets it.
pub const TREES: &str = "HEARTBEAT_PEERS";
/// The file in a tree with the product's packages and their versions, one a line.
const VERSIONS: &str = "versions";

/// A product with its settings.
pub trait Contender: fmt::Debug {
    /// A short name that no other contender has, for options and JSON: `keepalived-10ms`.
    fn key(&self) -> &'static str;

    /// The name of the product: `keepalived`.
    fn product(&self) -> &'static str;

    /// The product and its settings in a few words, for charts: `keepalived, 0.01 s`.
    fn label(&self) -> &'static str;

    /// The settings in words: `advert 0.01 s, its minimum`.
    fn settings(&self) -> &'static str;

    /// The version of the product.
    fn version(&self) -> Result<String>;

    /// The reason why it cannot run here; `None` if it can.
    fn missing(&self) -> Option<String>;

    /// Whether it serves an address. One that only detects has no owner.
    fn serves(&self) -> bool {
        true
    }

    /// The description of its world.
    fn options(&self) -> Options {
        Options::default()
    }

    /// Starts the daemons on all nodes of `world`, and does not wait for them.
    fn start(&self, world: &mut World) -> Result<Box<dyn Daemons>>;
}

/// The daemons of a contender on the nodes of a world. They end on drop.
pub trait Daemons: fmt::Debug {
    /// The processes on `node`, by their ids outside of the node, the oldest first.
    fn pids(&mut self, world: &mut World, node: &str) -> Result<Vec<Pid>>;

    /// The number of times since the start that any node called another one dead. Where a product
    /// does not tell that, the number of times that a node took the service over. Only a difference
    /// of two counts has a meaning: the start itself and each real fault count, too.
    fn downs(&mut self, world: &World) -> Result<u64>;

    /// Whether every node sees every node, and `owner`, if there is one, serves alone.
    fn is_whole(&mut self, world: &mut World, owner: Option<&str>) -> Result<bool>;

    /// The instant at which `by` called `node` dead, the first one after `since`; `None` if that
    /// has not happened, or is not told with its instant.
    fn called_dead(
        &mut self,
        world: &World,
        by: &str,
        node: &str,
        since: Boottime,
    ) -> Result<Option<Boottime>>;

    /// Starts the daemons of `node` again after they were killed.
    fn restart(&mut self, world: &mut World, node: &str) -> Result<()>;

    /// The longest delay of a daemon's own timer since its start; `None` where it is not told.
    fn lateness(&mut self, _: &World) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// The last lines of each node's log, for a failure.
    fn logs(&mut self, world: &World) -> String;
}

/// All contenders, in the order of their turns.
pub fn all() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(heartbeat::FASTEST),
        Box::new(heartbeat::DEFAULT),
        Box::new(keepalived::FASTEST),
        Box::new(keepalived::DEFAULT),
        Box::new(pacemaker::FASTEST),
        Box::new(pacemaker::DEFAULT),
        Box::new(etcd::TTL_2S),
        Box::new(bfdd::FASTEST),
        Box::new(bfdd::DEFAULT),
    ]
}

/// The directory of a product's unpacked packages, or the reason why there is none.
fn tree(product: &str) -> Result<PathBuf, String> {
    let Some(trees) = std::env::var_os(TREES).filter(|trees| !trees.is_empty()) else {
        return Err(format!(
            "{TREES} is not set: run this through `cargo xtask`"
        ));
    };
    let tree = PathBuf::from(trees).join(product);
    if tree.is_dir() {
        Ok(tree)
    } else {
        Err(format!(
            "its packages could not be had: no {}",
            tree.display()
        ))
    }
}

/// The packages of a product and their versions: `keepalived 2.2.7-1`.
fn versions(product: &str) -> Result<String> {
    let file = tree(product).map_err(Error::msg)?.join(VERSIONS);
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.lines().collect::<Vec<_>>().join(", "))
}
