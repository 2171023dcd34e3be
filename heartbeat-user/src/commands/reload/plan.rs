//! Decides whether a configuration may be distributed, to which nodes, and in which order they
//! reload.
//!
//! The plan is a pure function of the nodes' answers. The nodes that serve least reload first, so
//! that a mistake shows where it costs least. Among equals the local node is the last, because it
//! leads.

use std::collections::BTreeMap;

use crate::control::protocol::Checked;

/// A node before any change.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) name: String,
    /// Whether the node is the local one.
    pub(super) local: bool,
    /// Number of groups that the node serves.
    pub(super) groups: u16,
    pub(super) answer: Answer,
}

/// The answer to the question whether a node can use the configuration.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Checked(Checked),
    /// The node got the question, and gave no answer.
    Refused(String),
    NotReached(String),
    /// The node has no agent; the text is the reason.
    NoAgent(&'static str),
    /// The node leaves the cluster, or has yet to join it; the text says what to do.
    NoMember(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The nodes in the order of their reloads.
    pub(super) steps: Vec<Step>,
    /// The nodes that are left out, each with the reason.
    pub(super) left_out: Vec<(String, String)>,
    /// The left-out nodes whose problems do not matter meanwhile: those that were not reached, that
    /// leave the cluster or have yet to join it.
    pub(super) absent: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) node: String,
    /// Whether it is the node that was asked.
    pub(super) local: bool,
    pub(super) path: String,
    /// The number of the file's old content, if it will be replaced.
    pub(super) replaces: Option<u64>,
    /// Whether a reload has nothing to do.
    pub(super) in_force: bool,
}

/// Returns the plan, or all objections. With `force`, unreached nodes, edits that are not in force
/// and files with settings of their own are no objections.
pub(super) fn plan(candidates: &[Candidate], force: bool) -> Result<Plan, Vec<String>> {
    let mut against: Vec<String> = candidates.iter().flat_map(refusals).collect();
    if !force {
        against.extend(candidates.iter().filter_map(not_reached));
        against.extend(candidates.iter().filter_map(pending));
        against.extend(unlike(candidates));
    }
    if !against.is_empty() {
        return Err(against);
    }
    let mut order: Vec<(&Candidate, &Checked)> = Vec::new();
    let mut left_out = Vec::new();
    for candidate in candidates {
        let why = match &candidate.answer {
            Answer::Checked(checked) => {
                order.push((candidate, checked));
                continue;
            }
            Answer::NoAgent(why) | Answer::NoMember(why) => *why,
            Answer::NotReached(_) => {
                "not reached: it keeps the old configuration; once it is back, `heartbeat reload \
                 --all` again"
            }
            Answer::Refused(why) => why,
        };
        left_out.push((candidate.name.clone(), why.to_owned()));
    }
    order.sort_by_key(|(candidate, _)| (candidate.groups, candidate.local));
    let is_absent = |candidate: &&Candidate| {
        matches!(
            candidate.answer,
            Answer::NotReached(_) | Answer::NoMember(_)
        )
    };
    let absent = candidates.iter().filter(is_absent);
    let step = |(candidate, checked): &(&Candidate, &Checked)| Step {
        node: candidate.name.clone(),
        local: candidate.local,
        path: checked.path.clone(),
        replaces: checked.write.then_some(checked.file),
        in_force: checked.changes.is_empty(),
    };
    Ok(Plan {
        steps: order.iter().map(step).collect(),
        left_out,
        absent: absent.map(|candidate| candidate.name.clone()).collect(),
    })
}

fn refusals(candidate: &Candidate) -> Vec<String> {
    let name = &candidate.name;
    match &candidate.answer {
        Answer::Checked(checked) => {
            let errors = checked.errors.iter();
            let errors = errors.map(|error| format!("node {name}: {error}"));
            // The text is that of the file here, unless that was changed meanwhile.
            let changed = (candidate.local && checked.write).then(|| {
                format!(
                    "node {name}: {} was changed meanwhile\n  see who changes it, then try again",
                    checked.path
                )
            });
            errors.chain(changed).collect()
        }
        Answer::Refused(why) => vec![format!("node {name}: {why}")],
        Answer::NotReached(_) | Answer::NoAgent(_) | Answer::NoMember(_) => Vec::new(),
    }
}

fn not_reached(candidate: &Candidate) -> Option<String> {
    let Answer::NotReached(why) = &candidate.answer else {
        return None;
    };
    Some(format!(
        "node {}: {why}\n  start its agent, or leave it out with --force: it keeps the old \
         configuration then",
        candidate.name
    ))
}

/// Returns the objection that the node's file was edited, and was not reloaded yet.
fn pending(candidate: &Candidate) -> Option<String> {
    let Answer::Checked(checked) = &candidate.answer else {
        return None;
    };
    (!checked.pending.is_empty()).then(|| {
        format!(
            "node {}: the file there has changes that are not in force, and that would be lost: \
             {}\n  see who made them; put them into the file here, or replace that one with \
             --force: it is kept as {}.old",
            candidate.name,
            checked.pending.join(", "),
            checked.path
        )
    })
}

/// Returns the objection that the nodes would change in different ways, if one of the files is
/// replaced: it may have settings that are meant for its node alone.
fn unlike(candidates: &[Candidate]) -> Option<String> {
    let mut changes: BTreeMap<&[String], Vec<&str>> = BTreeMap::new();
    let mut written = false;
    for candidate in candidates {
        if let Answer::Checked(checked) = &candidate.answer
            && !checked.changes.is_empty()
        {
            written |= checked.write;
            changes
                .entry(&checked.changes)
                .or_default()
                .push(&candidate.name);
        }
    }
    if !written || changes.len() < 2 {
        return None;
    }
    let each = changes
        .iter()
        .map(|(changes, nodes)| format!("on {}: {}", nodes.join(", "), changes.join(", ")));
    Some(format!(
        "the files of the nodes differ in more than what is new, so that nodes would change in \
         different ways\n  {}\n  a node that has settings of its own (hooks, health checks, load) \
         would lose them: reload such nodes by hand, or replace their files with --force; the old \
         ones are kept",
        each.collect::<Vec<_>>().join("\n  ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(changes: &[&str], write: bool) -> Checked {
        Checked {
            path: "/etc/hb.toml".to_owned(),
            file: 7,
            write,
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            ..Checked::default()
        }
    }

    fn candidate(name: &str, groups: u16, answer: Answer) -> Candidate {
        Candidate {
            name: name.to_owned(),
            local: name == "a",
            groups,
            answer,
        }
    }

    fn good(name: &str, groups: u16) -> Candidate {
        let answer = Answer::Checked(checked(&["hooks changed"], name != "a"));
        candidate(name, groups, answer)
    }

    fn order(candidates: &[Candidate]) -> String {
        let plan = plan(candidates, false).unwrap();
        plan.steps.iter().map(|step| step.node.as_str()).collect()
    }

    #[test]
    fn nodes_that_serve_less_come_first_and_the_asked_one_last_among_equals() {
        for (groups, expected) in [
            ([0, 0, 0], "bca"),
            ([1, 0, 0], "bca"),
            ([0, 2, 1], "acb"),
            ([1, 1, 0], "cba"),
            ([1, 2, 1], "cab"),
        ] {
            let [a, b, c] = groups;
            let nodes = [good("a", a), good("b", b), good("c", c)];
            assert_eq!(order(&nodes), expected, "{groups:?}");
        }
    }

    #[test]
    fn step_replaces_only_a_file_that_differs_and_knows_what_is_in_force() {
        let done = candidate("c", 0, Answer::Checked(checked(&[], false)));
        let plan = plan(&[good("a", 1), good("b", 0), done], false).unwrap();
        let steps: Vec<_> = plan
            .steps
            .iter()
            .map(|step| (step.node.as_str(), step.replaces, step.in_force))
            .collect();
        assert_eq!(
            steps,
            [("b", Some(7), false), ("c", None, true), ("a", None, false)]
        );
    }

    #[test]
    fn error_on_any_node_is_against_it_whatever_is_forced() {
        let mut bad = checked(&[], false);
        bad.errors = vec!["/f:3:1: no\n  mend it".to_owned(), "/f:4:1: no".to_owned()];
        let nodes = [
            good("a", 1),
            candidate("b", 0, Answer::Checked(bad)),
            candidate("c", 0, Answer::Refused("it is older".to_owned())),
        ];
        for force in [false, true] {
            let against = plan(&nodes, force).unwrap_err();
            assert_eq!(
                against,
                [
                    "node b: /f:3:1: no\n  mend it",
                    "node b: /f:4:1: no",
                    "node c: it is older"
                ]
            );
        }
    }

    #[test]
    fn node_that_is_not_reached_takes_force_and_is_left_out() {
        let nodes = [
            good("a", 0),
            good("b", 1),
            candidate("c", 0, Answer::NotReached("gone".to_owned())),
            candidate("w", 0, Answer::NoAgent("a witness")),
        ];
        let against = plan(&nodes, false).unwrap_err();
        assert_eq!(against.len(), 1);
        assert!(against[0].starts_with("node c: gone\n") && against[0].contains("--force"));
        let forced = plan(&nodes, true).unwrap();
        assert_eq!(forced.steps.len(), 2);
        let names: Vec<_> = forced.left_out.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["c", "w"]);
        assert_eq!(forced.absent, ["c"]);
    }

    #[test]
    fn node_that_leaves_or_joins_is_left_out_without_force() {
        let nodes = [
            good("a", 0),
            candidate("d", 0, Answer::NoMember("it leaves")),
            candidate("e", 0, Answer::NoMember("new")),
            candidate("w", 0, Answer::NoAgent("a witness")),
        ];
        let plan = plan(&nodes, false).unwrap();
        assert_eq!(plan.steps.len(), 1);
        // A witness that fails meanwhile is a problem.
        assert_eq!(plan.absent, ["d", "e"]);
    }

    #[test]
    fn edit_that_is_not_in_force_is_replaced_by_force_only() {
        let mut edited = checked(&["hooks changed"], true);
        edited.pending = vec!["group x removed".to_owned()];
        let nodes = [good("a", 0), candidate("b", 0, Answer::Checked(edited))];
        let against = plan(&nodes, false).unwrap_err();
        let [said] = against.as_slice() else {
            panic!("{against:?}");
        };
        for part in [
            "node b: ",
            "would be lost: group x removed\n",
            "--force: it is kept as /etc/hb.toml.old",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(plan(&nodes, true).is_ok());
    }

    #[test]
    fn file_of_the_asked_node_is_never_replaced() {
        let changed = candidate("a", 0, Answer::Checked(checked(&["hooks changed"], true)));
        for force in [false, true] {
            let against = plan(&[changed.clone(), good("b", 0)], force).unwrap_err();
            assert!(
                against[0].starts_with("node a: /etc/hb.toml was changed meanwhile\n"),
                "{against:?}"
            );
        }
    }

    #[test]
    fn file_with_settings_of_its_own_is_replaced_by_force_only() {
        let own = ["hooks changed", "health checks changed"];
        let differs = |write| candidate("c", 0, Answer::Checked(checked(&own, write)));
        let nodes = [good("a", 0), good("b", 0), differs(true)];
        let against = plan(&nodes, false).unwrap_err();
        let [said] = against.as_slice() else {
            panic!("{against:?}");
        };
        for part in [
            "on a, b: hooks changed\n",
            "on c: hooks changed, health checks changed\n",
            "--force",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(plan(&nodes, true).is_ok());
        // No settings are lost where no file is replaced, or where a node is up to date already.
        let same = |name| candidate(name, 0, Answer::Checked(checked(&["hooks changed"], false)));
        assert!(plan(&[same("a"), same("b"), differs(false)], false).is_ok());
        let done = candidate("a", 0, Answer::Checked(checked(&[], false)));
        assert!(plan(&[done, good("b", 0), good("c", 0)], false).is_ok());
    }
}
