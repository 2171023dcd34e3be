//! What a start does, decided from what is there and what is wanted. Pure.

#[cfg(test)]
mod tests;

use anyhow::{Result, bail, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_sys::net::EgressFilter;

use super::{
    adopted::{BOUND, KEPT, LOGS},
    observe::{Directory, Observation},
};
use crate::{
    attach::{
        existing_program::ExistingProgram,
        filter,
        tc::{self, TcWay},
        xdp::{self, Former},
    },
    pins::names::{tc_pin, xdp_pin},
    setup::{Attached, Setup, SetupGuard, XdpMode},
};

/// What of an earlier run's pins stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// The votes, the guard, and the links on interfaces, which get new programs.
    Votes,
    /// All of it: the programs are of the same object and have room.
    Programs,
}

impl Keep {
    pub(crate) fn keeps(self, pin: &str) -> bool {
        let of_programs = BOUND.contains(&pin) || pin == LOGS.1 || pin.starts_with("prog_");
        match self {
            Self::Nothing => false,
            Self::Votes => KEPT.contains(&pin) || pin.starts_with("link_"),
            Self::Programs => Self::Votes.keeps(pin) || of_programs,
        }
    }

    /// The maps that are gone on with, each by its name in the object and its pin.
    pub(crate) fn maps(self) -> Vec<(&'static str, &'static str)> {
        let kept = KEPT.map(|name| (name, name)).into_iter();
        let bound = BOUND.map(|name| (name, name)).into_iter().chain([LOGS]);
        kept.chain(bound.filter(|_| self == Self::Programs))
            .collect()
    }
}

/// An XDP program of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ingress {
    /// Guards an interface that no heartbeats come by.
    Guard,
    /// Answers heartbeats on the link with this number in the setup's order, and guards.
    Responder(usize),
}

/// What another has put where a program of ours belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Program(ExistingProgram),
    Filter(EgressFilter),
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Makes the pin directory where there is none, takes the rights of others to it away, and keeps
    /// other agents out of it.
    Claim,
    /// Removes the addresses that an earlier run left, but for those that may still be served.
    Sweep,
    /// Removes the pins that are not kept, and the filters that stand for pins.
    RemoveLeftovers,
    /// Makes the maps, but for those that are kept.
    MakeMaps,
    /// Writes what the programs look up.
    Fill,
    /// Lets the kernel verify the programs, and pins them.
    LoadPrograms,
    /// Forgets what an earlier agent asked: its programs stay.
    ForgetReplies,
    /// The same as `LoadPrograms` for the guard at the sockets.
    LoadSocketPrograms,
    PinMaps,
    GuardSockets,
    /// Removes the pin of a link on an interface that had the name before.
    UnpinStranger(String),
    /// Takes another's XDP program off an interface, as `--replace` asks.
    Evict {
        interface: String,
        existing: ExistingProgram,
    },
    /// Ends the start, unless what was in the way has gone by then.
    Refuse {
        interface: String,
        foreign: Foreign,
    },
    Tc {
        program: &'static str,
        interface: String,
        way: TcWay,
    },
    Xdp {
        program: Ingress,
        interface: String,
        mode: XdpMode,
        /// What becomes of the links that an earlier run left there.
        former: Vec<Former>,
    },
    /// Removes the links that nothing above has used.
    RemoveUnusedLinks,
    /// Lets the acceptor abstain for as long as a lease may last: it has forgotten its votes.
    Abstain,
}

impl Action {
    /// Whether nothing that a later start would miss has changed where this one fails: it comes
    /// before all others that remove or make anything.
    pub(crate) fn leaves_all_as_it_was(&self) -> bool {
        matches!(self, Self::Claim | Self::Sweep)
    }
}

/// What is to be done, in order.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Until when each guarded address may still be served, and each group.
    pub(crate) inherited: Vec<Option<Boottime>>,
    pub(crate) inherited_groups: Vec<Option<Boottime>>,
    pub(crate) keep: Keep,
    pub(crate) actions: Vec<Action>,
}

impl Plan {
    /// Refuses a start with pins that cannot be had, and one that would break a promise of this
    /// host's acceptor.
    pub(crate) fn new(setup: &Setup, seen: &Observation) -> Result<Self> {
        if let Directory::Refused(why) = &seen.directory {
            bail!("{why}");
        }
        ensure_promises_hold(setup, seen)?;
        let state = seen.state.as_ref();
        let until = |(guard, index): (&SetupGuard, &Option<u32>)| {
            state?.open_until(guard, (*index)?, seen.now)
        };
        let keep = match state {
            None => Keep::Nothing,
            Some(state) if state.programs => Keep::Programs,
            Some(_) => Keep::Votes,
        };
        Ok(Self {
            inherited: setup.guards.iter().zip(&seen.guarded).map(until).collect(),
            inherited_groups: setup
                .groups
                .iter()
                .map(|group| state?.served_until(*group, seen.now))
                .collect(),
            keep,
            actions: actions(setup, seen, keep),
        })
    }
}

fn ensure_promises_hold(setup: &Setup, seen: &Observation) -> Result<()> {
    let state = seen.state.as_ref();
    let version = state.map_or(0, |state| state.local.config_version);
    ensure!(
        version <= setup.voter_set.version,
        "this host votes by config_version {version} already, and must not go back to {}\n  give \
        the cluster's present one, with all of its nodes",
        setup.voter_set.version
    );
    let granted = seen.longest_grant;
    ensure!(
        granted <= seen.now.after(setup.max_lease),
        "this host's acceptor has granted leases that last longer than max_lease ({} ms), which it \
        would not wait for if it lost its votes\n  start it again in {} ms, or with the max_lease \
        that it had",
        setup.max_lease.as_millis(),
        granted.since(seen.now).as_millis()
    );
    Ok(())
}

fn actions(setup: &Setup, seen: &Observation, keep: Keep) -> Vec<Action> {
    let mut actions = vec![
        Action::Claim,
        Action::Sweep,
        Action::RemoveLeftovers,
        Action::MakeMaps,
        Action::Fill,
        match keep {
            Keep::Programs => Action::ForgetReplies,
            _ => Action::LoadPrograms,
        },
    ];
    if seen.sockets.is_ok() {
        actions.push(Action::LoadSocketPrograms);
    }
    actions.push(Action::PinMaps);
    if !setup.guards.is_empty() {
        actions.push(Action::GuardSockets);
    }
    // The guard first: while anything is exchanged, no address is without it.
    for name in setup.guarded_interfaces() {
        if let Some(index) = index_of(name, setup, seen) {
            let place = Place::new(name, index, seen, keep);
            place.guard(setup, &mut actions);
        }
    }
    for (number, (link, index)) in setup.links.iter().zip(&seen.links).enumerate() {
        // Where it is missing, that was said.
        if let Some(index) = *index {
            let place = Place::new(&link.interface, index, seen, keep);
            place.answer(number, setup, &mut actions);
        }
    }
    // What an earlier configuration needed and this one does not.
    actions.push(Action::RemoveUnusedLinks);
    if keep == Keep::Nothing {
        // Whatever answered here before has detached by now, and its votes are counted from now.
        actions.push(Action::Abstain);
    }
    actions
}

fn index_of(name: &str, setup: &Setup, seen: &Observation) -> Option<u32> {
    let links = setup.links.iter().map(|link| &link.interface);
    let guards = setup.guards.iter().map(|guard| &guard.interface);
    let names = links.zip(&seen.links).chain(guards.zip(&seen.guarded));
    let mut found = names.filter(|(other, _)| *other == name);
    found.find_map(|(_, index)| *index)
}

/// An interface with what an earlier run left on it.
struct Place<'a> {
    name: &'a str,
    index: u32,
    seen: &'a Observation,
    keep: Keep,
}

impl<'a> Place<'a> {
    fn new(name: &'a str, index: u32, seen: &'a Observation, keep: Keep) -> Self {
        Self {
            name,
            index,
            seen,
            keep,
        }
    }

    fn guard(&self, setup: &Setup, actions: &mut Vec<Action>) {
        self.unpin_strangers(actions);
        self.stamp("guard_egress", actions);
        // What comes in on a link the responder guards: there is nothing to attach for that.
        if !setup.is_link(self.name) {
            self.make_way(setup.replace, actions);
            self.take(Ingress::Guard, XdpMode::Auto, actions);
        }
    }

    fn answer(&self, link: usize, setup: &Setup, actions: &mut Vec<Action>) {
        self.unpin_strangers(actions);
        self.stamp("stamp_probe", actions);
        self.make_way(setup.replace, actions);
        self.take(Ingress::Responder(link), setup.links[link].mode, actions);
    }

    fn unpin_strangers(&self, actions: &mut Vec<Action>) {
        let pins = self.pins().into_iter();
        for pin in pins.filter(|pin| self.is_there(pin) && !self.is_here(pin)) {
            let action = Action::UnpinStranger(pin);
            // The guard's turn at a link comes before the responder's.
            if !actions.contains(&action) {
                actions.push(action);
            }
        }
    }

    fn stamp(&self, program: &'static str, actions: &mut Vec<Action>) {
        let pinned = self.is_here(&tc_pin(program, self.name));
        let way = tc::way(self.seen.tc_links, pinned);
        let others = self.seen.filters.get(self.name).into_iter().flatten();
        let mut others = others.filter(|filter| filter::has_place_of(filter, program));
        if let (TcWay::Filter, Some(other)) = (way, others.next()) {
            actions.push(Action::Refuse {
                interface: self.name.to_owned(),
                foreign: Foreign::Filter(other.clone()),
            });
        }
        actions.push(Action::Tc {
            program,
            interface: self.name.to_owned(),
            way,
        });
    }

    /// Another's XDP program goes if the operator wants that; else it stays, and ends the start.
    fn make_way(&self, replace: bool, actions: &mut Vec<Action>) {
        let Some(existing) = self.seen.programs.get(self.name).cloned() else {
            return;
        };
        let interface = self.name.to_owned();
        actions.push(match replace {
            true => Action::Evict {
                interface,
                existing,
            },
            false => Action::Refuse {
                interface,
                foreign: Foreign::Program(existing),
            },
        });
    }

    fn take(&self, program: Ingress, mode: XdpMode, actions: &mut Vec<Action>) {
        let mut pinned = vec![Attached::Native, Attached::Skb];
        pinned.retain(|way| self.is_here(&xdp_pin(self.name, *way)));
        actions.push(Action::Xdp {
            program,
            interface: self.name.to_owned(),
            former: xdp::former(&pinned, mode),
            mode,
        });
    }

    /// Those that belong to the interface with this name.
    fn pins(&self) -> [String; 4] {
        [
            xdp_pin(self.name, Attached::Native),
            xdp_pin(self.name, Attached::Skb),
            tc_pin("stamp_probe", self.name),
            tc_pin("guard_egress", self.name),
        ]
    }

    fn is_there(&self, pin: &str) -> bool {
        self.keep.keeps(pin) && self.seen.pins.contains_key(pin)
    }

    /// Whether a link that stays is on this interface. One that does not tell is judged by whoever
    /// gives it the new program.
    fn is_here(&self, pin: &str) -> bool {
        let on = self.seen.pins.get(pin);
        self.keep.keeps(pin) && on.is_some_and(|on| on.is_none_or(|on| on == self.index))
    }
}
