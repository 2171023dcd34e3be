//! Applies a changed key file while the agent runs, without losing a heartbeat.
//!
//! The new keys must meet two conditions. The key in use must be among them, because answers to
//! probes under it are in flight. And every peer, as far as known, must keep up: each accepts the
//! key that is to seal from now on, and none still seals with a removed key.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use heartbeat_common::siphash::SipKey;

use super::ControlTask;
use crate::{
    agent::{operate::Operator, view},
    clock,
    config::key::{self, Keys},
    control::protocol::EventKind,
    messages::Directive,
};

type Key = (u8, SipKey);

impl ControlTask<'_> {
    /// Returns the keys of the file if they differ from those in use and may follow them.
    pub(super) fn changed_keys(&self, new: Keys) -> Result<Option<Arc<Keys>>> {
        let old = &self.operator.keys;
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

    /// Switches to `keys` and returns a description of them. A failure changes nothing.
    pub(super) fn rekey(&mut self, keys: Arc<Keys>) -> Result<String> {
        // The kernel comes first: it must accept every key that any sender uses from now on.
        self.dataplane.take_keys(&keys.all, keys.mark())?;
        let now = view::lock(&self.view).rekey(Arc::clone(&keys));
        self.exchange.rekey(Arc::clone(&keys));
        self.keys.send_replace(Arc::clone(&keys));
        self.directives.send(Directive::Rekey {
            key: keys.active,
            generation: self.config.digest(keys.active.1),
        });
        self.operator = Arc::new(Operator {
            keys,
            ..Operator::clone(&self.operator)
        });
        let text = now.to_string();
        self.note(clock::now(), EventKind::Keys(now));
        self.publish();
        Ok(text)
    }
}

/// Checks that frames sealed under `old` are accepted under `new`, too.
fn follows(old: &Keys, new: &Keys) -> Result<()> {
    let id = old.active.0;
    ensure!(
        new.all.contains(&old.active),
        "key {id} is in use and is not in the new key file, so answers in flight would be lost\n  \
         make the steps of `heartbeat keygen --rotate` one by one: add the new key second, move it \
         to the first place, then remove the old one, with a reload on all nodes after each step; \
         or restart the agent"
    );
    Ok(())
}

/// Checks that a peer with this key mark, which seals with the key id `seals`, can exchange frames
/// with this node under `new`.
fn keeps_up(old: &Keys, new: &Keys, mark: u32, seals: Option<u8>) -> Result<()> {
    if new.active != old.active
        && !takes(
            mark,
            new.active,
            &[&old.all, &new.all].map(Vec::as_slice).concat(),
        )
    {
        bail!(
            "it does not accept key {}, which this node would send with from now on\n  \
             copy the key file there and reload there first",
            new.active.0
        );
    }
    let gone = old.all.iter().find(|key| !new.all.contains(key));
    if let Some((id, _)) = gone.filter(|(id, _)| seals == Some(*id)) {
        bail!(
            "it still sends with key {id}, which this node would no longer accept\n  \
             copy the key file there and reload there first"
        );
    }
    Ok(())
}

/// Returns whether `mark` belongs to a set of `key` and at most one of `others`.
fn takes(mark: u32, key: Key, others: &[Key]) -> bool {
    let with = |other: &Key| mark == key::mark(&[key, *other]);
    mark == key::mark(&[key]) || others.iter().filter(|other| **other != key).any(with)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const A: &str = "1 000102030405060708090a0b0c0d0e0f\n";
    const B: &str = "2 f0e1d2c3b4a5968778695a4b3c2d1e0f\n";
    const OTHER_A: &str = "1 0000000000000000000000000000000f\n";

    fn keys(lines: &[&str]) -> Keys {
        Keys::parse(&lines.concat(), Path::new("/k")).unwrap()
    }

    #[test]
    fn key_in_use_must_stay() {
        let good: [(&[&str], &[&str]); 6] = [
            (&[A], &[A, B]),
            (&[A, B], &[B, A]),
            (&[B, A], &[B]),
            // A rotation that was reversed, and one that skipped a step.
            (&[B, A], &[A, B]),
            (&[A, B], &[A]),
            (&[A], &[B, A]),
        ];
        for (old, new) in good {
            follows(&keys(old), &keys(new)).unwrap();
        }
        let bad: [(&[&str], &[&str]); 3] = [(&[A], &[B]), (&[A, B], &[B]), (&[A], &[OTHER_A])];
        for (old, new) in bad {
            let error = follows(&keys(old), &keys(new)).unwrap_err().to_string();
            assert!(
                error.contains("key 1 is in use") && error.contains("--rotate"),
                "{error}"
            );
        }
    }

    #[test]
    fn no_peer_is_left_behind() {
        let (a, ab, ba, b) = (keys(&[A]), keys(&[A, B]), keys(&[B, A]), keys(&[B]));
        let tried =
            |old: &Keys, new: &Keys, peer: &Keys, seals| keeps_up(old, new, peer.mark(), seals);
        // A new active key requires peers that have this key.
        for peer in [&ab, &ba, &b] {
            tried(&ab, &ba, peer, Some(1)).unwrap();
        }
        for peer in [&a, &keys(&[OTHER_A]), &keys(&[OTHER_A, B])] {
            let error = tried(&ab, &ba, peer, None).unwrap_err().to_string();
            assert!(error.contains("does not accept key 2"), "{error}");
        }
        // A new key requires nothing. The removal of a key requires that no peer seals with it.
        tried(&a, &ab, &a, Some(1)).unwrap();
        tried(&ba, &b, &ba, Some(2)).unwrap();
        tried(&ba, &b, &ba, None).unwrap();
        let error = tried(&ba, &b, &ab, Some(1)).unwrap_err().to_string();
        assert!(error.contains("still sends with key 1"), "{error}");
    }
}
