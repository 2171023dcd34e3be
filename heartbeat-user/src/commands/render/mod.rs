//! Formats the status as text, in the manner of `crm status`.

mod groups;

use std::{fmt::Write as _, time::Duration};

use heartbeat_common::units::Short;

use super::count::Count;
use crate::control::{
    describe::rejected,
    protocol::{Link, Node, Status},
};

#[derive(Clone, Copy)]
enum Colour {
    Good,
    Warning,
    Bad,
}

/// The text so far. Writes into a string never fail, so their results are ignored.
struct Page {
    text: String,
    colours: bool,
}

pub(super) fn status(status: &Status, colours: bool) -> String {
    let mut page = Page {
        text: String::new(),
        colours,
    };
    page.summary(status);
    page.line("");
    page.line("Node List:");
    for node in &status.nodes {
        page.node(node, status);
    }
    page.groups(status);
    page.failures(status);
    page.text
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn item(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "  * {:<14} {value}", format!("{name}:"));
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Good => 32,
            Colour::Warning => 33,
            Colour::Bad => 31,
        };
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn summary(&mut self, status: &Status) {
        let quorum = &status.quorum;
        let has = if quorum.quorate {
            self.paint(Colour::Good, "partition with quorum")
        } else {
            self.paint(Colour::Bad, "partition WITHOUT quorum")
        };
        self.line("Cluster Summary:");
        self.item(
            "Cluster",
            &format!("{} (instance {})", status.cluster, status.instance),
        );
        self.item(
            "This node",
            &format!(
                "{} ({}, up {}, pid {}, version {})",
                status.node,
                status.state,
                long(status.uptime_ns),
                status.pid,
                status.version
            ),
        );
        let majority = format!(
            "{has} ({} of {} nodes alive, {} needed)",
            quorum.alive, quorum.configured, quorum.needed
        );
        self.item("Quorum", &majority);
        let rhythm = format!(
            "every {}, deadline {}, lease {}",
            short(status.interval_ns),
            short(status.timeout_ns),
            short(status.lease_ns)
        );
        self.item("Heartbeat", &rhythm);
        self.pulse(status);
        self.config(status);
        self.config_version(status);
        self.keys(status);
        self.socket_guard(status);
        self.security(status);
        if status.maintenance {
            let text = "no resource is started, stopped or monitored";
            let text = self.paint(Colour::Warning, text);
            self.item("Maintenance", &text);
        }
    }

    fn pulse(&mut self, status: &Status) {
        let pulse = &status.pulse;
        let mut text = match pulse.scheduling.as_str() {
            "deadline" => format!(
                "SCHED_DEADLINE, {} of each {}",
                short(pulse.runtime_ns),
                short(pulse.period_ns)
            ),
            "fifo" => format!("SCHED_FIFO {}", pulse.realtime_priority),
            _ => self.paint(Colour::Warning, "NOT real-time"),
        };
        if !pulse.memory_locked {
            let _ = write!(
                text,
                ", {}",
                self.paint(Colour::Warning, "memory NOT locked")
            );
        }
        let _ = write!(
            text,
            ", {} ticks, {} missed, at most {} late",
            pulse.ticks,
            pulse.missed_ticks,
            short(pulse.max_lateness_ns)
        );
        if pulse.send_errors > 0 {
            let _ = write!(text, ", {} probes not sent", pulse.send_errors);
        }
        let lost = pulse.events_lost + pulse.votes_lost;
        if lost > 0 {
            let _ = write!(text, ", {lost} events lost");
        }
        if pulse.overruns > 0 {
            let rounds = Count(pulse.overruns, "round");
            let _ = write!(text, ", {rounds} longer than reserved");
        }
        if let Some(refused) = &pulse.scheduling_refused {
            let _ = write!(text, "; {}", self.paint(Colour::Warning, refused));
        }
        self.item("Pulse", &text);
        if let Some(starved) = &pulse.starved {
            let ago = long(status.at_ns.saturating_sub(starved.at_ns));
            let text = format!(
                "no processor for {}, {ago} ago: {}",
                long(starved.pause_ns),
                starved.reason
            );
            let text = self.paint(Colour::Warning, &text);
            self.item("Starvation", &text);
        }
        self.vitals(status);
        if pulse.local_stalls.local_stall_count > 0 {
            let now = if pulse.local_stalls.local_stall {
                self.paint(Colour::Bad, "stalled now, ")
            } else {
                String::new()
            };
            self.item(
                "Local stalls",
                &format!(
                    "{now}{} times since start, for {} in all",
                    pulse.local_stalls.local_stall_count,
                    long(pulse.local_stalls.local_stall_ns)
                ),
            );
        }
    }

    /// The local node's load and health checks.
    fn vitals(&mut self, status: &Status) {
        if let Some(load) = &status.load {
            let mut text = format!("{} ({}", percent(load.load), load.source);
            for (name, some) in [
                ("cpu", load.cpu_some),
                ("memory", load.memory_some),
                ("io", load.io_some),
            ] {
                if let Some(some) = some {
                    let _ = write!(text, ", {name} {}", percent(some));
                }
            }
            text.push(')');
            if status.pulse.steal_ms > 0 {
                let _ = write!(text, ", {} ms/s stolen", status.pulse.steal_ms);
            }
            self.item("Load", &text);
        }
        if !status.health.is_empty() {
            let failing = status.health.iter().filter(|check| check.state != "well");
            let failing: Vec<_> = failing
                .map(|check| format!("{} {} ({})", check.name, check.state, check.failure))
                .collect();
            let text = match failing.as_slice() {
                [] => self.paint(
                    Colour::Good,
                    &format!("{} checks well", status.health.len()),
                ),
                some => self.paint(Colour::Bad, &some.join(", ")),
            };
            self.item("Health", &text);
        }
    }

    /// Adds the operations that local processes and containers are not kept from.
    fn socket_guard(&mut self, status: &Status) {
        let guard = status.socket_guard.as_ref();
        if let Some(why) = guard.and_then(|guard| guard.problem.as_ref()) {
            let missing = self.paint(Colour::Bad, "MISSING");
            self.item("Socket guard", &format!("{missing}: {why}"));
        }
    }

    /// Adds the operations that the kernel does not deny the agent, and findings for an operator to
    /// judge.
    fn security(&mut self, status: &Status) {
        let missing = status.confinement.iter();
        for why in missing.flat_map(|confinement| &confinement.missing) {
            let missing = self.paint(Colour::Warning, "MISSING");
            self.item("Confinement", &format!("{missing}: {why}"));
        }
        if status.witness_commands > 0 {
            let text = format!("{} commands of witnesses REFUSED", status.witness_commands);
            let text = self.paint(Colour::Bad, &text);
            self.item("Commands", &text);
        }
        if status.decisions_lost {
            let lost = self.paint(Colour::Bad, "LOST");
            let text = format!(
                "{lost}: their file was damaged, so this node began on standby; compare with \
                 another node, then `heartbeat online` here"
            );
            self.item("Decisions", &text);
        }
    }

    /// Adds the nodes whose configuration differs.
    fn config(&mut self, status: &Status) {
        let differs = |node: &&Node| {
            let known = !node.witness && node.state == "up" && node.config != 0;
            known && node.config != status.config
        };
        let differing = status.nodes.iter().filter(differs);
        let differing: Vec<&str> = differing.map(|node| node.name.as_str()).collect();
        if !differing.is_empty() {
            let text = format!("DIFFERS from that of {}", differing.join(", "));
            let text = self.paint(Colour::Bad, &text);
            self.item("Configuration", &text);
        }
    }

    /// Adds the version of the node list while nodes differ in it.
    fn config_version(&mut self, status: &Status) {
        let own = status.config_version;
        let differs = |node: &&Node| {
            let lives = !matches!(node.state.as_str(), "down" | "unknown");
            !node.local && lives && node.config_version.is_some_and(|version| version != own)
        };
        let differing = status.nodes.iter().filter(differs).map(|node| {
            let version = node.config_version.unwrap_or_default();
            format!("{} has {version}", node.name)
        });
        let differing: Vec<String> = differing.collect();
        let mut text = match status.claiming_version {
            Some(claiming) if claiming == own && differing.is_empty() => return,
            Some(claiming) if claiming == own => own.to_string(),
            Some(claiming) => {
                format!("{own}, not in force yet: leases are claimed by version {claiming}")
            }
            None => format!(
                "{own}, not known to be in force: no lease is claimed before another node confirms \
                 it"
            ),
        };
        if !differing.is_empty() {
            let _ = write!(text, "; {}", differing.join(", "));
        }
        let text = self.paint(Colour::Warning, &text);
        self.item("Config version", &text);
    }

    /// Adds the keys, while there are two of them, or nodes with different ones.
    fn keys(&mut self, status: &Status) {
        let Some(keys) = &status.keys else { return };
        let named = |test: &dyn Fn(&Node) -> bool| {
            let nodes = status.nodes.iter().filter(|node| !node.local && test(node));
            nodes
                .map(|node| node.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let differing = named(&|node| node.same_keys == Some(false));
        let sealing = named(&|node| node.key.is_some_and(|key| key != keys.seals));
        let mut text = keys.to_string();
        if !sealing.is_empty() {
            let _ = write!(text, "; {sealing} sending with another");
        }
        if !differing.is_empty() {
            let differs = format!("DIFFERENT keys on {differing}");
            let _ = write!(text, ", {}", self.paint(Colour::Warning, &differs));
        }
        if keys.takes.len() > 1 || !differing.is_empty() {
            self.item("Keys", &text);
        }
    }

    fn node(&mut self, node: &Node, status: &Status) {
        let state = match node.state.as_str() {
            "unhealthy" => self.paint(Colour::Bad, &format!("UNHEALTHY ({})", complaint(node))),
            "draining" => self.paint(Colour::Warning, "draining"),
            "up" if node.witness => self.paint(Colour::Good, "online (witness)"),
            "up" if node.agent == "active" && !node.failing.is_empty() => self.paint(
                Colour::Warning,
                &format!("online, DEGRADED ({})", complaint(node)),
            ),
            "up" if node.agent == "active" => self.paint(Colour::Good, "online"),
            "up" if node.local && !status.quorum.quorate => {
                self.paint(Colour::Bad, "online (no quorum)")
            }
            "up" => self.paint(Colour::Warning, &format!("online ({})", node.agent)),
            "suspect" => self.paint(Colour::Warning, "online (suspect)"),
            "agent-stalled" => self.paint(
                Colour::Bad,
                "STALLED (its kernel answers, its agent does not)",
            ),
            "down" => self.paint(Colour::Bad, "OFFLINE"),
            "unknown" if node.links.iter().all(|link| link.own_outage.is_some()) => {
                self.paint(Colour::Warning, "unknown (own link down)")
            }
            other => self.paint(Colour::Warning, other),
        };
        let local = if node.local { ", this node" } else { "" };
        let serves = matches!(
            node.state.as_str(),
            "up" | "suspect" | "unhealthy" | "draining"
        );
        let load = node.load.filter(|_| serves && !node.witness);
        let load = load.map_or_else(String::new, |load| format!(", load {}", percent(load)));
        let _ = writeln!(
            self.text,
            "  * Node {} (id {}{local}): {state}{load}",
            node.name, node.id
        );
        if let Some(nanos) = node.unanswered_ns {
            let text = format!(
                "its agent has not answered on TCP port {} for {} s, though its heartbeats arrive: \
                 does a firewall keep that port closed?",
                status.port,
                nanos / 1_000_000_000
            );
            let text = self.paint(Colour::Bad, &text);
            self.line(&format!("    * {text}"));
        }
        if let Some(abstention) = node.abstains.filter(|_| node.state != "down") {
            let text = self.paint(
                Colour::Warning,
                &format!("{abstention}, and its vote is missing meanwhile"),
            );
            self.line(&format!("    * {text}"));
        }
        if !node.refused_by.is_empty() {
            let text = format!(
                "its heartbeats are refused by {}: they are of an older incarnation than was \
                 received before, since its clock was set back and its state directory is lost; \
                 set its clock right and restart its agent",
                node.refused_by.join(", ")
            );
            let text = self.paint(Colour::Bad, &text);
            self.line(&format!("    * {text}"));
        }
        for link in &node.links {
            let text = self.link(link, status);
            self.line(&format!(
                "    * link {}: {:<15} {text}",
                link.link, link.address
            ));
        }
    }

    fn link(&self, link: &Link, status: &Status) -> String {
        let Some(peer) = &link.peer else {
            return self.own_link(link);
        };
        if let Some(outage) = &link.own_outage {
            let text = format!(
                "unknown: own link {} for {}",
                outage.signal,
                long(outage.age_ns)
            );
            return self.paint(Colour::Warning, &text);
        }
        let state = link.state.as_deref().unwrap_or("unknown");
        let colour = match state {
            "up" => Colour::Good,
            "down" => Colour::Bad,
            _ => Colour::Warning,
        };
        let last_reply = match peer.last_reply_age_ns {
            None => "never replied".to_owned(),
            Some(age) if age > status.timeout_ns => format!("silent for {}", long(age)),
            Some(_) => format!("rtt {}", short(peer.rtt_ns)),
        };
        let refused = peer.refused_from.as_ref().map_or_else(String::new, |from| {
            let text = rejected(peer.bad_tags, peer.unknown_keys, from);
            format!(", {}", self.paint(Colour::Warning, &text))
        });
        let lost = peer.probes.saturating_sub(peer.replies + peer.late_replies);
        let loss = match peer.loss {
            None => String::new(),
            Some(loss) => format!("loss {}, ", tenths(loss)),
        };
        format!(
            "{}, {last_reply}, {loss}{} probes, {lost} unanswered, {} late{refused}",
            self.paint(colour, state),
            peer.probes,
            peer.late_replies
        )
    }

    fn own_link(&self, link: &Link) -> String {
        let mut text = match link.xdp_mode.as_deref() {
            Some("skb") => format!(
                "{}, {} XDP",
                link.interface,
                self.paint(Colour::Warning, "skb")
            ),
            Some(mode) => format!("{}, {mode} XDP", link.interface),
            None => format!("{}, {}", link.interface, self.paint(Colour::Bad, "NO XDP")),
        };
        if let Some(outage) = &link.own_outage {
            let signal = format!(
                "{} for {}",
                outage.signal.to_uppercase(),
                long(outage.age_ns)
            );
            let _ = write!(text, ", {}", self.paint(Colour::Bad, &signal));
        }
        let problem = link.problem.as_ref().map(|why| (Colour::Bad, why));
        let fallback = link.xdp_fallback.as_ref().map(|why| (Colour::Warning, why));
        if let Some((colour, why)) = problem.or(fallback) {
            let _ = write!(text, " ({})", self.paint(colour, why));
        }
        text
    }
}

/// The node's failing checks, and the reason of the first.
fn complaint(node: &Node) -> String {
    let failing = node.failing.join(", ");
    match node
        .complaint
        .as_deref()
        .and_then(|text| text.lines().last())
    {
        Some(words) if !words.is_empty() => format!("{failing}: {words}"),
        _ => failing,
    }
}

/// Formats a number per mille as percent.
pub(super) fn percent(per_mille: u16) -> String {
    format!("{} %", (per_mille + 5) / 10)
}

/// Formats a number per mille as percent, to a tenth.
fn tenths(per_mille: u16) -> String {
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// Formats a duration with three digits: 5.12 µs, 30.0 ms.
pub(super) fn short(nanos: u64) -> Short {
    Short::nanos(nanos)
}

/// Formats a duration in the unit of its size: 950 ms, 12 s, 3 min, 5 h, 2 d.
fn long(nanos: u64) -> String {
    let duration = Duration::from_nanos(nanos);
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_duration_has_a_unit_of_its_size() {
        assert_eq!(long(950_000_000), "950 ms");
        assert_eq!(long(200_000_000_000), "3 min");
    }

    #[test]
    fn breaches_of_security_have_lines_of_their_own_and_good_days_have_none() {
        let status = |more: &serde_json::Value| -> Status {
            let mut status = serde_json::json!({
                "version": "", "cluster": "", "instance": "", "node": "a", "pid": 1, "at_ns": 1,
                "uptime_ns": 1, "interval_ns": 1, "timeout_ns": 1, "state": "active", "vips": [],
                "nodes": [], "counters": {},
                "quorum": { "quorate": true, "alive": 3, "needed": 2, "configured": 3 },
                "pulse": {
                    "realtime_priority": 1, "memory_locked": true, "ticks": 1, "missed_ticks": 0,
                    "max_lateness_ns": 0, "local_stall": false, "local_stall_count": 0, "send_errors": 0,
                },
            });
            if let (Some(all), Some(more)) = (status.as_object_mut(), more.as_object()) {
                all.extend(more.clone());
            }
            serde_json::from_value(status).unwrap()
        };
        let lines = |more: &serde_json::Value| {
            let page = super::status(&status(more), false);
            let ours = ["Confinement:", "Commands:", "Decisions:"];
            let lines = page
                .lines()
                .filter(|line| ours.iter().any(|name| line.contains(name)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let good = serde_json::json!({
            "confinement": { "seccomp": true, "landlock": 5 }, "witness_commands": 0,
            "decisions_lost": false,
        });
        assert_eq!(lines(&good), Vec::<String>::new());
        let bad = serde_json::json!({
            "confinement": { "seccomp": true, "missing": ["landlock: none"] },
            "witness_commands": 3, "decisions_lost": true,
        });
        let bad = lines(&bad);
        assert_eq!(
            bad[..2],
            [
                "  * Confinement:   MISSING: landlock: none",
                "  * Commands:      3 commands of witnesses REFUSED",
            ]
        );
        assert!(
            bad[2].starts_with("  * Decisions:     LOST: their file was damaged"),
            "{bad:?}"
        );
    }
}
