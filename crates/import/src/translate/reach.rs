//! Agents that monitor their node, and publish the result as a node attribute: `ping`,
//! `ethmonitor`.

use std::time::Duration;

use heartbeat_core::placement::Score;

use crate::{
    emit::{Comment, Remark, Value},
    model::{Condition, Model, Primitive},
    values,
};

/// Number of hosts that one check probes, one after another.
const MAX_HOSTS: usize = 16;

/// The comments, the fields and the time of a check.
pub(super) type Check = (Vec<Comment>, Vec<(&'static str, Value)>, Duration);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Probe {
    Ping,
    Interface,
}

fn probe(primitive: &Primitive) -> Option<Probe> {
    let agent = primitive.agent.as_ref()?;
    match (agent.provider.as_deref(), agent.kind.as_str()) {
        (Some("pacemaker" | "heartbeat"), "ping" | "pingd") => Some(Probe::Ping),
        (Some("heartbeat"), "ethmonitor") => Some(Probe::Interface),
        _ => None,
    }
}

/// Whether the resource only monitors its node.
pub(super) fn is_probe(primitive: &Primitive) -> bool {
    probe(primitive).is_some()
}

fn param<'a>(primitive: &'a Primitive, name: &str) -> Option<&'a str> {
    primitive.settings.params.get(name)
}

/// The node attribute with the agent's result.
pub(super) fn attribute(primitive: &Primitive) -> String {
    let default = match probe(primitive) {
        Some(Probe::Interface) => {
            format!(
                "ethmonitor-{}",
                param(primitive, "interface").unwrap_or_default()
            )
        }
        _ => "pingd".to_owned(),
    };
    param(primitive, "name").map_or(default, str::to_owned)
}

/// The equivalent check, for which `needed` hosts must answer; `None` if the parameters do not say
/// what to probe.
pub(super) fn fields(primitive: &Primitive, needed: u32) -> Option<Check> {
    match probe(primitive)? {
        Probe::Interface => {
            let interface = param(primitive, "interface")?;
            values::is_interface(interface).then_some(())?;
            let fields = vec![
                ("type", Value::from("interface")),
                ("interface", Value::from(interface)),
            ];
            let comments = left(primitive, &["interface", "name"]);
            Some((comments, fields, Duration::ZERO))
        }
        Probe::Ping => ping(primitive, needed),
    }
}

fn ping(primitive: &Primitive, needed: u32) -> Option<Check> {
    let list = param(primitive, "host_list")?;
    let hosts: Vec<&str> = list
        .split([' ', ','])
        .filter(|host| !host.is_empty())
        .collect();
    let usable = |host: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte);
        !host.starts_with('-') && host.bytes().all(allowed)
    };
    if hosts.is_empty() || hosts.len() > MAX_HOSTS || !hosts.iter().all(usable) {
        return None;
    }
    let seconds = param(primitive, "timeout").and_then(values::time);
    let seconds = seconds.map_or(2, |time| time.as_secs()).clamp(1, 60);
    let wait = seconds.to_string();
    let mut exec = Vec::new();
    if let [host] = hosts[..] {
        exec.extend(["/usr/bin/ping", "-n", "-q", "-c", "1", "-W", &wait, host].map(str::to_owned));
    } else {
        let ping = format!("ping -n -q -c 1 -W {wait} \"$host\"");
        exec.extend(["/bin/sh".to_owned(), "-c".to_owned()]);
        exec.push(format!(
            "n=0; for host; do {ping} && n=$((n + 1)); done; test $n -ge {needed}"
        ));
        exec.push("ping".to_owned());
        exec.extend(hosts.iter().map(|host| (*host).to_owned()));
    }
    let mut comments = vec![Comment::general(format!(
        "the check succeeds if at least {needed} of {} answer; heartbeat has no check of type \
         ping, so a program sends the pings",
        hosts.len()
    ))];
    comments.extend(left(
        primitive,
        &["host_list", "multiplier", "name", "timeout"],
    ));
    let time = Duration::from_secs((seconds * hosts.len() as u64 + 1).min(3_600));
    Some((
        comments,
        vec![("type", Value::from("exec")), ("exec", Value::List(exec))],
        time,
    ))
}

/// Remarks on parameters that are not in `taken`.
fn left(primitive: &Primitive, taken: &[&str]) -> Vec<Comment> {
    let rest = primitive.settings.params.0.iter();
    rest.filter(|attr| !taken.contains(&attr.name.as_str()))
        .map(|attr| {
            Remark::new(
                &attr.place,
                format!("parameter {}={} of {}", attr.name, attr.value, primitive.id),
                "a health check fails after `fall` failures in a row and recovers after `rise` \
                 successes, 2 each; it has no other delays or options",
                "set `fall` and `rise` in the [[health]] if these do not fit",
            )
            .into()
        })
        .collect()
}

/// The rule of a location that is about a single attribute.
pub(super) struct Rule {
    terms: Vec<Term>,
}

#[derive(Debug, PartialEq, Eq)]
enum Term {
    Defined(bool),
    /// The operation, and the number on its right.
    Compared(String, u32),
}

impl Rule {
    /// Parses the kept text of a condition that the importer does not interpret, with terms in the
    /// order of the shell or of XML. `None` if a term is not about `attribute`.
    pub(super) fn read(text: &str, attribute: &str) -> Option<Self> {
        let text = text.replace(", ", " or ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let terms = words.split(|word| ["or", "and"].contains(word));
        let terms = terms.map(|term| match term {
            ["defined", name] | [name, "defined"] if *name == attribute => {
                Some(Term::Defined(true))
            }
            ["not_defined", name] | [name, "not_defined"] if *name == attribute => {
                Some(Term::Defined(false))
            }
            [name, op, number] if *name == attribute => {
                let number = number
                    .trim_start_matches("number:")
                    .trim_start_matches("integer:");
                Some(Term::Compared((*op).to_owned(), number.parse().ok()?))
            }
            _ => None,
        });
        let terms: Vec<Term> = terms.collect::<Option<_>>()?;
        Some(Self { terms })
    }

    /// Whether a check of the node has the same effect as the rule with this score.
    pub(super) fn is_kept(&self, score: Option<&str>, attribute: &str) -> bool {
        let Some(text) = score else { return false };
        match values::score(text) {
            // A low attribute keeps the resource away.
            Some(score) if score < Score::ZERO => self.terms.iter().all(|term| match term {
                Term::Defined(is) => !is,
                Term::Compared(op, number) => {
                    ["lt", "lte"].contains(&op.as_str())
                        || (op == "eq" && *number == 0)
                        || (op == "ne" && *number == 1)
                }
            }),
            // A high attribute attracts the resource.
            Some(score) if score > Score::ZERO && score != Score::MUST => {
                self.terms.iter().all(|term| match term {
                    Term::Defined(is) => *is,
                    Term::Compared(op, number) => {
                        ["gt", "gte"].contains(&op.as_str()) || (op == "eq" && *number == 1)
                    }
                })
            }
            Some(_) => false,
            None => text == attribute,
        }
    }

    /// Number of hosts that must answer.
    pub(super) fn needed(&self, primitive: &Primitive) -> u32 {
        let multiplier = param(primitive, "multiplier").and_then(|text| text.parse().ok());
        let multiplier: u32 = multiplier.unwrap_or(1).max(1);
        let most = self.terms.iter().filter_map(|term| match term {
            Term::Compared(op, number) if ["lt", "gte"].contains(&op.as_str()) => {
                Some(number.div_ceil(multiplier))
            }
            Term::Compared(op, number) if ["lte", "gt"].contains(&op.as_str()) => {
                Some(number / multiplier + 1)
            }
            _ => None,
        });
        most.max().unwrap_or(1).max(1)
    }
}

/// The rules of locations about `attribute` alone, with their scores.
pub(super) fn rules(model: &Model, attribute: &str) -> Vec<(Option<Score>, Rule)> {
    let preferences = model
        .locations
        .iter()
        .flat_map(|location| &location.preferences);
    preferences
        .filter_map(|preference| {
            let Condition::Opaque(text) = &preference.condition else {
                return None;
            };
            let rule = Rule::read(text, attribute)?;
            let score = preference.score.as_deref();
            rule.is_kept(score, attribute)
                .then(|| (score.and_then(values::score), rule))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, score: &str) -> bool {
        Rule::read(text, "pingd").is_some_and(|rule| rule.is_kept(Some(score), "pingd"))
    }

    #[test]
    fn rule_on_the_attribute_alone_is_kept_by_a_check() {
        assert!(kept("not_defined pingd or pingd lt 100", "-inf"));
        assert!(kept("pingd not_defined, pingd lte 0", "-INFINITY"));
        assert!(kept("pingd lt number:100", "-500"));
        assert!(kept("defined pingd", "pingd"));
        assert!(kept("pingd gt 0", "100"));
        // The opposite of a check, more than a check knows, or a firm rule.
        assert!(!kept("pingd gt 100", "-inf"));
        assert!(!kept("pingd lt 100", "100"));
        assert!(!kept("pingd gt 0", "inf"));
        assert!(!kept("not_defined pingd or rack eq 3", "-inf"));
        assert!(!kept("pingd lt many", "-inf"));
    }
}
