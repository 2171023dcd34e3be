//! Passes rows, slots and votes of the kernel to the core, and carries out its decisions. The guard
//! comes before all messages.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use heartbeat_common::{
    maps::VoteEvent,
    time::Boottime,
    wire::{GroupId, Owned},
};
use heartbeat_core::{
    Command, ReadSlot,
    cluster::{MAX_STEPS, StepInput},
    group::Serving,
    index::AddressIndex,
    record::Input,
};

use super::EventLoop;
use crate::{clock, pulse::Sink};

impl<S: Sink> EventLoop<S> {
    /// Publishes this node's accepting and claiming version in its heartbeats, if one has changed.
    pub(super) fn publish_voter_set(&mut self) {
        let voter_set = self.cluster.membership().voter_set();
        if voter_set != self.voter_set {
            self.voter_set = voter_set;
            self.local.set_voter_set(voter_set);
            self.own_vote.claim_by(voter_set.claiming);
        }
    }

    /// Passes all votes of peers since the last call to the core.
    pub(super) fn take_votes(&mut self) {
        let now = clock::now();
        while let Some(item) = self.votes.next() {
            let Ok(event) = bytemuck::try_pod_read_unaligned::<VoteEvent>(&item) else {
                continue;
            };
            let Some(place) = event.acceptor() else {
                let group = GroupId(event.entries[0].group);
                self.cluster.apply(Input::Freed(group));
                continue;
            };
            // Votes of removed peers are ignored.
            if let Some(number) = self.rows.number_at(place) {
                let peer = number.peer(self.links);
                self.cluster.count(Some(peer), &event, now);
            }
        }
    }

    /// Reads the kernel's state, and lets the core decide on it.
    fn step(&mut self, now: Boottime, late: Duration) {
        self.rows.read(&mut self.read_rows);
        let votes_from = self.slots.votes_from();
        let leases = self.cluster.slots_to_read(now, votes_from);
        let slots = leases.map(|lease| ReadSlot {
            lease,
            slot: self.slots.slot(lease),
        });
        self.read_slots.clear();
        self.read_slots.extend(slots);
        let input = StepInput {
            now,
            late,
            control_tick_at: self.local.reason_tick_at(),
            rows: &self.read_rows,
            slots: &self.read_slots,
            votes_from,
        };
        self.cluster.step(&input, &mut self.commands);
    }

    pub(super) fn decide(&mut self, late: Duration) {
        let now = clock::now();
        self.step(now, late);
        for _ in 1..MAX_STEPS {
            if !self.cluster.lacks_slots() {
                break;
            }
            self.step(now, Duration::ZERO);
        }
        self.publish_voter_set();
        // The guard comes first: it closes a lost group before any message about the loss leaves.
        let mut owned = 0_u8;
        for (index, group) in self.cluster.groups().iter_enumerated() {
            let addresses = (0..).map(AddressIndex);
            for (address, vip) in addresses.zip(&self.guarded[index]) {
                self.guard.open(*vip, group.address_open_until(address));
            }
            self.guard.serve(index, group.open_until());
            self.stats.groups[index].note(group, now);
            owned += u8::from(group.serving() == Serving::Started);
        }
        let owned = Owned::new(owned, self.cluster.cut_off());
        if owned != self.owned {
            self.owned = owned;
            self.local.set_owned(owned);
        }
        for command in self.commands.drain(..) {
            if let Command::Announce(state) = command {
                self.local.set_state(state);
            }
            self.sink.command(now, command);
        }
        // The rest is sent before this thread waits.
        self.sink.deliver();
        self.stats
            .local_stall
            .store(self.cluster.is_locally_stalled(), Relaxed);
        self.stats
            .local_stalls
            .store(self.cluster.local_stalls(), Relaxed);
        self.stats
            .alive
            .store(self.cluster.alive(now) as u64, Relaxed);
        self.stats
            .voters
            .store(self.cluster.voters().nodes.len() as u64, Relaxed);
    }
}
