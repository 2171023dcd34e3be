//! Whole clusters under faults, in simulated time: every run follows from its seed.
//!
//! `HEARTBEAT_SIM_SEEDS=N` runs N seeds of each story instead of the few that always run. A seed that
//! fails prints the command that runs it alone.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use heartbeat_common::wire::LinkId;
use support::{
    MS, TIMINGS, US,
    net::{Path, Rng},
    ns, timing,
    truth::{Truth, Violation, one_server_each},
    world::World,
};

/// Seeds that always run, of each story.
const SEEDS: u64 = 40;
/// Faults in one run.
const FAULTS: usize = 14;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Crash,
    Boot,
    KillAgent,
    /// Both ways between two groups.
    Partition,
    OneWay,
    /// One link of one pair.
    CutLink,
    Heal,
    /// The whole machine stands still.
    Pause,
    /// Only its agent does.
    Starve,
    Mute,
    Unmute,
}

use Fault::*;

#[test]
fn machines_crash_and_come_back() {
    story(
        "machines_crash_and_come_back",
        &[Crash, Boot, Boot, KillAgent],
    );
}

#[test]
fn the_network_falls_apart_and_heals() {
    story(
        "the_network_falls_apart_and_heals",
        &[Partition, OneWay, CutLink, Heal],
    );
}

#[test]
fn machines_and_agents_stand_still() {
    story(
        "machines_and_agents_stand_still",
        &[Pause, Starve, Mute, Unmute],
    );
}

#[test]
fn everything_happens_at_once() {
    let all = [
        Crash, Boot, KillAgent, Partition, OneWay, CutLink, Heal, Pause, Starve, Mute, Unmute,
    ];
    story("everything_happens_at_once", &all);
}

fn story(name: &str, faults: &[Fault]) {
    let number = |variable| {
        std::env::var(variable).ok().map(|text| {
            text.parse::<u64>()
                .unwrap_or_else(|error| panic!("{variable}={text} is no number: {error}"))
        })
    };
    let seeds = match number("HEARTBEAT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HEARTBEAT_SIM_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| Run::new(seed, faults).go()));
        let violation = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(violation)) => violation,
            Err(_) => "panicked, see above".to_owned(),
        };
        panic!(
            "seed {seed}: {violation}\nto see it alone: \
             HEARTBEAT_SIM_SEED={seed} cargo test -p heartbeat-core --test simulation {name} -- --nocapture"
        );
    }
}

/// One cluster and what happens to it.
struct Run {
    world: World,
    truth: Truth,
    rng: Rng,
    faults: Vec<Fault>,
    /// How often the truth is compared with what the cores say.
    grain: u64,
    verbose: bool,
}

impl Run {
    fn new(seed: u64, faults: &[Fault]) -> Self {
        let mut rng = Rng(seed);
        // Where a timeout holds two intervals only, a machine that stood still may blame its peers.
        let stand_still = faults.iter().any(|fault| matches!(fault, Pause));
        let (interval, timeout) = loop {
            let (interval, timeout) = rng.pick(&TIMINGS);
            if timeout >= 3 * interval || !stand_still {
                break (interval, timeout);
            }
        };
        // The longest timeout takes many ticks: there the small cluster must do.
        let count = if timeout > 1_000 {
            3
        } else {
            3 + rng.below(5) as u16
        };
        let links = if timeout > 1_000 {
            1
        } else {
            1 + rng.below(2) as u8
        };
        let forward: Vec<u16> = (1..=count).collect();
        let backward: Vec<u16> = forward.iter().rev().copied().collect();
        let vips: &[&[u16]] = &[&forward, &backward, &backward[..2]];
        let mut world = World::new(count, links, timing(interval, timeout), vips, rng.next());
        let interval = interval * MS;
        world.net.latency = US + rng.below(interval / 10);
        world.net.jitter = rng.below(interval / 4);
        world.net.loss_per_mille = rng.pick(&[0, 10, 100, 300]);
        // One more, and the silence would count.
        world.net.losses_in_a_row = world.timing.probes_needed() - 1;
        world.net.duplicates_per_mille = rng.pick(&[0, 10, 200]);
        // Beyond the slack an agent that is always late would find nobody down.
        world.wake_latency = rng.below(ns(world.timing.slack()) / 4);
        let grain = interval / 2;
        let tolerance = 2 * (world.net.latency + world.net.jitter) + world.wake_latency + grain;
        Self {
            truth: Truth::new(&world, tolerance),
            world,
            rng,
            faults: faults.to_vec(),
            grain,
            verbose: std::env::var_os("HEARTBEAT_SIM_SEED").is_some(),
        }
    }

    fn go(mut self) -> Result<(), Violation> {
        let outcome = self.happen();
        if self.verbose {
            for entry in &self.world.log {
                println!("{entry:?}");
            }
        }
        outcome
    }

    fn happen(&mut self) -> Result<(), Violation> {
        for machine in 0..self.world.machines.len() {
            self.world.boot(machine);
            let offset = self.rng.below(ns(self.world.timing.interval));
            self.wait(offset)?;
        }
        for _ in 0..FAULTS {
            let length = self.rng.below(3 * ns(self.world.timing.timeout));
            self.wait(length)?;
            let fault = self.rng.pick(&self.faults);
            self.bring_about(fault)?;
        }
        self.make_whole()?;
        let timeout = ns(self.world.timing.timeout);
        let interval = ns(self.world.timing.interval);
        // To hear, to be quorate for a timeout, to be active for another, twice over.
        self.wait(8 * timeout + 10 * interval)?;
        one_server_each(&self.world)?;
        let told = self.world.log.len();
        self.wait(4 * timeout)?;
        match self.world.log.get(told) {
            Some(entry) => Err(format!("nothing happens, and yet {entry:?}")),
            None => Ok(()),
        }
    }

    fn wait(&mut self, length: u64) -> Result<(), Violation> {
        let end = self.world.now + length;
        while self.world.now < end {
            let step = self.grain.min(end - self.world.now);
            self.world.run_for(step);
            self.truth.check(&self.world)?;
        }
        Ok(())
    }

    fn bring_about(&mut self, fault: Fault) -> Result<(), Violation> {
        let world = &mut self.world;
        let count = world.machines.len();
        let victim = self.rng.below(count as u64) as usize;
        let length = self.rng.below(4 * ns(world.timing.timeout));
        if self.verbose {
            println!("{}: {fault:?}, machine {victim}, {length} ns", world.now);
        }
        match fault {
            Crash => world.crash(victim),
            Boot => world.boot(victim),
            KillAgent => world.kill_agent(victim),
            Partition | OneWay => {
                let side = self.rng.next();
                let (left, right): (Vec<usize>, Vec<usize>) =
                    (0..count).partition(|machine| side >> machine & 1 == 0);
                for path in world.paths(&left, &right) {
                    world.net.block(path);
                    if matches!(fault, Partition) {
                        world.net.block(path.back());
                    }
                }
            }
            CutLink => {
                let to = (victim + 1 + self.rng.below(count as u64 - 1) as usize) % count;
                let link = LinkId(self.rng.below(world.links.into()) as u8);
                world.net.block(Path {
                    from: victim,
                    to,
                    link,
                });
            }
            Heal => world.net.heal(),
            Pause => world.pause(victim, length),
            Starve => world.starve(victim, length),
            Mute => world.machines[victim].mute = true,
            Unmute => world
                .machines
                .iter_mut()
                .for_each(|machine| machine.mute = false),
        }
        // A fault that lasts for a while is two edges, and so is one that undoes several.
        self.truth.edges += 2 + count;
        self.truth.check(&self.world)
    }

    /// No fault any more, but for a few machines that stay dead: fewer than half.
    fn make_whole(&mut self) -> Result<(), Violation> {
        let world = &mut self.world;
        world.net.heal();
        world.net.calm();
        let held =
            |machine: &support::machine::Machine| machine.stands_until.max(machine.starved_until);
        let until = world.machines.iter().map(held).max().unwrap_or_default();
        let mut may_stay_dead = (world.machines.len() - 1) / 2;
        for machine in 0..world.machines.len() {
            world.machines[machine].mute = false;
            if world.machines[machine].agent.is_some() {
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
