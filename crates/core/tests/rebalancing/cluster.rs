//! A cluster whose load changes, and the hand-overs of its nodes. Each node checks once a second,
//! with a view that is a little old. Each move is checked against the rules.

use heartbeat_common::{time::Boottime, wire::NodeId};
use heartbeat_core::{
    group::GroupPlan,
    index::GroupIndex,
    index_vec::ByGroup,
    placement::{
        GroupSnapshot, Ineligibility, Layout, NodeView, Rebalance, Score, View,
        rebalance::{Calm, Candidates, Move, RebalanceInput, Rebalancer},
    },
    report::Reported,
};

use crate::{layout::layout, support::net::Rng};

/// The life of each cluster, in seconds.
const LIFE: u64 = 3_600;
/// The greatest age of a node's view of others, in seconds.
const DELAY: u64 = 2;

type Violation = String;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// The load of each group equals its weight at all times.
    Steady,
    /// The load of groups is random, with bursts, and nodes fail.
    Bursty,
    /// The load swings between nodes, about as fast as they may act.
    Swinging,
}

/// The state of a cluster in one second.
#[derive(Clone)]
struct State {
    loads: Vec<u16>,
    owners: ByGroup<Option<NodeId>>,
    down: Vec<bool>,
}

pub(crate) struct Run {
    rng: Rng,
    trace: Trace,
    rules: Rebalance,
    layout: Layout,
    burdens: ByGroup<Vec<u32>>,
    /// The last few seconds, the newest last.
    past: Vec<State>,
    rebalancers: Vec<Rebalancer>,
    pinned: ByGroup<bool>,
    /// The load of each group, per mille of a node.
    costs: ByGroup<u64>,
    /// By node, the period of its swing in seconds.
    swings: Vec<u64>,
    /// The groups on their way: group, target, time of arrival.
    coming: Vec<(GroupIndex, NodeId, u64)>,
    /// The time of each group's last move.
    moved_at: ByGroup<Option<u64>>,
    moves: Vec<u64>,
    now: u64,
}

/// The groups from the view of one node.
struct Groups<'a> {
    cluster: &'a Run,
    view: View<'a>,
}

impl Candidates for Groups<'_> {
    fn plan(&self, group: GroupIndex) -> &GroupPlan {
        &self.cluster.layout.groups[group]
    }

    fn is_movable(&self, group: GroupIndex) -> bool {
        let plan = self.plan(group);
        plan.rebalance && plan.stickiness.is_finite() && !self.cluster.pinned[group]
    }

    fn is_open(&self, group: GroupIndex, to: NodeId) -> bool {
        let ineligibility =
            self.view
                .ineligibility(self.plan(group), group, to, Reported::default());
        matches!(ineligibility, None | Some(Ineligibility::Constrained))
    }
}

impl Run {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut rng = Rng(seed);
        let nodes = 3 + rng.below(48) as u16;
        let groups = 1 + rng.below(200) as usize;
        let layout = layout(&mut rng, nodes, groups);
        let rules = layout.policy.rebalance.expect("it is on");
        // The capacity makes all nodes together about half full.
        let weights: u64 = layout.groups.iter().map(|g| u64::from(g.weight())).sum();
        let unit = (u64::from(nodes) * rng.pick(&[300, 450, 600]) / weights.max(1)).clamp(1, 300);
        let costs = layout.groups.iter().map(|group| match trace {
            Trace::Steady => u64::from(group.weight()) * unit,
            Trace::Bursty | Trace::Swinging => rng.below(4 * unit),
        });
        let costs = costs.collect();
        let hold = rules.hold.as_secs();
        let swings = (0..nodes).map(|_| hold / 2 + rng.below(2 * hold) + 1);
        let swings = swings.collect();
        let mut run = Self {
            trace,
            rules,
            burdens: layout.burdens(),
            past: vec![State {
                loads: vec![0; nodes.into()],
                owners: vec![None; groups].into(),
                down: vec![false; nodes.into()],
            }],
            rebalancers: vec![Rebalancer::default(); nodes.into()],
            pinned: vec![false; groups].into(),
            costs,
            swings,
            coming: Vec::new(),
            moved_at: vec![None; groups].into(),
            moves: Vec::new(),
            now: 1,
            layout,
            rng,
        };
        // The groups begin on a few nodes, as after a failure.
        run.place_all(1 + u16::try_from(seed % 3).unwrap_or(0));
        run.measure();
        run
    }

    fn state(&self) -> &State {
        self.past.last().expect("there is always one")
    }

    fn state_mut(&mut self) -> &mut State {
        self.past.last_mut().expect("there is always one")
    }

    fn seen(owners: &ByGroup<Option<NodeId>>) -> ByGroup<GroupSnapshot> {
        let snapshot = |owner: &Option<NodeId>| GroupSnapshot {
            owner: *owner,
            ..GroupSnapshot::default()
        };
        owners.iter().map(snapshot).collect()
    }

    fn nodes(&self, state: &State) -> Vec<NodeView> {
        let view = |(index, load): (usize, &u16)| NodeView {
            load: *load,
            ineligibility: state.down[index].then_some(Ineligibility::Down),
            ..NodeView::new(id(index), Vec::new())
        };
        state.loads.iter().enumerate().map(view).collect()
    }

    fn view<'a>(
        &'a self,
        nodes: &'a [NodeView],
        seen: &'a ByGroup<GroupSnapshot>,
        local: NodeId,
    ) -> View<'a> {
        View {
            policy: &self.layout.policy,
            constraints: &self.layout.constraints,
            nodes,
            seen,
            burdens: &self.burdens,
            local,
        }
    }

    /// Gives each group without a node the best one that can take it; at first one of the first few
    /// nodes.
    fn place_all(&mut self, first: u16) {
        for few in [first, u16::MAX] {
            for _ in 0..3 {
                for group in self.layout.groups.indices() {
                    let away = self.coming.iter().any(|(coming, ..)| *coming == group);
                    if self.state().owners[group].is_some() || away {
                        continue;
                    }
                    let seen = Self::seen(&self.state().owners);
                    let nodes = self.nodes(self.state());
                    let view = self.view(&nodes, &seen, NodeId(0));
                    let plan = &self.layout.groups[group];
                    let ranking = view.rank(plan, group, |_| Reported::default());
                    let mut able = ranking.iter().filter(|ranked| {
                        let apart = seen.indices().any(|other| {
                            seen[other].owner == Some(ranked.node)
                                && self.layout.constraints.keep_apart(group, other)
                        });
                        ranked.ineligibility.is_none() && ranked.node.0 <= few && !apart
                    });
                    let to = able.next().map(|ranked| ranked.node);
                    self.state_mut().owners[group] = to;
                }
            }
        }
    }

    fn measure(&mut self) {
        let mut loads = vec![0_u64; self.state().loads.len()];
        for (group, owner) in self.state().owners.iter_enumerated() {
            let Some(owner) = owner else { continue };
            let burst =
                self.trace == Trace::Bursty && (self.now / 97 + group.0 as u64).is_multiple_of(11);
            let factor = if burst { 3 } else { 1 };
            loads[usize::from(owner.0) - 1] += self.costs[group] * factor;
        }
        for (index, load) in loads.iter_mut().enumerate() {
            match self.trace {
                Trace::Steady => {}
                Trace::Bursty => *load += self.rng.below(60),
                Trace::Swinging if (self.now / self.swings[index]).is_multiple_of(2) => {
                    *load += 500;
                }
                Trace::Swinging => *load /= 3,
            }
        }
        let most = |load: u64| load.min(1_000) as u16;
        self.state_mut().loads = loads.into_iter().map(most).collect();
    }

    pub(crate) fn go(mut self) -> Result<usize, Violation> {
        while self.now < LIFE {
            self.now += 1;
            let next = self.state().clone();
            self.past.push(next);
            if self.past.len() > 1 + DELAY as usize {
                self.past.remove(0);
            }
            self.arrive();
            if self.trace == Trace::Bursty && self.rng.below(1_500) == 0 {
                self.fail();
            }
            self.measure();
            if self.now.is_multiple_of(600) {
                self.all_rank_the_same()?;
            }
            for node in 0..self.rebalancers.len() {
                if let Some(found) = self.step(node) {
                    self.hand_over(node, found)?;
                }
            }
        }
        Ok(self.moves.len())
    }

    fn arrive(&mut self) {
        let now = self.now;
        let (there, coming) = std::mem::take(&mut self.coming)
            .into_iter()
            .partition(|(.., at)| *at <= now);
        self.coming = coming;
        for (group, to, _) in there {
            self.state_mut().owners[group] = Some(to);
        }
    }

    /// Makes a node fail, or a failed one return.
    fn fail(&mut self) {
        let nodes = self.rebalancers.len();
        let down = (0..nodes).find(|node| self.state().down[*node]);
        if let Some(node) = down {
            self.state_mut().down[node] = false;
            return;
        }
        let node = self.rng.below(nodes as u64) as usize;
        self.state_mut().down[node] = true;
        self.rebalancers[node].forget();
        self.coming.retain(|(_, to, _)| *to != id(node));
        let gone = |owner: &Option<NodeId>| *owner == Some(id(node));
        let lost: Vec<GroupIndex> = self
            .pinned
            .indices()
            .filter(|group| gone(&self.state().owners[*group]))
            .collect();
        for group in lost {
            self.state_mut().owners[group] = None;
            (self.pinned[group], self.moved_at[group]) = (false, None);
        }
        // Followers move too.
        for _ in 0..3 {
            for rule in &self.layout.constraints.colocations {
                let owners = &mut self.past.last_mut().expect("one").owners;
                if rule.score == Score::MUST && owners[rule.with].is_none() {
                    owners[rule.group] = None;
                }
            }
        }
        self.place_all(u16::MAX);
    }

    /// Runs one check of a node. Its view of other nodes is a moment old.
    fn step(&mut self, node: usize) -> Option<Move> {
        let old = self.rng.below(self.past.len() as u64) as usize;
        let (then, now) = (&self.past[old], self.state());
        if now.down[node] {
            return None;
        }
        let local = id(node);
        let own = |group: GroupIndex| {
            let here = |state: &State| state.owners[group] == Some(local);
            if here(then) || here(now) {
                now.owners[group]
            } else {
                then.owners[group]
            }
        };
        let owners: ByGroup<_> = now.owners.indices().map(own).collect();
        let seen = Self::seen(&owners);
        let mut nodes = self.nodes(then);
        nodes[node] = self.nodes(now).swap_remove(node);
        let view = self.view(&nodes, &seen, local);
        let input = RebalanceInput {
            view,
            calm: match then.down.contains(&true) {
                true => Calm::No,
                false => Calm::Yes,
            },
            groups: &Groups {
                cluster: self,
                view,
            },
        };
        let mut rebalancer = self.rebalancers[node].clone();
        let found = rebalancer.step(
            Boottime::from_nanos(self.now * 1_000_000_000),
            &self.rules,
            &input,
        );
        self.rebalancers[node] = rebalancer;
        found
    }

    fn hand_over(&mut self, from: usize, Move { group, to }: Move) -> Result<(), Violation> {
        let now = self.now;
        let fail = |what: &str| {
            Err(format!(
                "at {now} s, group {group} from {from} to {to:?}: {what}"
            ))
        };
        let cooldown = self.rules.cooldown.as_secs();
        if self.moves.last().is_some_and(|last| now - last < cooldown) || !self.coming.is_empty() {
            return fail("two moves within the cool-down");
        }
        if self.moved_at[group].is_some_and(|at| now - at < 2 * cooldown) {
            return fail("it was moved just now");
        }
        let before = self.state().clone();
        if before.owners[group] != Some(id(from)) {
            return fail("it is not there");
        }
        if before.loads[from] < self.rules.high {
            return fail("there was not too much");
        }
        let train = self.layout.constraints.train(group);
        for member in &train {
            let plan = &self.layout.groups[*member];
            if before.owners[*member].is_none() {
                continue;
            }
            if !plan.rebalance || !plan.ranked.contains(&to) || plan.is_banned(to) {
                return fail("the configuration forbids it");
            }
            let apart = before.owners.indices().any(|other| {
                before.owners[other] == Some(to)
                    && self.layout.constraints.keep_apart(*member, other)
            });
            if apart {
                return fail("it keeps apart from what is there");
            }
            if before.owners[*member] != Some(id(from)) {
                return fail("who follows is elsewhere");
            }
            self.state_mut().owners[*member] = None;
            self.coming.push((*member, to, now + 1 + self.rng.below(3)));
            self.moved_at[*member] = Some(now);
        }
        self.pinned[group] = true;
        self.moves.push(now);
        if self.trace == Trace::Steady {
            // The expected state after the move: the load of each group equals its weight.
            let mut then = self.state().clone();
            for (group, to, _) in &self.coming {
                then.owners[*group] = Some(*to);
            }
            self.past.push(then);
            self.measure();
            let then = self.past.pop().expect("just put there");
            let (was, is) = (spread(&before.loads), spread(&then.loads));
            // If a node has more to do than it can, its load does not show how much.
            let less = then.loads[from] < before.loads[from] || before.loads[from] == 1_000;
            if is > was || !less {
                return fail(&format!("the spread was {was} and is {is}"));
            }
        }
        Ok(())
    }

    /// Checks that each node ranks all nodes the same from the same view.
    fn all_rank_the_same(&mut self) -> Result<(), Violation> {
        let group = GroupIndex(self.rng.below(self.pinned.len() as u64) as usize);
        let seen = Self::seen(&self.state().owners);
        let nodes = self.nodes(self.state());
        let plan = &self.layout.groups[group];
        let ranking = |local| {
            self.view(&nodes, &seen, local)
                .rank(plan, group, |_| Reported::default())
        };
        let first = ranking(NodeId(1));
        match nodes.iter().find(|node| ranking(node.node) != first) {
            Some(node) => Err(format!(
                "node {} ranks group {group} otherwise",
                node.node.0
            )),
            None => Ok(()),
        }
    }
}

fn id(index: usize) -> NodeId {
    NodeId(index as u16 + 1)
}

fn spread(loads: &[u16]) -> u16 {
    let ends = (loads.iter().max(), loads.iter().min());
    ends.0.copied().unwrap_or(0) - ends.1.copied().unwrap_or(0)
}
