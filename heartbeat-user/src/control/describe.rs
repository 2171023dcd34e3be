//! Events in words, for the log and for `heartbeat events`.

use std::fmt;

use super::protocol::{DownTrace, What};

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("agent started"),
            Self::Stopping => f.write_str("agent stopping"),
            Self::Link {
                node,
                link,
                from,
                to,
            } => {
                write!(f, "node {node}: link {link} is {to} (was {from})")
            }
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
            Self::Quorum {
                quorate: true,
                alive,
            } => write!(f, "quorum gained: {alive} nodes alive"),
            Self::Quorum {
                quorate: false,
                alive,
            } => write!(f, "quorum LOST: {alive} nodes alive"),
            Self::LeaseAcquired {
                vip,
                free_ns,
                majority_ns,
            } => write!(
                f,
                "vip {vip}: lease acquired, {} after it was free",
                Micros(*free_ns, *majority_ns)
            ),
            Self::LeaseGivenUp {
                vip,
                reason,
                successor,
            } => {
                write!(f, "vip {vip}: stops being served here ({reason}")?;
                if let Some(successor) = successor {
                    write!(f, ", for {successor}")?;
                }
                f.write_str(")")
            }
            Self::BallotsExhausted { vip } => write!(
                f,
                "vip {vip}: its ballots are used up: some node has claimed it with a clock or a \
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
            Self::VipError { vip, message } => write!(f, "vip {vip}: {message}"),
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
