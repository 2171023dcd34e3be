//! One cluster and its faults: the shape, the faults and their times follow from a seed.

use heartbeat_common::wire::{Health, LinkId, LinkSet, NodeId};
use heartbeat_core::{cluster::Intent, membership::Voters, placement::Strategy};

use super::{
    MS, TIMINGS, US,
    invariants::{
        guard_closes_first,
        majority_has_owner::{self, MajorityHasOwner},
        no_renewal_storm::NoRenewalStorm,
        one_owner, runs_once,
    },
    machine::Machine,
    net::{Path, Rng},
    ns, timing,
    truth::{Truth, Violation, one_server_each},
    world::{Bugs, World},
};

/// The number of faults in one run.
const FAULTS: usize = 14;
/// The pause after which a failed hand-over is repeated, in nanoseconds.
const FAILBACK_HOLD: u64 = 5_000 * MS;
/// The factor on all deadlines if each wake-up is late.
const LATE_FACTOR: u64 = 4;
/// The number of rounds for which an agent that ends for a restart waits for its last lease.
const PARTING_ROUNDS: u64 = 3;
/// The greatest number of groups: their entries need three frames.
const GROUPS: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    Boot,
    KillAgent,
    RestartAgent,
    /// A restart in order: the agent first gets the longest lease.
    GracefulRestart,
    /// A cut in both directions between two sets of machines.
    Partition,
    OneWay,
    /// A cut of one link of one pair.
    CutLink,
    Heal,
    /// A pause of the whole machine.
    Pause,
    /// A long pause of all machines, each with its own end, as after the suspension of a common
    /// host.
    Suspend,
    /// A pause of the agent alone.
    Starve,
    /// A hang of the agent's control task alone.
    Hang,
    Mute,
    Unmute,
    /// A move of a group to some node by an operator.
    Move,
    Standby,
    Online,
    /// A node that an operator empties.
    Empty,
    /// A failing check of a node, which may forbid it to serve, and another load.
    Ill,
    Well,
    /// A port that fails for good: silently, or with its carrier.
    Unplug,
    /// The next list of nodes for one node.
    Reload,
}

impl Fault {
    pub(crate) const ALL: [Self; 22] = [
        Self::Crash,
        Self::Boot,
        Self::KillAgent,
        Self::RestartAgent,
        Self::GracefulRestart,
        Self::Partition,
        Self::OneWay,
        Self::CutLink,
        Self::Heal,
        Self::Pause,
        Self::Suspend,
        Self::Starve,
        Self::Hang,
        Self::Mute,
        Self::Unmute,
        Self::Move,
        Self::Standby,
        Self::Online,
        Self::Empty,
        Self::Ill,
        Self::Well,
        Self::Unplug,
    ];
}

pub(crate) struct Run {
    world: World,
    truth: Truth,
    majority: MajorityHasOwner,
    storm: NoRenewalStorm,
    rng: Rng,
    faults: Vec<Fault>,
    /// The time between two comparisons of the truth with the output of the cores.
    grain: u64,
    verbose: bool,
    /// Whether more is checked than that no two machines serve.
    strict: bool,
    /// Whether agents get the CPU too late at each wake-up.
    late: bool,
    /// Whether all events are planned, and stops may take their time: no group runs twice.
    planned: bool,
}

/// The longest stop, if stops may take their time.
const SLOW_STOP: u64 = 5_000 * MS;

impl Run {
    pub(crate) fn new(seed: u64, faults: &[Fault], bugs: Bugs) -> Self {
        let mut rng = Rng(seed);
        let mut world = cluster(&mut rng, faults);
        world.bugs = bugs;
        // Some clusters have groups without an address.
        if seed % 4 == 1 {
            world.give_addresses();
        }
        let grain = ns(world.timing.interval) / 2;
        let timeout = ns(world.timing.timeout);
        let drift = timeout / 1_000_000 * 4 * u64::from(world.timing.drift_ppm);
        let tolerance = 2 * (world.net.latency + world.net.jitter)
            + (2 * world.net.late).min(timeout)
            + world.wake_latency
            + drift
            + grain;
        Self {
            truth: Truth::new(&world, tolerance),
            majority: MajorityHasOwner::new(&world),
            storm: NoRenewalStorm::default(),
            world,
            rng,
            faults: faults.to_vec(),
            grain,
            verbose: false,
            strict: true,
            late: false,
            planned: false,
        }
    }

    /// Prints all events.
    pub(crate) fn aloud(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// Checks only that no two machines serve.
    pub(crate) fn only_for_two_owners(mut self) -> Self {
        self.strict = false;
        self
    }

    /// Makes each wake-up of an agent later than a stall, while votes are counted before the lease
    /// is over. Checks only that no two machines serve, and that one does in the end: a late agent
    /// declares no peer down.
    pub(crate) fn with_late_agents(mut self) -> Self {
        let (slack, lease) = (ns(self.world.timing.slack()), ns(self.world.timing.lease));
        let lateness = slack * self.rng.pick(&[6, 10, 40]) / 5;
        self.world.lateness = lateness.min(lease * 2 / 5);
        let by_chance = slack * self.rng.pick(&[0, 1, 10]);
        self.world.wake_latency = by_chance.min(lease / 5);
        (self.strict, self.late) = (false, true);
        self
    }

    /// Loses no frame, and makes one stop of three take long. Checks that no group runs twice.
    pub(crate) fn only_planned(mut self) -> Self {
        (self.strict, self.planned) = (false, true);
        self.world.net.calm();
        self.world.slow_stops = Some((3, SLOW_STOP));
        self
    }

    pub(crate) fn go(mut self) -> Result<(), Violation> {
        if self.verbose {
            println!("{}", self.world);
        }
        let outcome = self.happen();
        if self.verbose {
            for entry in &self.world.log {
                println!("{entry:?}");
            }
            println!("{}; {}", self.majority, self.storm);
        }
        outcome
    }

    /// Runs the actions of operators, and waits for some of them.
    fn happen_as_planned(&mut self) -> Result<(), Violation> {
        self.wait(2 * self.world.max_lease + majority_has_owner::bound(&self.world))?;
        for _ in 0..FAULTS {
            let length = self.rng.below(SLOW_STOP / 4);
            self.wait(length)?;
            let fault = self.rng.pick(&self.faults);
            self.bring_about(fault)?;
        }
        self.wait(SLOW_STOP)
    }

    fn happen(&mut self) -> Result<(), Violation> {
        for machine in 0..self.world.machines.len() {
            self.world.boot(machine);
            let offset = self.rng.below(ns(self.world.timing.interval));
            self.wait(offset)?;
        }
        if self.planned {
            return self.happen_as_planned();
        }
        if self.rng.per_mille(700) {
            let settled = self.world.max_lease + majority_has_owner::bound(&self.world);
            let length = self.rng.below(settled);
            self.wait(length)?;
        }
        for _ in 0..FAULTS {
            let scale = self.scale();
            let length = self.rng.below(3 * scale);
            self.wait(length)?;
            let fault = self.rng.pick(&self.faults);
            self.bring_about(fault)?;
        }
        self.make_whole()?;
        if self.faults.contains(&Fault::Reload) {
            return self.finish_walk();
        }
        let timeout = ns(self.world.timing.timeout);
        let interval = ns(self.world.timing.interval);
        let settled = majority_has_owner::bound(&self.world);
        // The time to receive replies, to be quorate for a timeout, and to be active for another,
        // twice over; then the time to hand each group to its best node.
        let settled = 8 * timeout + 10 * interval + self.world.max_lease + 2 * settled;
        if self.late {
            return self.all_are_served_within(LATE_FACTOR * settled);
        }
        // A hand-over that failed before the repair is repeated after a while.
        let mut told = self.settles_silently(settled, 4 * timeout)?;
        if told.is_some() {
            self.wait(FAILBACK_HOLD)?;
            told = self.settles_silently(settled, 4 * timeout)?;
        }
        match told {
            Some(entry) => Err(format!("nothing happens, and yet {entry}")),
            None => Ok(()),
        }
    }

    /// Checks that each group is served at some time within `length`.
    fn all_are_served_within(&mut self, length: u64) -> Result<(), Violation> {
        let end = self.world.now + length;
        let mut waiting: Vec<usize> = (0..self.world.groups.len()).collect();
        while self.world.now < end && !waiting.is_empty() {
            self.wait(self.grain)?;
            waiting.retain(|group| self.world.servers(*group).is_empty());
        }
        match waiting[..] {
            [] => Ok(()),
            _ => Err(format!("nobody served groups {waiting:?} for {length} ns")),
        }
    }

    /// Gives all nodes all lists, one after the other. In the end the nodes of the last list claim
    /// by it, and serve.
    fn finish_walk(&mut self) -> Result<(), Violation> {
        let settled = 8 * ns(self.world.timing.timeout)
            + 3 * self.world.max_lease
            + 2 * majority_has_owner::bound(&self.world);
        let count = self.world.machines.len();
        for machine in 0..count {
            if self.world.machines[machine].agent.is_none() {
                self.world.boot(machine);
            }
        }
        for _ in 0..self.world.lists.len() {
            self.wait(settled)?;
            // A leaving node is emptied, and then ends.
            let next = (self.world.in_force() + 1).min(self.world.lists.len() - 1);
            let list = self.world.lists[next].clone();
            let gone = |machine: &usize| !list.has(NodeId(self.world.machines[*machine].id));
            let gone: Vec<usize> = (0..count).filter(gone).collect();
            gone.into_iter()
                .for_each(|machine| self.world.crash(machine));
            for _ in 0..self.world.lists.len() {
                for machine in 0..count {
                    let Machine { list: own, id, .. } = self.world.machines[machine];
                    let comes =
                        self.world.machines[machine].agent.is_none() && list.has(NodeId(id));
                    if comes && own <= next {
                        self.world.boot(machine);
                    }
                    if self.world.machines[machine].list < next {
                        self.world.reload(machine);
                    }
                    self.wait(ns(self.world.timing.interval))?;
                }
                self.wait(settled)?;
            }
        }
        self.wait(FAILBACK_HOLD)?;
        let last = self.world.lists.len() - 1;
        for (index, machine) in self.world.machines.iter().enumerate() {
            let is_on = self.world.lists[last].has(NodeId(machine.id));
            if is_on && (machine.list, machine.claiming) != (last, Some(last)) {
                let all = self.world.machines.iter();
                let all: Vec<_> = all
                    .map(|machine| (machine.list, machine.claiming))
                    .collect();
                return Err(format!(
                    "machine {index} does not go by list {last}: lists, and those claimed by, are \
                     {all:?}"
                ));
            }
        }
        one_server_each(&self.world)
    }

    /// Waits until the cluster has come to rest. Returns later events, if there are any.
    fn settles_silently(&mut self, settle: u64, rest: u64) -> Result<Option<String>, Violation> {
        self.wait(settle)?;
        one_server_each(&self.world)?;
        let told = self.world.log.len();
        self.wait(rest)?;
        let said = self.world.log.get(told);
        Ok(said.map(|entry| format!("{entry:?}")))
    }

    /// The scale of the times between faults.
    fn scale(&self) -> u64 {
        ns(self.world.timing.timeout.max(self.world.timing.lease))
    }

    fn wait(&mut self, length: u64) -> Result<(), Violation> {
        let end = self.world.now + length;
        while self.world.now < end {
            let step = self.grain.min(end - self.world.now);
            let (strict, planned) = (self.strict, self.planned);
            self.world.run_watched(step, &mut |world| {
                one_owner::check(world)?;
                if planned {
                    runs_once::check(world)?;
                }
                if strict {
                    guard_closes_first::check(world)?;
                }
                Ok(())
            })?;
            self.check()?;
        }
        Ok(())
    }

    /// Runs all checks. The caller calls it after each fault and each small step of time.
    fn check(&mut self) -> Result<(), Violation> {
        one_owner::check(&self.world)?;
        if self.strict {
            guard_closes_first::check(&self.world)?;
            self.truth.check(&self.world)?;
            self.majority.check(&self.world)?;
            self.storm.check(&self.world)?;
        }
        Ok(())
    }

    fn bring_about(&mut self, fault: Fault) -> Result<(), Violation> {
        let scale = self.scale();
        let world = &mut self.world;
        let count = world.machines.len();
        let victim = self.rng.below(count as u64) as usize;
        let length = self.rng.below(4 * scale);
        if self.verbose {
            println!("{}: {fault:?}, machine {victim}, {length} ns", world.now);
        }
        match fault {
            Fault::Crash => world.crash(victim),
            Fault::Boot => world.boot(victim),
            Fault::KillAgent => world.kill_agent(victim),
            Fault::RestartAgent => world.restart_agent(victim),
            Fault::GracefulRestart => {
                let rounds = PARTING_ROUNDS * ns(world.timing.interval);
                world.graceful_restart(victim, self.rng.below(rounds));
            }
            Fault::Partition | Fault::OneWay => {
                let side = self.rng.next();
                let (left, right): (Vec<usize>, Vec<usize>) =
                    (0..count).partition(|machine| side >> machine & 1 == 0);
                for path in world.paths(&left, &right) {
                    world.net.block(path);
                    if fault == Fault::Partition {
                        world.net.block(path.back());
                    }
                }
            }
            Fault::CutLink => {
                let to = (victim + 1 + self.rng.below(count as u64 - 1) as usize) % count;
                let link = LinkId(self.rng.below(world.links.into()) as u8);
                world.net.block(Path {
                    from: victim,
                    to,
                    link,
                });
            }
            Fault::Unplug => {
                let link = LinkId(self.rng.below(world.links.into()) as u8);
                world.unplug(victim, link, self.rng.per_mille(500));
            }
            Fault::Heal => {
                world.net.heal();
                (0..count).for_each(|machine| world.set_broken(machine, LinkSet::default()));
            }
            Fault::Pause => world.pause(victim, length),
            Fault::Suspend => {
                for machine in 0..count {
                    world.pause(machine, 10 * length + self.rng.below(scale));
                }
            }
            Fault::Starve => world.starve(victim, length),
            Fault::Hang => world.hang(victim, length),
            Fault::Mute => world.machines[victim].mute = true,
            Fault::Unmute => world
                .machines
                .iter_mut()
                .for_each(|machine| machine.mute = false),
            Fault::Move => self.move_a_group(),
            Fault::Standby => world.intend(victim, Intent::Standby),
            Fault::Online => world.intend(victim, Intent::Serve),
            Fault::Empty => world.intend(victim, Intent::Empty),
            Fault::Ill => {
                let check = self.rng.below(Health::MAX_CHECKS as u64) as usize;
                let health = Health::of(check, self.rng.per_mille(600));
                world.vitals(victim, health, self.rng.below(1_001) as u16);
            }
            Fault::Well => world.vitals(victim, Health::default(), 0),
            Fault::Reload => drop(world.reload(victim)),
        }
        // A fault with an end counts as two edges, and so does one that undoes several.
        self.truth.edges += 2 + count;
        self.check()
    }

    /// Moves a group, by a command to its owner or to some node.
    fn move_a_group(&mut self) {
        let group = self.rng.below(self.world.groups.len() as u64) as usize;
        let to = self.rng.pick(&self.world.groups[group].ranked);
        let anybody = self.rng.below(self.world.machines.len() as u64) as usize;
        let told = match self.world.servers(group)[..] {
            [server] if self.rng.per_mille(800) => server,
            _ => anybody,
        };
        if !self.is_held(told) {
            self.world.move_to(told, group, to);
        }
    }

    fn is_held(&self, machine: usize) -> bool {
        let machine = &self.world.machines[machine];
        machine
            .stands_until
            .max(machine.starved_until)
            .max(machine.hangs_until)
            > self.world.now
    }

    /// Ends all faults. A few machines stay dead: fewer than half.
    fn make_whole(&mut self) -> Result<(), Violation> {
        let world = &mut self.world;
        world.net.heal();
        world.net.calm();
        let held = |machine: &Machine| {
            machine
                .stands_until
                .max(machine.starved_until)
                .max(machine.hangs_until)
        };
        let until = world.machines.iter().map(held).max().unwrap_or_default();
        let mut may_stay_dead = (world.machines.len() - 1) / 2;
        for machine in 0..world.machines.len() {
            world.machines[machine].mute = false;
            world.set_broken(machine, LinkSet::default());
            world.intend(machine, Intent::Serve);
            let load = world.machines[machine].vitals.1;
            world.vitals(machine, Health::default(), load);
            let lives = match world.machines[machine].witness {
                true => world.machines[machine].kernel.is_some(),
                false => world.machines[machine].agent.is_some(),
            };
            if lives {
                continue;
            }
            if may_stay_dead > 0 && self.rng.per_mille(500) {
                may_stay_dead -= 1;
            } else {
                world.boot(machine);
            }
        }
        self.truth.edges += 2 * self.world.machines.len();
        let still = until.saturating_sub(self.world.now);
        self.wait(still)
    }
}

/// A cluster of any shape, switched off.
fn cluster(rng: &mut Rng, faults: &[Fault]) -> World {
    // If a timeout holds two intervals only, a paused machine may declare its peers down.
    let stand_still = faults.contains(&Fault::Pause);
    let (interval, timeout) = loop {
        let (interval, timeout) = rng.pick(&TIMINGS);
        if timeout >= 3 * interval || !stand_still {
            break (interval, timeout);
        }
    };
    // The longest timeout takes many ticks, so the cluster must be small.
    let small = timeout > 1_000;
    let walks = faults.contains(&Fault::Reload);
    let count = match small {
        _ if walks => 5 + rng.below(3) as u16,
        true => 3,
        false => 3 + rng.below(5) as u16,
    };
    let links = if small { 1 } else { 1 + rng.below(2) as u8 };
    let groups = if small {
        2
    } else {
        rng.pick(&[1, 2, 3, 9, GROUPS])
    };
    // Fewer than half of the nodes, or at times none, only vote.
    let witnesses =
        u16::from(!walks) * rng.below(u64::from(count).div_ceil(2)) as u16 * rng.below(2) as u16;
    let ranked: Vec<Vec<u16>> = (0..groups)
        .map(|_| ranking(rng, count - witnesses))
        .collect();
    let ranked: Vec<&[u16]> = ranked.iter().map(Vec::as_slice).collect();
    let mut timing = timing(interval, timeout);
    timing.lease = timing.interval * rng.pick(&[3, 4, 6, 12]);
    let mut world = World::new(count, links, timing, &ranked, rng.next());
    for machine in count - witnesses..count {
        world.machines[usize::from(machine)].witness = true;
    }
    let drift = i64::from(timing.drift_ppm);
    let ppm = |_| rng.below(2 * drift as u64 + 1) as i32 - drift as i32;
    world.clocks_ppm = Some((0..count).map(ppm).collect());
    let longest = match faults.contains(&Fault::GracefulRestart) {
        true => [2, 5, 20],
        false => [1, 2, 5],
    };
    world.max_lease = ns(timing.lease) * rng.pick(&longest);
    if faults.contains(&Fault::Ill) {
        world.policy.strategy = rng.pick(&Strategy::ALL);
        for (index, group) in world.groups.iter_mut().enumerate() {
            group.demand = vec![1 + index as u32 % 3];
        }
        // Each node has room for all groups, so that any surviving node can serve each of them.
        let capacity = |node: &u16| (NodeId(*node), vec![Some(2 * groups as u32 + 2)]);
        world.capacities = (1..=count)
            .collect::<Vec<_>>()
            .iter()
            .map(capacity)
            .collect();
    }
    if walks {
        walk(rng, &mut world);
    }
    world.auto_failback = rng.per_mille(700);
    let interval = interval * MS;
    world.errand_takes = rng.below(2 * interval);
    world.net.latency = US + rng.below(interval / 10);
    world.net.jitter = rng.below(interval / 4);
    world.net.loss_per_mille = rng.pick(&[0, 10, 100, 300]);
    // With one more loss, the silence would count.
    world.net.losses_in_a_row = timing.probes_needed() - 1;
    world.net.duplicates_per_mille = rng.pick(&[0, 10, 200]);
    world.net.late = rng.pick(&[0, 0, 2 * ns(timing.lease)]);
    // With a latency beyond the slack, an agent would declare no peer down.
    world.wake_latency = rng.below(ns(timing.slack()) / 4);
    if faults.contains(&Fault::Unplug) {
        for group in &mut world.groups {
            group.links = LinkSet(rng.below(1 << links) as u8);
        }
    }
    world
}

/// Lists of some of the nodes, each one change from the one before. Any node of a list may serve.
fn walk(rng: &mut Rng, world: &mut World) {
    const FEWEST: usize = 3;
    let all = world.lists[0].nodes.clone();
    let few = FEWEST + rng.below((all.len() - FEWEST) as u64) as usize;
    world.lists[0].nodes.truncate(few);
    for version in 2..=2 + rng.below(4) as u16 {
        let mut list = world.lists[usize::from(version) - 2].clone();
        list.version = version;
        let node = rng.pick(&all);
        match list.nodes.iter().position(|other| *other == node) {
            Some(at) if list.nodes.len() > FEWEST => drop(list.nodes.remove(at)),
            Some(_) => {}
            None => list.nodes.push(node),
        }
        world.lists.push(list);
    }
    for machine in &mut world.machines {
        let has = |list: &Voters| list.has(NodeId(machine.id));
        let first = world.lists.iter().position(has);
        // A node on no list stands for a host with the wrong file.
        machine.list = first.unwrap_or_default();
        machine.claiming = (machine.list == 0).then_some(0);
    }
    for group in &mut world.groups {
        group.ranked = all.clone();
    }
}

/// Some of the nodes from 1 to `count`, in any order.
fn ranking(rng: &mut Rng, count: u16) -> Vec<u16> {
    let mut nodes: Vec<u16> = (1..=count).collect();
    for at in (1..nodes.len()).rev() {
        nodes.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let most = nodes.len() as u64;
    nodes.truncate(if rng.per_mille(700) {
        most
    } else {
        1 + rng.below(most)
    } as usize);
    nodes
}
