//! Carries out the directives of other threads.

use heartbeat_core::record::Input;

use super::{EventLoop, LAST_LEASE_ROUNDS};
use crate::{
    clock,
    messages::Directive,
    pulse::{Sink, replan::Replan},
};

impl<S: Sink> EventLoop<S> {
    /// Carries out the received directives. Returns whether the thread must end.
    pub(super) fn handle_directives(&mut self) -> bool {
        self.inbox.0.try_take(&mut self.directives);
        while let Some(directive) = self.directives.pop_front() {
            if matches!(directive, Directive::Stop) {
                return true;
            }
            let input = self.handle_outside_core(directive);
            if let Some(spent) = input.and_then(|input| self.cluster.apply(input)) {
                self.sink.spent(spent);
            }
        }
        false
    }

    /// Carries out the part of a directive outside the core. Returns the input for the core, if
    /// any.
    fn handle_outside_core(&mut self, directive: Directive) -> Option<Input> {
        match directive {
            Directive::Stopped { group } => {
                let now = clock::now();
                return Some(Input::Stopped { group, now });
            }
            Directive::Move { group, to } => return Some(Input::Move { group, to }),
            Directive::Note { group, note } => return Some(Input::Note { group, note }),
            Directive::Reported { node, report } => return Some(Input::Reported { node, report }),
            Directive::Broken(links) => return Some(Input::Broken(links)),
            Directive::Intend(intent) => return Some(Input::Intend(intent)),
            Directive::Health(sum) => {
                self.local.set_health(sum.health, sum.watched);
                return Some(Input::Health(sum.health));
            }
            Directive::Load(load) => {
                self.local.set_load(load);
                return Some(Input::Load(load));
            }
            Directive::GracefulRestart(lease) => {
                self.graceful_restart = Some(clock::now().after(self.interval * LAST_LEASE_ROUNDS));
                return Some(Input::GracefulRestart(lease));
            }
            Directive::Report { number } => self.local.set_report(number),
            Directive::Replan(new) => self.replan(*new),
            Directive::Rekey { key, generation } => {
                self.own_vote.seal_with(key);
                self.local.set_key(key.0);
                self.local.set_generation(generation);
            }
            Directive::Rebind { link, socket } => self.sender.rebind(link, socket),
            Directive::Stop => {}
        }
        None
    }

    /// Switches to a changed configuration.
    fn replan(&mut self, new: Replan) {
        if let Some(reform) = new.reform {
            // Pending votes come first, while the rows still belong to their peers.
            self.take_votes();
            self.cluster.apply(Input::Reform {
                peers: reform.peers,
                links: self.links,
                membership: reform.membership,
            });
            self.sender.turn_to(reform.rounds);
            self.rows = reform.rows;
            self.publish_voter_set();
        }
        self.cluster.apply(Input::Replan(new.layout));
        self.cluster.apply(Input::AutoFailback(new.auto_failback));
        (self.guarded, self.guard) = (new.guarded, new.guard);
        self.local.set_generation(new.generation);
        let leases = self.guarded.iter().map(|vips| 1 + vips.len()).sum();
        self.entries.reserve(leases);
        self.read_slots.reserve(leases);
        self.read_rows.reserve(self.rows.len());
    }
}
