//! Events in words, for the log and for `heartbeat events`.

use std::fmt;

use super::protocol::{DownTrace, What};

impl fmt::Display for What {
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
            } => write!(f, "quorum gained: {}", Alive(*alive)),
            Self::Quorum {
                quorate: false,
                alive,
            } => write!(f, "quorum LOST: {}", Alive(*alive)),
            Self::LeaseAcquired {
                group,
                free_ns,
                majority_ns,
            } => write!(
                f,
                "group {group}: lease acquired, {} after it was free",
                Micros(*free_ns, *majority_ns)
            ),
            Self::LeaseGivenUp {
                group,
                reason,
                successor,
            } => {
                write!(f, "group {group}: stops being served here ({reason}")?;
                if let Some(successor) = successor {
                    write!(f, ", for {successor}")?;
                }
                f.write_str(")")
            }
            Self::ClaimGivenUp {
                group,
                reason,
                by,
                remaining_us,
            } => {
                let by = by.as_deref().unwrap_or("another node");
                write!(f, "group {group}: claim given up for now: ")?;
                match reason.as_str() {
                    "lease" => write!(f, "the lease of {by} lives on for {remaining_us} us"),
                    "promise" => write!(f, "{by} claims it with a higher ballot"),
                    _ => f.write_str("too few acceptors granted it in time"),
                }
            }
            Self::BallotsExhausted { group } => write!(
                f,
                "group {group}: its ballots are used up: some node has claimed it with a clock or a \
                 release that is far off; restart all agents and responders of the cluster"
            ),
            Self::Takeover {
                vip,
                decided_ns,
                address_ns,
                announced_ns,
                ..
            } => write!(
                f,
                "vip {vip}: taken over; address up {} after the decision, announced {}",
                Micros(*decided_ns, *address_ns),
                Micros(*decided_ns, *announced_ns)
            ),
            Self::Release {
                vip,
                decided_ns,
                address_ns,
            } => write!(
                f,
                "vip {vip}: released; address gone {} after the decision",
                Micros(*decided_ns, *address_ns)
            ),
            Self::Resource {
                resource,
                state,
                note,
            } => {
                write!(f, "resource {resource} is {state}")?;
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
            Self::Group { group, state } => match state.as_str() {
                "started" => write!(f, "group {group}: all of it runs"),
                "incomplete" => write!(f, "group {group}: not all of it runs"),
                "stopped" => write!(f, "group {group}: all of it has stopped"),
                "barred" => write!(
                    f,
                    "group {group}: cannot run here for now; `heartbeat cleanup` forgets its failures"
                ),
                "fit" => write!(f, "group {group}: may run here again"),
                "blocked" => write!(
                    f,
                    "group {group}: BLOCKED: it could not be stopped, and may still run; stop it by hand, \
                     then `heartbeat cleanup`"
                ),
                "broken" => write!(
                    f,
                    "group {group}: an interface of its addresses is missing, down or without carrier here"
                ),
                "mended" => write!(
                    f,
                    "group {group}: the interfaces of its addresses work again here"
                ),
                _ => write!(f, "group {group}: {state}"),
            },
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
            Self::Outdated { node, by } => write!(
                f,
                "node {node}: its heartbeats are refused by {by}, since they are of an older incarnation than was \
                 heard before: its clock was set back, and its state directory is lost; set its clock right and \
                 restart the agent there"
            ),
            Self::ConfigVersion { version } => write!(
                f,
                "config_version {version} is in force: leases are claimed by a majority of its nodes"
            ),
            Self::Keys(keys) => write!(f, "the cluster's keys changed: {keys}"),
            Self::PutBack { vip, message, .. }
            | Self::Claimed { vip, message, .. }
            | Self::Stray { vip, message }
            | Self::VipError { vip, message } => write!(f, "vip {vip}: {message}"),
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

/// How many nodes are alive.
struct Alive(usize);

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} node{plural} alive", self.0)
    }
}

/// The time from the first to the second instant, both in nanoseconds.
struct Micros(u64, u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.1.saturating_sub(self.0) / 1_000)
    }
}
