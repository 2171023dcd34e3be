//! Standby and back.

use std::{fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::wire::NodeState;
use heartbeat_core::cluster::Intent;
use tokio::time::sleep;

use super::{LONG_PATIENCE, Operator, Origin, PATIENCE, POLL, SLOW_POLL, done, said};
use crate::{
    clock,
    config::{Config, Node},
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

    fn serves_nothing(&self, node: &Node) -> bool {
        if node.id == self.config.local().id {
            return self.stats.is_idle();
        }
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
