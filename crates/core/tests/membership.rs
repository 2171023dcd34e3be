//! Every way in which a list of nodes can change under traffic: never two owners, whichever nodes
//! load the change and when.
//!
//! The candidates decide by `Membership`, the acceptors by `VoterSet::votes_on`, as the agent and
//! the kernel do. The model covers the use of lists by nodes. The rule that a lease ends for its
//! owner before it ends for its acceptors is the subject of `model.rs`: here all clocks agree and
//! probes take no time.
//!
//! - A lease lasts for one tick. An acceptor grants it to any node while no node has it.
//! - A node's acceptor moves to the next list at any time. A candidate's acceptor moves only when
//!   the claims use the list so far.
//! - A candidate knows at once the lists of all other nodes, which is the most that it can know.
//! - A candidate's agent restarts at any time, and then no longer knows its progress.
//! - A guard is open for as long as its owner ever had reason to open it, as after a pause of the
//!   owner.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, VoterSet},
};
use heartbeat_core::membership::{Membership, Voters};
use stateright::{Checker, Model, Property};

/// A rule that the model breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Acceptors vote on claims by any list.
    VotesOnAll,
    /// Claims use the new list without waiting for the end of earlier grants.
    DoesNotWait,
    /// A majority of the new list is enough for the switch.
    AsksTheNewList,
    /// An acceptor that restarts uses the list before.
    GoesBack,
}

/// Lists by their numbers, from 1. If two have the same number, some nodes load the one and some
/// the other.
#[derive(Clone, Copy)]
struct Story {
    lists: &'static [(u16, &'static [u16])],
    /// The nodes that want the lease, and the first list of each.
    candidates: [(u16, usize); 2],
    /// The other nodes, and the first list of each.
    others: &'static [(u16, usize)],
    /// Whether agents restart.
    restarts: bool,
}

/// Nodes are added, one after the other.
const GROWS: Story = Story {
    lists: &[(1, &[1, 2, 3]), (2, &[1, 2, 3, 4]), (3, &[1, 2, 3, 4, 5])],
    candidates: [(1, 0), (5, 2)],
    others: &[(2, 0), (3, 0), (4, 1)],
    restarts: true,
};
/// The second candidate was a member all the time.
const GROWS_UNDER_BOTH: Story = Story {
    candidates: [(1, 0), (3, 0)],
    others: &[(2, 0), (4, 1), (5, 2)],
    ..GROWS
};
/// Nodes are removed, one after the other, and one of them is the last to learn of it.
const SHRINKS: Story = Story {
    lists: &[(1, &[1, 2, 3, 4, 5]), (2, &[1, 2, 3, 4]), (3, &[1, 2, 3])],
    candidates: [(5, 0), (1, 0)],
    others: &[(2, 0), (3, 0), (4, 0)],
    restarts: true,
};
/// Two operators add one node each, without knowledge of each other.
const PARTS: Story = Story {
    lists: &[
        (1, &[1, 2, 3, 4]),
        (2, &[1, 2, 3, 4, 5]),
        (2, &[1, 2, 3, 4, 6]),
    ],
    candidates: [(1, 0), (3, 0)],
    others: &[(2, 0), (4, 0), (5, 1), (6, 2)],
    restarts: false,
};
const STORIES: [Story; 4] = [GROWS, GROWS_UNDER_BOTH, SHRINKS, PARTS];

/// The length of a lease, in nanoseconds: one tick.
const LEASE: Duration = Duration::from_nanos(1);
/// The constant time of the clock: the state has ages and not times.
const NOW: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    id: u16,
    /// The index of its acceptor's list.
    list: usize,
    /// Whether the acceptor has used the list for as long as a lease lasts.
    long: bool,
    /// The candidate that has its vote until the next tick.
    granted: Option<usize>,
    /// Whether that candidate's present agent received the vote, and not an earlier one.
    told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// The candidates first.
    nodes: Vec<Node>,
    /// By candidate: the index of the list of its claims.
    claiming: [Option<usize>; 2],
    /// By candidate: whether its guard is open until the next tick.
    open: [bool; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Tick,
    Ask {
        candidate: usize,
        node: usize,
    },
    Reload {
        node: usize,
        list: usize,
    },
    Settle {
        candidate: usize,
    },
    RestartAgent {
        candidate: usize,
        claiming: Option<usize>,
    },
    GoBack {
        node: usize,
        list: usize,
    },
}

struct Lists {
    story: Story,
    flaw: Option<Flaw>,
    /// The lists of the story, and the voter set of each in heartbeats.
    voters: Vec<Voters>,
    digests: Vec<u32>,
}

impl Lists {
    const ONE_OWNER: &'static str = "one owner at most";

    fn new(story: Story, flaw: Option<Flaw>) -> Self {
        let voters = |(version, nodes): &(u16, &[u16])| Voters {
            version: *version,
            nodes: nodes.iter().copied().map(NodeId).collect(),
        };
        let voters: Vec<_> = story.lists.iter().map(voters).collect();
        Self {
            digests: voters.iter().map(Voters::digest).collect(),
            voters,
            story,
            flaw,
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn version(&self, list: usize) -> u16 {
        self.voters[list].version
    }

    /// Whether this node is on that list.
    fn has_on(&self, list: usize, node: &Node) -> bool {
        self.voters[list].has(NodeId(node.id))
    }

    fn voter_set(&self, state: &State, node: usize) -> VoterSet {
        let Node { list, .. } = state.nodes[node];
        let claiming = state.claiming.get(node).copied().flatten();
        VoterSet {
            version: self.version(list),
            claiming: claiming.map_or(0, |claiming| self.version(claiming)),
            voters: self.digests[list],
        }
    }

    /// The membership of this candidate's agent by now.
    fn membership(&self, state: &State, candidate: usize) -> Membership {
        let Node { id, list, .. } = state.nodes[candidate];
        let lease = if self.has(Flaw::DoesNotWait) {
            Duration::ZERO
        } else {
            LEASE
        };
        let claiming = state.claiming[candidate].map(|claiming| {
            let mut claiming = self.voters[claiming].clone();
            if self.has(Flaw::AsksTheNewList) {
                claiming.nodes.clone_from(&self.voters[list].nodes);
            }
            claiming
        });
        let mut membership =
            Membership::new(NodeId(id), self.voters[list].clone(), claiming, lease, 0);
        for (index, node) in state.nodes.iter().enumerate() {
            // The agent receives no heartbeats from nodes that are not on its list.
            if self.has_on(list, node) {
                let since = if node.long { NOW - 1 } else { NOW };
                let seen = self.voter_set(state, index);
                membership.observe(NodeId(node.id), seen, Boottime::from_nanos(since));
            }
        }
        membership
    }

    fn holds(&self, state: &State, candidate: usize) -> bool {
        let Some(claiming) = state.claiming[candidate] else {
            return false;
        };
        let voters = &self.voters[claiming];
        let granted = |node: &&Node| {
            voters.has(NodeId(node.id)) && node.told && node.granted == Some(candidate)
        };
        state.nodes.iter().filter(granted).count() >= voters.majority()
    }

    fn votes(&self, state: &State, node: usize, candidate: usize) -> bool {
        let asked = self.voter_set(state, node);
        // A node that is not on its list gets no answer.
        let known = self.has_on(state.nodes[node].list, &state.nodes[candidate]);
        let claims = self.voter_set(state, candidate).claiming;
        known && claims != 0 && (self.has(Flaw::VotesOnAll) || asked.votes_on(claims))
    }
}

impl Model for Lists {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let first = |(id, list): (u16, usize)| Node {
            id,
            list,
            long: true,
            granted: None,
            told: false,
        };
        let candidates = self.story.candidates.into_iter();
        let others = self.story.others.iter().copied();
        vec![State {
            nodes: candidates.chain(others).map(first).collect(),
            // A node that comes later has no record.
            claiming: self
                .story
                .candidates
                .map(|(_, list)| (list == 0).then_some(0)),
            open: [false; 2],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        for (index, node) in state.nodes.iter().enumerate() {
            let claiming = state.claiming.get(index);
            let settled = claiming.is_none_or(|claiming| *claiming == Some(node.list));
            for list in (0..self.voters.len()).filter(|list| self.has_on(*list, node)) {
                let (from, to) = (self.version(node.list), self.version(list));
                if to == from + 1 && settled {
                    actions.push(Action::Reload { node: index, list });
                }
                if to + 1 == from && self.has(Flaw::GoesBack) {
                    actions.push(Action::GoBack { node: index, list });
                }
            }
            for candidate in 0..2 {
                let free = match node.granted {
                    None => true,
                    Some(owner) => owner == candidate && !node.told,
                };
                if free && self.votes(state, index, candidate) {
                    actions.push(Action::Ask {
                        candidate,
                        node: index,
                    });
                }
            }
        }
        for candidate in 0..2 {
            let node = &state.nodes[candidate];
            if state.claiming[candidate] == Some(node.list) {
                if !self.story.restarts {
                    continue;
                }
                let version = self.version(node.list);
                if version > 1 {
                    actions.push(Action::RestartAgent {
                        candidate,
                        claiming: None,
                    });
                }
                let older =
                    |list: &usize| self.version(*list) + 1 == version && self.has_on(*list, node);
                let claiming = (0..self.voters.len()).find(older);
                if claiming.is_some() {
                    actions.push(Action::RestartAgent {
                        candidate,
                        claiming,
                    });
                }
            } else if self
                .membership(state, candidate)
                .may_settle(Boottime::from_nanos(NOW))
            {
                actions.push(Action::Settle { candidate });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => {
                state.open = [false; 2];
                for node in &mut state.nodes {
                    (node.long, node.granted, node.told) = (true, None, false);
                }
            }
            Action::Ask { candidate, node } => {
                (state.nodes[node].granted, state.nodes[node].told) = (Some(candidate), true);
                state.open[candidate] |= self.holds(&state, candidate);
            }
            Action::Reload { node, list } | Action::GoBack { node, list } => {
                (state.nodes[node].list, state.nodes[node].long) = (list, false);
            }
            Action::Settle { candidate } => {
                state.claiming[candidate] = Some(state.nodes[candidate].list);
                state.open[candidate] |= self.holds(&state, candidate);
            }
            Action::RestartAgent {
                candidate,
                claiming,
            } => {
                state.claiming[candidate] = claiming;
                let own = |node: &&mut Node| node.granted == Some(candidate);
                state
                    .nodes
                    .iter_mut()
                    .filter(own)
                    .for_each(|node| node.told = false);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Self::ONE_OWNER, |_, state: &State| state.open != [true; 2]),
            // Without this property the model proves nothing.
            Property::sometimes(
                "an owner by the last list",
                |model: &Self, state: &State| {
                    let last = model.voters.len() - 1;
                    (0..2).any(|one| state.claiming[one] == Some(last) && model.holds(state, one))
                },
            ),
            Property::sometimes(
                "an owner by the first list",
                |model: &Self, state: &State| {
                    (0..2).any(|one| state.claiming[one] == Some(0) && model.holds(state, one))
                },
            ),
        ]
    }
}

#[test]
fn whoever_is_told_first_of_a_changed_list_there_is_one_owner() {
    for story in STORIES {
        let checker = Lists::new(story, None)
            .checker()
            .threads(2)
            .spawn_dfs()
            .join();
        println!("{} states", checker.unique_state_count());
        checker.assert_properties();
    }
}

/// Shows that some story of the flaw makes two owners.
fn splits(flaw: Flaw) {
    let found = STORIES.into_iter().find_map(|story| {
        let model = Lists::new(story, Some(flaw));
        model
            .checker()
            .spawn_bfs()
            .join()
            .discovery(Lists::ONE_OWNER)
    });
    println!("{flaw:?}: {:?}", found.expect("two owners").into_actions());
}

#[test]
fn checker_sees_that_majorities_of_lists_two_changes_apart_need_not_meet() {
    splits(Flaw::VotesOnAll);
}

#[test]
fn checker_sees_that_what_was_granted_before_must_have_run_out() {
    splits(Flaw::DoesNotWait);
}

#[test]
fn checker_sees_that_the_old_list_decides_on_the_new_one() {
    splits(Flaw::AsksTheNewList);
}

#[test]
fn checker_sees_that_no_acceptor_may_go_back_to_an_older_list() {
    splits(Flaw::GoesBack);
}
