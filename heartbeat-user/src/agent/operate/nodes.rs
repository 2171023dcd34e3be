//! Standby and back, at once or one group after the other.

use std::{
    fs,
    io::ErrorKind,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::wire::NodeState;
use heartbeat_core::cluster::Intent;
use tokio::time::sleep;

use super::{LONG_PATIENCE, Operator, Origin, PATIENCE, POLL, SLOW_POLL, done, said};
use crate::{
    clock,
    config::{Config, Node, Role},
    control::protocol::{Request, Response},
    pulse::Directive,
};

const STANDBY: &str = "standby";

impl Operator {
    pub(super) async fn turn(
        &self,
        node: &str,
        standby: bool,
        request: &Request,
        origin: Origin,
    ) -> Result<Response> {
        let target = self.node(node)?;
        let remote = target.id != self.config.local().id;
        if remote {
            let passed = self.pass_on(target.id, request, origin).await?;
            if !standby || matches!(passed, Response::Error { .. }) {
                return Ok(passed);
            }
        } else {
            remember(&self.config, standby)?;
            // A drain that is under way is over.
            self.turns.fetch_add(1, Relaxed);
            if !standby {
                self.directives.tell(Directive::Intend(Intent::Serve));
                return done(format!("node {node} is online"));
            }
            self.directives.tell(Directive::Intend(Intent::Standby));
            if origin == Origin::Peer {
                return done(format!("node {node} is about to serve nothing"));
            }
            // The pulse needs a moment to hear of it.
            sleep(POLL.max(self.config.interval)).await;
        }
        let patience = match remote {
            true => LONG_PATIENCE,
            false => PATIENCE + self.stats.stop_timeout(),
        };
        let until = clock::now().after(patience.saturating_add(self.config.lease * 2));
        while !self.serves_nothing(target) {
            let stuck = !remote && self.stats.is_idle_as_can_be();
            if stuck || clock::now() > until {
                bail!(
                    "node {node} is on standby, but it still serves something: see `heartbeat status` \
                     and its log"
                );
            }
            sleep(if remote { SLOW_POLL } else { POLL }).await;
        }
        done(format!("node {node} is on standby and serves nothing"))
    }

    /// Empties a node: it takes nothing any more, hands its groups over one after the other, keeps what
    /// nobody else can have, and is on standby once it has nothing.
    pub(super) async fn drain(
        self: &Arc<Self>,
        node: &str,
        request: &Request,
        origin: Origin,
    ) -> Result<Response> {
        let target = self.node(node)?;
        if target.role == Role::Witness {
            bail!("node {node} is a witness: it serves nothing");
        }
        let remote = target.id != self.config.local().id;
        let began = clock::now();
        if remote {
            let passed = self.pass_on(target.id, request, origin).await?;
            if matches!(passed, Response::Error { .. }) {
                return Ok(passed);
            }
        } else {
            remember(&self.config, true)?;
            let turn = self.turns.fetch_add(1, Relaxed) + 1;
            self.directives.tell(Directive::Intend(Intent::Empty));
            tokio::spawn(Arc::clone(self).rest_once_empty(turn));
            if origin == Origin::Peer {
                return done(format!("node {node} begins to drain"));
            }
            sleep(POLL.max(self.config.interval)).await;
        }
        let until = began.after(LONG_PATIENCE);
        while !self.serves_nothing(target) {
            if clock::now() > until {
                let left = self.config.groups.iter();
                let left = left.filter(|group| self.owner(group) == Some(target.id));
                let left: Vec<_> = left.map(|group| group.name.as_str()).collect();
                bail!(
                    "node {node} goes on draining, but after {} s it still serves {}: no other node can take \
                     that just now, see `heartbeat explain {}`; `heartbeat standby {node}` stops it all the \
                     same, `heartbeat online {node}` takes the drain back",
                    LONG_PATIENCE.as_secs(),
                    if left.is_empty() {
                        "something".to_owned()
                    } else {
                        left.join(", ")
                    },
                    left.first().unwrap_or(&"GROUP")
                );
            }
            sleep(SLOW_POLL).await;
        }
        done(format!(
            "node {node} is drained and on standby, after {} ms",
            clock::now().since(began).as_millis()
        ))
    }

    /// Ends a drain when nothing is left, unless an operator decides otherwise before.
    async fn rest_once_empty(self: Arc<Self>, turn: u64) {
        // The pulse needs a moment to hear of it.
        sleep(SLOW_POLL.max(self.config.interval * 2)).await;
        while self.turns.load(Relaxed) == turn {
            if self.stats.is_idle() {
                return self.directives.tell(Directive::Intend(Intent::Standby));
            }
            sleep(SLOW_POLL).await;
        }
    }

    fn serves_nothing(&self, node: &Node) -> bool {
        if node.id == self.config.local().id {
            return self.stats.is_idle();
        }
        // Who drains is on standby once it has nothing.
        self.latest(node.id)
            .is_some_and(|row| said(&row) == NodeState::Standby && row.groups_owned == 0)
    }
}

pub(super) fn is_on_standby(config: &Config) -> bool {
    flag(config).exists()
}

/// The file that says that this node is on standby.
fn flag(config: &Config) -> PathBuf {
    config.state_dir().join(STANDBY)
}

fn remember(config: &Config, standby: bool) -> Result<()> {
    let flag = flag(config);
    let result = if standby {
        fs::write(&flag, "an operator put this node on standby\n")
    } else {
        match fs::remove_file(&flag) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    };
    result.with_context(|| format!("could not change {}", flag.display()))
}
