//! `heartbeat keygen --rotate`: replaces the cluster's key in three steps, each done on all nodes.
//!
//! 1. The new key becomes the second of the file: the node accepts it from then on.
//! 2. The new key becomes the first: the node sends with it.
//! 3. The old key is removed.
//!
//! Each step is refused while a node is known not to have taken the one before. A node without the
//! new key would otherwise reject all packets.

use std::fs;

use anyhow::{Context as _, Result, bail};
use heartbeat_common::siphash::SipKey;

use super::{keygen, output, status};
use crate::{
    config::{
        Config,
        key::{Keys, file_text},
    },
    control::protocol::Status,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Add,
    Use,
    Remove,
}

/// Takes the next step in the configured key file and prints what to do now. With `force` it does
/// not check whether the cluster is ready.
pub fn rotate(config: &Config, force: bool) -> Result<()> {
    // For a symbolic link its target is replaced, not the link.
    let path = fs::canonicalize(&config.key).unwrap_or_else(|_| config.key.clone());
    let keys = Keys::load(&path)?;
    let step = next(&keys)?;
    if !force {
        let status = status::ask(&config.socket()).context(
            "cannot tell whether all nodes have the present key file; --force takes the next step \
             without this check",
        )?;
        let unready = unready(&keys, &status);
        if !unready.is_empty() {
            bail!(
                "not yet: before the next step all nodes must have the present key file\n  {}\n  \
                 --force takes the next step now",
                unready.join("\n  ")
            );
        }
    }
    let keys = taken(step, &keys)?;
    keygen::replace_file(&path, &file_text(&keys))?;
    output::print(&instructions(step, &keys, config)).map(drop)
}

/// Returns the next step, judged by the ids: the new key's id is one above the old one's.
fn next(keys: &Keys) -> Result<Step> {
    match *keys.ids() {
        [_] => Ok(Step::Add),
        [first, second] if second == first.wrapping_add(1) => Ok(Step::Use),
        [first, second] if first == second.wrapping_add(1) => Ok(Step::Remove),
        _ => bail!(
            "the key file has keys with the ids {:?}, and neither follows the other: which one is \
             new?\n  put the new one first, reload all nodes, then remove the old one and reload \
             again",
            keys.ids()
        ),
    }
}

/// Returns the keys after `step`.
fn taken(step: Step, keys: &Keys) -> Result<Vec<(u8, SipKey)>> {
    let mut all = keys.all.clone();
    match step {
        Step::Add => all.push((keys.active.0.wrapping_add(1), keygen::fresh_key()?)),
        Step::Use => all.reverse(),
        Step::Remove => all.truncate(1),
    }
    Ok(all)
}

/// Returns the nodes that lack the present key file, or of which no report says so.
fn unready(keys: &Keys, status: &Status) -> Vec<String> {
    let own = status.keys.as_ref();
    if own.is_none_or(|own| (own.seals, own.mark) != (keys.active.0, keys.mark())) {
        return vec!["this node: run `heartbeat reload`".to_owned()];
    }
    let others = status.nodes.iter().filter(|node| !node.local);
    let lack = others.filter_map(|node| {
        let lack = match (node.same_keys, node.key) {
            (Some(false), _) => "has other keys: copy the key file there, and reload there",
            (Some(true), Some(seals)) if seals != keys.active.0 => {
                "sends with the other key: copy the key file there, and reload there"
            }
            (Some(true), _) => return None,
            (None, _) => "sends no report: is it down, or of an older release?",
        };
        Some(format!("node {}: {lack}", node.name))
    });
    lack.collect()
}

fn instructions(step: Step, keys: &[(u8, SipKey)], config: &Config) -> String {
    let path = config.key.display();
    let id = |index: usize| keys.get(index).map_or(0, |(id, _)| *id);
    let (number, done, next) = match step {
        Step::Add => (
            1,
            format!(
                "accept the new key {}, still send with key {}",
                id(1),
                id(0)
            ),
            "then `heartbeat keygen --rotate` again, here",
        ),
        Step::Use => (
            2,
            format!(
                "send with the new key {}, still accept the old key {}",
                id(0),
                id(1)
            ),
            "then `heartbeat keygen --rotate` again, here",
        ),
        Step::Remove => (
            3,
            format!("use key {} alone", id(0)),
            "then the old key is no longer accepted anywhere",
        ),
    };
    let others: Vec<_> = config.peers().map(|node| node.name.as_str()).collect();
    let others = others.join(", ");
    format!(
        "step {number} of 3: in {path}, {done}\n  \
         now on each node, one after the other: this one, {others}\n    \
         scp -p {path} NODE:{path}   # not on this one\n    \
         heartbeat reload   # on a witness without an agent: repeat the command that loaded it\n  \
         {next}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn keys(ids: &[u8]) -> Keys {
        let key = |id: &u8| (*id, SipKey::from_bytes([id.wrapping_add(7); 16]));
        let all: Vec<_> = ids.iter().map(key).collect();
        Keys::parse(&file_text(&all), Path::new("/k")).unwrap()
    }

    #[test]
    fn rotation_replaces_any_key_in_three_steps() {
        for id in [0, 1, 254, 255] {
            let mut now = keys(&[id]);
            let new = id.wrapping_add(1);
            let steps = [
                (Step::Add, vec![id, new]),
                (Step::Use, vec![new, id]),
                (Step::Remove, vec![new]),
            ];
            let old = now.active;
            for (step, ids) in steps {
                assert_eq!(next(&now).unwrap(), step);
                let text = file_text(&taken(step, &now).unwrap());
                now = Keys::parse(&text, Path::new("/k")).unwrap();
                assert_eq!(now.ids(), ids);
            }
            assert_ne!(now.active.1, old.1);
        }
    }

    #[test]
    fn unrelated_key_ids_are_left_to_the_operator() {
        let error = next(&keys(&[7, 2])).unwrap_err().to_string();
        assert!(
            error.contains("[7, 2]") && error.contains("put the new one first"),
            "{error}"
        );
    }

    /// A status with this node and two others.
    fn status(own: &Keys, others: [(Option<bool>, Option<u8>); 2]) -> Status {
        let node = |name: &str, local, (same, key): (Option<bool>, Option<u8>)| {
            serde_json::json!({
                "name": name, "id": 1, "local": local, "state": "up", "agent": "active", "links": [],
                "same_keys": same, "key": key,
            })
        };
        let [b, c] = others;
        serde_json::from_value(serde_json::json!({
            "version": "", "cluster": "", "instance": "", "node": "a", "pid": 1, "at_ns": 1, "uptime_ns": 1,
            "interval_ns": 1, "timeout_ns": 1, "state": "active", "vips": [], "counters": {},
            "quorum": { "quorate": true, "alive": 3, "needed": 2, "configured": 3 },
            "pulse": {
                "realtime_priority": 1, "memory_locked": true, "ticks": 1, "missed_ticks": 0, "max_lateness_ns": 0,
                "local_stall": false, "local_stall_count": 0, "send_errors": 0,
            },
            "keys": { "seals": own.active.0, "takes": own.ids(), "mark": own.mark() },
            "nodes": [node("a", true, (Some(true), None)), node("b", false, b), node("c", false, c)],
        }))
        .unwrap()
    }

    #[test]
    fn rotation_step_waits_for_all_nodes() {
        let file = keys(&[1, 2]);
        let well = (Some(true), Some(1));
        let witness = (Some(true), None);
        assert!(unready(&file, &status(&file, [well, witness])).is_empty());

        let cases = [
            (
                status(&keys(&[1]), [well, well]),
                "this node: run `heartbeat reload`",
            ),
            (
                status(&keys(&[2, 1]), [well, well]),
                "this node: run `heartbeat reload`",
            ),
            (
                status(&file, [well, (Some(false), Some(1))]),
                "node c: has other keys",
            ),
            (
                status(&file, [(Some(true), Some(2)), well]),
                "node b: sends with the other key",
            ),
            (
                status(&file, [well, (None, None)]),
                "node c: sends no report",
            ),
        ];
        for (status, expected) in cases {
            let lack = unready(&file, &status);
            assert!(lack.len() == 1 && lack[0].starts_with(expected), "{lack:?}");
        }
    }
}
