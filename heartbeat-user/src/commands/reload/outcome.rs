//! The outcome of `heartbeat reload --all` on each node, for people and for programs.

use serde::Serialize;

use super::plan::{Plan, Step};

/// The outcome on all nodes; `--json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outcome {
    /// Whether the configuration is in force on all nodes that were not left out.
    pub(super) done: bool,
    /// The nodes in the order of the reloads; those that are left out come last.
    pub(super) nodes: Vec<Node>,
    /// The reasons why steps were not done, each with a remedy.
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// The `config_version` of the new list of nodes, if some node has another list in force.
    #[serde(skip)]
    pub(super) new_list: Option<u16>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Node {
    pub(super) node: String,
    pub(super) state: State,
    /// The path of the node's configuration file.
    pub(super) path: String,
    /// The node's answer, or the reason why it is left out.
    pub(super) text: String,
    /// The copy of the earlier file, if that was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backup: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// The file is the old one, and so is the configuration.
    Unchanged,
    /// The file is the new one; the agent still uses the old configuration.
    Written,
    /// The agent uses the new configuration.
    InForce,
    /// The node got a request, and its result is missing: it may not be finished.
    Unknown,
    LeftOut,
}

impl Outcome {
    /// Returns the outcome before the first step.
    pub(super) fn of(plan: &Plan) -> Self {
        let planned = |step: &Step| Node {
            node: step.node.clone(),
            state: match step {
                Step {
                    replaces: Some(_), ..
                } => State::Unchanged,
                Step { in_force: true, .. } => State::InForce,
                _ => State::Written,
            },
            path: step.path.clone(),
            text: String::new(),
            backup: None,
        };
        let left_out = |(node, why): &(String, String)| Node {
            node: node.clone(),
            state: State::LeftOut,
            path: String::new(),
            text: why.clone(),
            backup: None,
        };
        let steps = plan.steps.iter().map(planned);
        Self {
            nodes: steps.chain(plan.left_out.iter().map(left_out)).collect(),
            ..Self::default()
        }
    }

    /// Returns the names of the nodes in one state.
    fn names(&self, state: State) -> Vec<&str> {
        let nodes = self.nodes.iter().filter(|node| node.state == state);
        nodes.map(|node| node.node.as_str()).collect()
    }

    /// Returns the state of all nodes after a failure, and the ways on and back.
    pub(super) fn half_way(&self) -> String {
        let mut lines = Vec::new();
        for (state, has) in [
            (State::InForce, "the new configuration is in force on"),
            (
                State::Written,
                "the file is the new one, not in force yet, on",
            ),
            (State::Unknown, "not known, since the answer is missing:"),
            (State::Unchanged, "nothing was changed on"),
            (State::LeftOut, "left out:"),
        ] {
            let names = self.names(state);
            if !names.is_empty() {
                lines.push(format!("{has} {}", names.join(", ")));
            }
        }
        if !self.names(State::Unknown).is_empty() {
            lines.push(
                "to find out: `heartbeat status` compares the configurations of the agents; an \
                 agent that starts uses the file that is there"
                    .to_owned(),
            );
        }
        lines.push("to go on: mend that, then `heartbeat reload --all` again".to_owned());
        if let Some(version) = self.new_list {
            lines.push(format!(
                "to go back: not with the old files, since no agent starts with an older list of \
                 nodes once it has that of config_version {version}; write the former nodes under \
                 a higher config_version, and `heartbeat reload --all`"
            ));
            return lines.join("\n  ");
        }
        let back = self.nodes.iter().filter_map(|node| {
            let Node {
                node: name, path, ..
            } = node;
            match (&node.backup, node.state) {
                (Some(backup), _) => Some(format!(
                    "to go back, on {name}: mv {backup} {path} && heartbeat reload"
                )),
                // The file was new before the command began.
                (None, State::InForce | State::Written) => Some(format!(
                    "to go back, on {name}: put the old text into {path}, then `heartbeat reload`"
                )),
                _ => None,
            }
        });
        lines.extend(back);
        lines.join("\n  ")
    }
}

impl Node {
    /// Returns the line of a node as text.
    pub(super) fn line(&self) -> String {
        let Self {
            node, text, backup, ..
        } = self;
        match (self.state, backup) {
            (State::LeftOut, _) => format!("{node}: left out: {text}\n"),
            (_, Some(backup)) => {
                format!("{node}: {text}; the file was replaced, the old one is {backup}\n")
            }
            (_, None) => format!("{node}: {text}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_way_names_who_has_what_and_the_way_back() {
        let step = |node: &str, replaces, in_force| Step {
            node: node.to_owned(),
            local: node == "a",
            path: "/etc/hb.toml".to_owned(),
            replaces,
            in_force,
        };
        let plan = Plan {
            steps: vec![
                step("b", Some(1), false),
                step("c", Some(2), false),
                step("d", Some(3), false),
                step("e", Some(4), false),
                step("a", None, false),
            ],
            left_out: vec![("w".to_owned(), "a witness".to_owned())],
            absent: Vec::new(),
        };
        let mut outcome = Outcome::of(&plan);
        for (node, state) in [(0, State::InForce), (1, State::Written)] {
            outcome.nodes[node].state = state;
            outcome.nodes[node].backup = Some("/etc/hb.toml.old".to_owned());
        }
        outcome.nodes[2].state = State::Unknown;
        assert_eq!(
            outcome.half_way(),
            "the new configuration is in force on b\n  the file is the new one, not in force yet, \
             on c, a\n  not known, since the answer is missing: d\n  nothing was changed on e\n  \
             left out: w\n  to find out: `heartbeat status` compares the configurations of the \
             agents; an agent that starts uses the file that is there\n  to go on: mend that, then \
             `heartbeat reload --all` again\n  to go back, on b: mv /etc/hb.toml.old /etc/hb.toml \
             && heartbeat reload\n  to go back, on c: mv /etc/hb.toml.old /etc/hb.toml && \
             heartbeat reload\n  to go back, on a: put the old text into /etc/hb.toml, then \
             `heartbeat reload`"
        );
        outcome.new_list = Some(5);
        let said = outcome.half_way();
        assert!(
            said.contains("to go back: not with the old files"),
            "{said}"
        );
        assert!(
            said.contains("config_version 5;") && !said.contains("mv "),
            "{said}"
        );
    }
}
