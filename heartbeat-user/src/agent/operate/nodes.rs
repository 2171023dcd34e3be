//! Standby and online, and drain: standby after one group at a time has moved.

use std::{
    fs,
    io::ErrorKind,
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::{
    maps::PeerRow,
    time::Boottime,
    wire::{Health, NodeState},
};
use heartbeat_core::cluster::Intent;
use heartbeat_sys::files::atomic_file;
use tokio::time::sleep;

use super::{
    LONG_PATIENCE, Operator, Origin, PATIENCE, POLL, SLOW_POLL, announced_state, done, view,
};
use crate::{
    agent::voters,
    clock,
    config::{Config, Node, Role},
    control::protocol::{Request, Response},
    decision_store::DecisionStore,
    messages::Directive,
};

const STANDBY: &str = "standby";
/// The first word of the standby file while the node drains.
const DRAIN: &str = "drain";

impl Operator {
    /// Puts a node on standby. Without `force` another node must be able to take over its groups.
    pub(super) async fn stand_by(
        &self,
        node: &str,
        force: bool,
        request: &Request,
        origin: Origin,
    ) -> Result<Response> {
        if self.node(node)?.id == self.config.local().id && !force && !self.stats.is_idle() {
            let asked = self.hear_all().await;
            let others = self.config.members();
            let others = others.filter(|other| other.id != self.config.local().id);
            let mut why = Vec::new();
            for other in others {
                match self.why_not_to_take(other, asked) {
                    None => return self.turn(node, true, request, origin).await,
                    Some(reason) => why.push(reason),
                }
            }
            bail!(
                "node {node} serves groups that no other node can take over now; {}\n  wait for \
                 another node: `heartbeat wait --stable`; or use --force",
                why.join("; ")
            );
        }
        self.turn(node, true, request, origin).await
    }

    /// Returns the reason against a stop of this node, if any, by the last known state of the
    /// others.
    pub(in crate::agent) fn why_not_to_stop(&self) -> Option<String> {
        self.loss_since(Boottime::default())
    }

    /// Returns the same reason by fresh answers of the others. A node that has just stopped counts
    /// as alive until `timeout`, so its last answer is not enough.
    pub(in crate::agent) async fn why_not_to_stop_now(&self) -> Option<String> {
        let asked = self.hear_all().await;
        self.loss_since(asked)
    }

    fn loss_since(&self, asked: Boottime) -> Option<String> {
        let voters = view::lock(&self.view).voters(clock::now(), asked);
        voters::loss(&voters, self.config.local().id)
    }

    /// Waits until every live peer has answered, for `timeout` at most. Returns the time of its
    /// begin.
    async fn hear_all(&self) -> Boottime {
        let asked = clock::now();
        let until = asked.after(self.config.timeout);
        while clock::now() < until && view::lock(&self.view).is_any_silent_since(asked) {
            sleep(POLL).await;
        }
        asked
    }

    /// Returns the reason why another member cannot acquire any group, if any. A starting node
    /// counts as able. An answer from before `asked` does not count.
    fn why_not_to_take(&self, other: &Node, asked: Boottime) -> Option<String> {
        let name = &other.name;
        let row = self.latest(other.id);
        let answered = |row: &PeerRow| Boottime::from_nanos(row.last_reply_at) >= asked;
        let Some(row) = row.filter(answered) else {
            return Some(format!("{name} does not answer"));
        };
        match announced_state(&row) {
            _ if Health(row.health).is_fatal() => Some(format!("{name} is unhealthy")),
            NodeState::Active | NodeState::Starting => None,
            state => Some(format!("{name} is {}", state.name())),
        }
    }

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
            if !standby {
                self.decide_here(Intent::Serve).await?;
                return done(format!("node {node} is online"));
            }
            self.decide_here(Intent::Standby).await?;
            if origin == Origin::Peer {
                return done(format!("node {node} is going on standby"));
            }
            // The pulse applies the intent at its next tick.
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
                    "node {node} is on standby, but it still serves a group: see `heartbeat \
                     status` and its log"
                );
            }
            sleep(if remote { SLOW_POLL } else { POLL }).await;
        }
        done(format!("node {node} is on standby and serves nothing"))
    }

    /// Drains a node: it acquires nothing any more and hands its groups over one by one. It keeps
    /// groups that no other node can take, and goes on standby once it serves none.
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
            let turn = self.decide_here(Intent::Empty).await?;
            tokio::spawn(Arc::clone(self).standby_once_empty(turn));
            if origin == Origin::Peer {
                return done(format!("node {node} begins to drain"));
            }
            sleep(POLL.max(self.config.interval)).await;
        }
        let turn = *self.lock_turns();
        let until = began.after(LONG_PATIENCE);
        while !self.is_drained(target) {
            let undone = match remote {
                true => {
                    let said = self.latest(target.id).map(|row| announced_state(&row));
                    // The last known state may be from before the drain.
                    said == Some(NodeState::Active) && clock::now().since(began) > PATIENCE
                }
                false => *self.lock_turns() != turn,
            };
            if undone {
                bail!(
                    "the drain of node {node} was taken back, or something else decided, meanwhile"
                );
            }
            if clock::now() > until {
                let left = self.config.groups.iter();
                let left = left.filter(|group| self.owner(group) == Some(target.id));
                let left: Vec<_> = left.map(|group| group.name.as_str()).collect();
                bail!(
                    "node {node} is still draining, and after {} s still serves {}: no other node \
                     can take that over now, see `heartbeat explain {}`; `heartbeat standby \
                     {node}` stops it anyway, `heartbeat online {node}` cancels the drain",
                    LONG_PATIENCE.as_secs(),
                    match left.is_empty() {
                        true => "something".to_owned(),
                        false => left.join(", "),
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

    /// Continues a drain that the last agent had begun.
    pub(in crate::agent) fn go_on_draining(self: &Arc<Self>) {
        let turn = *self.lock_turns();
        tokio::spawn(Arc::clone(self).standby_once_empty(turn));
    }

    /// Ends a drain when the node serves nothing, unless an operator decides otherwise before.
    async fn standby_once_empty(self: Arc<Self>, turn: u64) {
        // The pulse applies the intent at its next tick.
        sleep(SLOW_POLL.max(self.config.interval * 2)).await;
        while *self.lock_turns() == turn && !self.stats.is_idle() {
            sleep(SLOW_POLL).await;
        }
        let operator = Arc::clone(&self);
        // The same thread writes any other decision, so each comes either before this or after it.
        drop(self.writer.run(move || operator.end_drain(turn)));
    }

    /// Ends the drain with the number `turn`, unless an operator decided otherwise meanwhile.
    fn end_drain(&self, turn: u64) {
        if *self.lock_turns() != turn {
            return;
        }
        if let Err(error) = remember(&self.config, Intent::Standby) {
            log::warn!("{error:#}: a restarted agent goes on with the drain");
        }
        self.directives.send(Directive::Intend(Intent::Standby));
    }

    /// Writes an operator's intent for this node to disk, and then sends it to the pulse. Returns
    /// the number of the decision.
    async fn decide_here(&self, intent: Intent) -> Result<u64> {
        let operator = self.clone();
        let job = move || {
            remember(&operator.config, intent)?;
            // A drain in progress is over.
            let turn = {
                let mut turns = operator.lock_turns();
                *turns += 1;
                *turns
            };
            operator.directives.send(Directive::Intend(intent));
            Ok(turn)
        };
        self.writer.run(job).in_time().await
    }

    fn lock_turns(&self) -> MutexGuard<'_, u64> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_drained(&self, node: &Node) -> bool {
        let local = node.id == self.config.local().id;
        let standby = view::lock(&self.view).state() == NodeState::Standby;
        self.serves_nothing(node) && (!local || standby)
    }

    fn serves_nothing(&self, node: &Node) -> bool {
        if node.id == self.config.local().id {
            return self.stats.is_idle();
        }
        // A draining node goes on standby once it serves nothing.
        self.latest(node.id).is_some_and(|row| {
            announced_state(&row) == NodeState::Standby && row.owned().groups() == 0
        })
    }
}

/// Returns the intent of the last agent: an operator's standby or drain outlives a restart.
///
/// A node that has `lost` its other operator decisions is on standby until an operator decides
/// otherwise.
pub(in crate::agent) fn remembered(config: &Config, lost: Option<&DecisionStore>) -> Intent {
    if let Some(store) = lost {
        match remember(config, Intent::Standby) {
            Ok(()) => store.put_aside(),
            Err(error) => log::error!("{error:#}: the damaged file stays, for the next agent"),
        }
        return Intent::Standby;
    }
    match fs::read_to_string(flag(config)) {
        Ok(text) if text.starts_with(DRAIN) => Intent::Empty,
        Ok(_) => Intent::Standby,
        Err(error) if error.kind() == ErrorKind::NotFound => Intent::Serve,
        // The file exists; its contents do not matter.
        Err(_) => Intent::Standby,
    }
}

/// Returns the path of the file with the operator's intent for this node. The file is absent if the
/// node may serve.
fn flag(config: &Config) -> PathBuf {
    config.state_dir().join(STANDBY)
}

fn remember(config: &Config, intent: Intent) -> Result<()> {
    let flag = flag(config);
    let text = match intent {
        Intent::Serve | Intent::Drain => None,
        Intent::Standby => Some("standby: an operator put this node on standby\n".to_owned()),
        Intent::Empty => Some(format!("{DRAIN}: an operator drains this node\n")),
    };
    let result = match text {
        Some(text) => atomic_file::replace(&flag, text.as_bytes()),
        None => match fs::remove_file(&flag) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        },
    };
    result.with_context(|| format!("could not change {}", flag.display()))
}
