//! The calls of resource agents, from their records, and checks of what ran where.

use std::{collections::HashMap, fmt};

use anyhow::{Context as _, Result, ensure};

/// A call of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub node: String,
    pub resource: String,
    /// `probe`, `start`, `stop` or `monitor`.
    pub action: String,
    process: u32,
    /// The beginning, as a place in the list of all beginnings and ends.
    pub began: usize,
    /// The end, and the exit code. `None` while the call goes on, and if it was killed.
    pub end: Option<(usize, u8)>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.node, self.resource, self.action)?;
        match self.end {
            Some((_, 0)) => Ok(()),
            Some((_, code)) => write!(f, " = {code}"),
            None => write!(f, " = none"),
        }
    }
}

/// Parses the records. Calls are in the order of their beginnings.
pub fn read(text: &str) -> Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let [node, resource, action, process, word, _] = words[..] else {
            anyhow::bail!("`{line}` is no call");
        };
        let process = process.parse().with_context(|| line.to_owned())?;
        if word == "begins" {
            calls.push(Call {
                node: node.to_owned(),
                resource: resource.to_owned(),
                action: action.to_owned(),
                process,
                began: at,
                end: None,
            });
        } else {
            let call = calls
                .iter_mut()
                .rev()
                .find(|call| call.process == process && call.resource == resource);
            let call = call.with_context(|| format!("`{line}` has no beginning"))?;
            call.end = Some((at, word.parse().with_context(|| line.to_owned())?));
        }
    }
    Ok(calls)
}

/// The starts and stops of `resources` in `calls`, in order. Fails if two overlap.
pub fn actions(calls: &[Call], resources: &[&str]) -> Result<Vec<String>> {
    let is_deed = |call: &&Call| {
        matches!(call.action.as_str(), "start" | "stop")
            && resources.contains(&call.resource.as_str())
    };
    let actions: Vec<&Call> = calls.iter().filter(is_deed).collect();
    for pair in actions.windows(2) {
        let ended = pair[0].end.is_none_or(|(at, _)| at < pair[1].began);
        ensure!(ended, "{} began during {}", pair[1], pair[0]);
    }
    Ok(actions.iter().map(ToString::to_string).collect())
}

/// Checks that no resource was started on a node where it may have run: after its last start it was
/// stopped, or a probe found that it did not run. With `anywhere` it must not have run on any other
/// node either, which holds if no agent was killed and no node cut off.
pub fn never_twice(calls: &[Call], anywhere: bool) -> Result<()> {
    // The instants from which a resource is known to be stopped, or may run.
    let mut moments: Vec<(usize, &Call, bool)> = Vec::new();
    for call in calls {
        moments.push((call.began, call, true));
        if let Some((at, _)) = call.end {
            moments.push((at, call, false));
        }
    }
    moments.sort_by_key(|(at, ..)| *at);
    let mut may_run: HashMap<(&str, &str), bool> = HashMap::new();
    for (_, call, begins) in moments {
        let (node, resource) = (call.node.as_str(), call.resource.as_str());
        match (call.action.as_str(), begins, call.end) {
            ("start", true, _) => {
                let elsewhere = may_run
                    .iter()
                    .find(|((on, of), may)| **may && *of == resource && (anywhere || *on == node));
                ensure!(
                    elsewhere.is_none(),
                    "`{call}` began while it may have run already: {elsewhere:?} in\n{}",
                    list(calls)
                );
                may_run.insert((node, resource), true);
            }
            ("stop", false, Some((_, 0))) | ("probe", false, Some((_, 7))) => {
                may_run.insert((node, resource), false);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The calls as text, a line for each.
pub fn list(calls: &[Call]) -> String {
    let lines = calls.iter().map(|call| format!("  {call}\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(lines: &[&str]) -> Vec<Call> {
        let lines: Vec<String> = lines.iter().map(|line| format!("{line} 1.00\n")).collect();
        read(&lines.concat()).unwrap()
    }

    #[test]
    fn beginnings_and_ends_make_calls() {
        let calls = calls(&[
            "a one start 5 begins",
            "b two monitor 6 begins",
            "b two monitor 6 7",
            "a one start 5 0",
            "a one stop 7 begins",
        ]);
        assert_eq!(
            list(&calls),
            "  a one start\n  b two monitor = 7\n  a one stop = none\n"
        );
        let done = actions(&calls, &["one"]).unwrap();
        assert_eq!(done, ["a one start", "a one stop = none"]);
    }

    #[test]
    fn deeds_that_overlap_are_seen() {
        let calls = calls(&[
            "a one start 5 begins",
            "a two start 6 begins",
            "a one start 5 0",
            "a two start 6 0",
        ]);
        assert!(actions(&calls, &["one", "two"]).is_err());
        assert!(actions(&calls, &["one"]).is_ok());
    }

    #[test]
    fn resource_that_may_run_must_not_be_started() {
        let start = |node, process| {
            [
                format!("{node} one start {process} begins"),
                format!("{node} one start {process} 0"),
            ]
        };
        let test = |parts: &[[String; 2]]| {
            let lines: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
            calls(&lines)
        };
        let stop = |code| {
            [
                "a one stop 9 begins".to_owned(),
                format!("a one stop 9 {code}"),
            ]
        };
        let twice = test(&[start("a", 1), start("a", 2)]);
        assert!(never_twice(&twice, false).is_err());
        let elsewhere = test(&[start("a", 1), start("b", 2)]);
        assert!(never_twice(&elsewhere, true).is_err());
        assert!(never_twice(&elsewhere, false).is_ok());
        assert!(never_twice(&test(&[start("a", 1), stop(0), start("b", 2)]), true).is_ok());
        assert!(never_twice(&test(&[start("a", 1), stop(1), start("b", 2)]), true).is_err());
        // The stop must have ended.
        let early = calls(&[
            "a one start 1 begins",
            "a one start 1 0",
            "a one stop 2 begins",
            "b one start 3 begins",
            "a one stop 2 0",
        ]);
        assert!(never_twice(&early, true).is_err());
    }
}
