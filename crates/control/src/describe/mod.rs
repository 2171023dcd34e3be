//! The texts of events, for the log and for `heartbeat events`.

mod group;

use std::fmt;

use heartbeat_common::units::Short;

use self::group::GroupEventText;
use super::protocol::{DownTrace, EventKind};

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("agent started"),
            Self::Stopping => f.write_str("agent stopping"),
            Self::GracefulRestart => f.write_str(
                "agent stopping for a restart: programs, addresses and resources stay in place",
            ),
            Self::Link {
                node,
                link,
                from,
                to,
            } => {
                write!(f, "node {node}: link {link} is {to} (was {from})")
            }
            Self::Interface {
                interface, message, ..
            } => write!(f, "interface {interface}: {message}"),
            Self::SocketGuard { message, .. } => write!(f, "guard at the sockets: {message}"),
            Self::Peer {
                node,
                trace: Some(trace),
                ..
            } => write!(f, "node {node} is DOWN: {trace}"),
            Self::Peer { node, from, to, .. } => {
                let to = if to == "down" { "DOWN" } else { to };
                write!(f, "node {node} is {to} (was {from})")
            }
            Self::LocalStall {
                began: true,
                reason,
            } => write!(
                f,
                "local stall: {reason}; the silence of peers is counted anew, and this node takes \
                 no group until the stall is over"
            ),
            Self::LocalStall {
                began: false,
                reason,
            } => write!(f, "local stall over: {reason}"),
            Self::Starved { pause_ns, reason } => write!(
                f,
                "agent got no CPU for {}: {reason}",
                Short::nanos(*pause_ns)
            ),
            Self::Quorum { quorate, alive } => {
                let (what, s) = (if *quorate { "gained" } else { "LOST" }, plural(*alive));
                write!(f, "quorum {what}: {alive} node{s} alive")
            }
            Self::Resource {
                resource,
                state,
                note,
            } => {
                write!(f, "resource {resource}: {state}")?;
                match note.as_str() {
                    "" => Ok(()),
                    note => write!(f, " ({note})"),
                }
            }
            Self::ResourceFailed {
                resource,
                action,
                outcome,
                message,
            } => {
                write!(f, "resource {resource}: {action} FAILED: {outcome}")?;
                let lines: Vec<_> = message.lines().collect();
                match lines.as_slice() {
                    [] => Ok(()),
                    lines => write!(f, ": {}", lines.join(" / ")),
                }
            }
            Self::Health {
                check,
                well: true,
                message,
                ..
            } => write!(f, "health check {check} OK: {message}"),
            Self::Health {
                check,
                failure,
                message,
                ..
            } => write!(f, "health check {check} FAILED ({failure}): {message}"),
            Self::PeerHealth { node, failing, .. } if failing.is_empty() => {
                write!(f, "node {node}: all health checks OK")
            }
            Self::PeerHealth {
                node,
                failing,
                fatal,
            } => {
                let failing = failing.join(", ");
                let so = if *fatal { " (fatal)" } else { "" };
                write!(f, "node {node}: health checks failed: {failing}{so}")
            }
            Self::Decided {
                node: Some(node),
                what,
            } => write!(f, "operator on node {node}: {what}"),
            Self::Decided { node: None, what } => write!(f, "operator: {what}"),
            Self::Refused {
                node,
                link,
                bad_tags,
                unknown_keys,
                from,
                ..
            } => write!(
                f,
                "node {node}: link {link}: {}: key files differ, or an attacker forges heartbeats",
                rejected(*bad_tags, *unknown_keys, from)
            ),
            Self::Outdated { node, by } => write!(
                f,
                "node {node}: heartbeats rejected by {by} (older incarnation than received \
                 before): its clock was set back and its state directory was lost; set the clock \
                 and restart its agent"
            ),
            Self::ConfigVersion { version } => write!(
                f,
                "config_version {version} in force: a lease needs a majority of its nodes"
            ),
            Self::Keys(keys) => write!(f, "keys changed: {keys}"),
            Self::Hook {
                on, exec, message, ..
            } => write!(f, "hook {exec} on {on}: {message}"),
            Self::Group { group, event } => write!(f, "group {group}: {}", GroupEventText(event)),
            Self::Vip { vip, event } => write!(f, "vip {vip}: {event}"),
        }
    }
}

/// The text about heartbeats from a peer's address with a tag that fits no key of this node.
pub fn rejected(bad_tags: u64, unknown_keys: u64, from: &str) -> String {
    format!(
        "{unknown_keys} heartbeats rejected (unknown key), {bad_tags} rejected (bad authentication \
         tag); last sender {from}"
    )
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl fmt::Display for DownTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.last_reply_ns == 0 {
            return f.write_str("never answered");
        }
        let since = |at: u64| Short::nanos(at.saturating_sub(self.last_reply_ns));
        write!(
            f,
            "no reply for {} (timeout {})",
            since(self.awake_ns),
            since(self.deadline_ns)
        )
    }
}
