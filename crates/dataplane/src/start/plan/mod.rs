//! The actions of a start, decided from the present and the wanted state. Pure.

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

/// The kept part of an earlier run's pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// The votes, the guard, and the links on interfaces, which get new programs.
    Votes,
    /// All pins: the programs are of the same object and have room.
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

    /// The kept maps, each by its name in the object and its pin.
    pub(crate) fn maps(self) -> Vec<(&'static str, &'static str)> {
        let kept = KEPT.map(|name| (name, name)).into_iter();
        let bound = BOUND.map(|name| (name, name)).into_iter().chain([LOGS]);
        kept.chain(bound.filter(|_| self == Self::Programs))
            .collect()
    }
}

/// One of our XDP programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ingress {
    /// Guards an interface without a link.
    Guard,
    /// Answers heartbeats on the link with this number in the setup's order, and guards.
    Responder(usize),
}

/// Another owner's program or filter in the place of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Program(ExistingProgram),
    Filter(EgressFilter),
}

/// One action of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Makes the pin directory if there is none, removes the rights of others to it, and locks it
    /// against other agents.
    Claim,
    /// Removes the addresses that an earlier run left, except for those that may still be served.
    Sweep,
    /// Removes the pins that are not kept, and the filters that stand for pins.
    RemoveLeftovers,
    /// Makes the maps, except for the kept ones.
    MakeMaps,
    /// Writes the data that the programs read.
    Fill,
    /// Makes the kernel verify the programs, and pins them.
    LoadPrograms,
    /// Clears an earlier agent's requests from the rows of peers: its programs stay.
    ForgetReplies,
    /// Does the same as `LoadPrograms` for the guard at the sockets.
    LoadSocketPrograms,
    PinMaps,
    GuardSockets,
    /// Removes the pin of a link on an interface that had the name before.
    UnpinStranger(String),
    /// Removes another owner's XDP program from an interface, as `--replace` asks.
    Evict {
        interface: String,
        existing: ExistingProgram,
    },
    /// Ends the start, unless the other program has gone meanwhile.
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
        /// The decisions about the links that an earlier run left there.
        former: Vec<Former>,
    },
    /// Removes the links that no earlier action has used.
    RemoveUnusedLinks,
    /// Makes the acceptor abstain for as long as a lease may last: its votes are lost.
    Abstain,
}

impl Action {
    /// Whether a failure of this action leaves everything that a later start needs: the action
    /// comes before all others that remove or make anything.
    pub(crate) fn changes_nothing(&self) -> bool {
        matches!(self, Self::Claim | Self::Sweep)
    }
}

/// The actions in their order.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The times until which each guarded address may still be served, and each group.
    pub(crate) inherited: Vec<Option<Boottime>>,
    pub(crate) inherited_groups: Vec<Option<Boottime>>,
    pub(crate) keep: Keep,
    pub(crate) actions: Vec<Action>,
}

impl Plan {
    /// Refuses a start with unusable pins, and one that would break a promise of this host's
    /// acceptor.
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
        the cluster's present config_version, with all of its nodes",
        setup.voter_set.version
    );
    let granted = seen.longest_grant;
    ensure!(
        granted <= seen.now.after(setup.max_lease),
        "this host's acceptor has granted leases that last longer than max_lease ({} ms): it would \
        not abstain long enough if it lost its votes\n  start it again in {} ms, or with its \
        former max_lease",
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
    // The guard comes first: no address is without it during the exchange of programs.
    for name in setup.guarded_interfaces() {
        if let Some(index) = index_of(name, setup, seen) {
            let place = Place::new(name, index, seen, keep);
            place.guard(setup, &mut actions);
        }
    }
    for (number, (link, index)) in setup.links.iter().zip(&seen.links).enumerate() {
        // A missing interface was logged by the discovery.
        if let Some(index) = *index {
            let place = Place::new(&link.interface, index, seen, keep);
            place.answer(number, setup, &mut actions);
        }
    }
    // Links that an earlier configuration needed and this one does not.
    actions.push(Action::RemoveUnusedLinks);
    if keep == Keep::Nothing {
        // Any earlier responder has detached by now, and its votes are counted from now.
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

/// An interface, with the programs that an earlier run left on it.
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
        // On a link the responder guards arriving packets, so there is no further program.
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
            // A link gets the guard before the responder.
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

    /// Evicts another owner's XDP program if the operator wants that; otherwise the program stays,
    /// and ends the start.
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

    /// The names of all pins for the interface with this name.
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

    /// Whether a kept link is on this interface. A link without information is checked when it gets
    /// the new program.
    fn is_here(&self, pin: &str) -> bool {
        let on = self.seen.pins.get(pin);
        self.keep.keeps(pin) && on.is_some_and(|on| on.is_none_or(|on| on == self.index))
    }
}
