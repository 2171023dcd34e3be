//! Takes over other keys while the agent runs, without losing a heartbeat.
//!
//! That needs two things of the new keys. The one that is in use must be among them, since answers to what it sealed
//! are under way. And no peer may be known not to keep up: one that does not take the key that is to seal from now
//! on, or still seals with one that goes.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use heartbeat_common::siphash::SipKey;

use super::{operate::Operator, reason::Reason, view};
use crate::{
    clock,
    config::{
        Config,
        key::{self, Keys},
    },
    control::protocol::What,
    pulse::Directive,
};

type Key = (u8, SipKey);

impl Reason<'_> {
    /// The keys in the file, if they are others than those in use and can follow them.
    pub(super) fn changed_keys(&self, config: &Config) -> Result<Option<Arc<Keys>>> {
        let (old, new) = (&self.operator.keys, Keys::load(&config.key)?);
        if **old == new {
            return Ok(None);
        }
        follows(old, &new)?;
        let view = view::lock(&self.view);
        for peer in self.config.peers() {
            if let Some((mark, seals)) = view.keys_of(peer.id) {
                keeps_up(old, &new, mark, seals)
                    .map_err(|what| what.context(format!("node {}", peer.name)))?;
            }
        }
        drop(view);
        Ok(Some(Arc::new(new)))
    }

    /// Goes on with `keys`, and says which they are. On a failure nothing has changed.
    pub(super) fn rekey(&mut self, keys: Arc<Keys>) -> Result<String> {
        let (slots, rows) = (self.dataplane.slots()?, self.dataplane.peer_rows()?);
        // The kernel first: what anybody seals from now on, it takes.
        self.dataplane.take_keys(&keys.all)?;
        let now = view::lock(&self.view).rekey(Arc::clone(&keys));
        self.exchange.rekey(Arc::clone(&keys));
        self.keys.send_replace(Arc::clone(&keys));
        self.directives.tell(Directive::Rekey {
            key: keys.active,
            generation: self.config.digest(keys.active.1),
        });
        let old = &self.operator;
        self.operator = Arc::new(Operator {
            config: Arc::clone(&old.config),
            keys,
            directives: old.directives.clone(),
            orders: old.orders.clone(),
            view: Arc::clone(&old.view),
            decided: Arc::clone(&old.decided),
            stats: Arc::clone(&old.stats),
            turns: Arc::clone(&old.turns),
            slots,
            rows,
        });
        let text = now.to_string();
        self.note(clock::now(), What::Keys(now));
        self.publish();
        Ok(text)
    }
}

/// That what `old` sealed is taken under `new`, too.
fn follows(old: &Keys, new: &Keys) -> Result<()> {
    let id = old.active.0;
    ensure!(
        new.all.contains(&old.active),
        "key {id} is in use and is not in the new key file, so answers that are under way would be lost\n  \
         take the steps one by one, as `heartbeat keygen --rotate` says: add the new key second, put it first, then \
         remove the old one, with a reload on all nodes after each; or restart the agent"
    );
    Ok(())
}

/// That a peer which takes the keys with this mark, and seals with the one of that id, understands and is understood.
fn keeps_up(old: &Keys, new: &Keys, mark: u32, seals: Option<u8>) -> Result<()> {
    if new.active != old.active
        && !takes(
            mark,
            new.active,
            &[&old.all, &new.all].map(Vec::as_slice).concat(),
        )
    {
        bail!(
            "it does not take key {}, with which this node would seal from now on\n  copy the key file there and reload \
             there first",
            new.active.0
        );
    }
    let gone = old.all.iter().find(|key| !new.all.contains(key));
    if let Some((id, _)) = gone.filter(|(id, _)| seals == Some(*id)) {
        bail!(
            "it still seals with key {id}, which this node would not take any more\n  copy the key file there and \
             reload there first"
        );
    }
    Ok(())
}

/// Whether `mark` is one of a set with `key`, beside at most one of `others`.
fn takes(mark: u32, key: Key, others: &[Key]) -> bool {
    let with = |other: &Key| mark == key::mark(&[key, *other]);
    mark == key::mark(&[key]) || others.iter().filter(|other| **other != key).any(with)
}
