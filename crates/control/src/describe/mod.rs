//! Events in words, for the log and for `heartbeat events`.

mod group;

use std::fmt;

use self::group::Told;
use super::protocol::{DownTrace, EventKind};

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("agent started"),
            Self::Stopping => f.write_str("agent stopping"),
            Self::Parting => f.write_str("agent ending for a restart"),
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
                from,
                to,
                trace,
            } => {
                write!(f, "node {node} is {to} (was {from})")?;
                trace
                    .as_ref()
                    .map_or(Ok(()), |trace| write!(f, ": {trace}"))
            }
            Self::Deaf { deaf: true, reason } => {
                write!(
                    f,
                    "this node is deaf and declares nobody down for now: {reason}"
                )
            }
            Self::Deaf {
                deaf: false,
                reason,
            } => write!(f, "this node hears again: {reason}"),
            Self::Starved { pause_ns, reason } => write!(
                f,
                "this agent got no processor for {} ms: {reason}",
                pause_ns / 1_000_000
            ),
            Self::Quorum {
                quorate: true,
                alive,
            } => write!(f, "quorum gained: {alive} nodes alive"),
            Self::Quorum {
                quorate: false,
                alive,
            } => write!(f, "quorum LOST: {alive} nodes alive"),
            Self::Resource { resource, state } => write!(f, "resource {resource} is {state}"),
            Self::ResourceFailed {
                resource,
                action,
                outcome,
                message,
            } => {
                write!(f, "resource {resource}: {action} FAILED: {outcome}")?;
                match message.lines().last() {
                    Some(last) => write!(f, ": {last}"),
                    None => Ok(()),
                }
            }
            Self::Health {
                check,
                well: true,
                message,
                ..
            } => write!(f, "health check {check} is well: {message}"),
            Self::Health {
                check,
                failure,
                message,
                ..
            } => write!(f, "health check {check} FAILS ({failure}): {message}"),
            Self::PeerHealth { node, failing, .. } if failing.is_empty() => {
                write!(f, "node {node}: all its health checks are well")
            }
            Self::PeerHealth {
                node,
                failing,
                fatal,
            } => write!(
                f,
                "node {node}: health check {} fails{}",
                failing.join(", "),
                if *fatal {
                    ": it is to serve nothing"
                } else {
                    ""
                }
            ),
            Self::Decided { what } => write!(f, "decided by an operator: {what}"),
            Self::Refused {
                node,
                link,
                bad_macs,
                unknown_keys,
                from,
            } => write!(
                f,
                "node {node}: link {link}: dropped {bad_macs} heartbeats with a wrong tag and {unknown_keys} under an \
                 unknown key, the last from {from}: do the keys differ, or is somebody forging them?"
            ),
            Self::ConfigVersion { version } => write!(
                f,
                "config_version {version} is in force: leases are claimed by a majority of its nodes"
            ),
            Self::Keys(keys) => write!(f, "the cluster's keys changed: {keys}"),
            Self::Group { group, event } => write!(f, "group {group}: {}", Told(event)),
            Self::Vip { vip, event } => write!(f, "vip {vip}: {event}"),
            Self::Hook {
                on, exec, message, ..
            } => write!(f, "hook {exec} on {on}: {message}"),
        }
    }
}

impl fmt::Display for DownTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.last_reply_ns == 0 {
            return f.write_str("it never answered");
        }
        write!(
            f,
            "silent for {}",
            Micros(self.last_reply_ns, self.awake_ns)
        )?;
        write!(
            f,
            ", noticed {} after the deadline",
            Micros(self.deadline_ns, self.awake_ns)
        )
    }
}

/// The time from the first to the second instant, both in nanoseconds.
struct Micros(u64, u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.1.saturating_sub(self.0) / 1_000)
    }
}
