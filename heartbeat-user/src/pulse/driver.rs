//! The core, with a record of its inputs and decisions.
//!
//! Every call that changes the core goes through this type. Calls that only read the core go to it
//! directly.

use std::{borrow::Cow, ops::Deref};

use heartbeat_common::{maps::VoteEvent, time::Boottime};
use heartbeat_core::{
    Cluster, Command, StepInput,
    cluster::Plan,
    index::PeerIndex,
    record::{Entry, Input},
    report::GroupReports,
};

use crate::record::Tap;

#[derive(Debug)]
pub(super) struct Driver {
    cluster: Cluster,
    tap: Option<Tap>,
}

impl Deref for Driver {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Driver {
    pub(super) fn new(plan: Plan, mut tap: Option<Tap>) -> Self {
        if let Some(tap) = &mut tap {
            tap.entry(&Entry::Start(Box::new(Cow::Borrowed(&plan))));
        }
        Self {
            cluster: Cluster::new(plan),
            tap,
        }
    }

    /// Passes an input to the core: see [`Cluster::apply`].
    pub(super) fn apply(&mut self, input: Input) -> Option<GroupReports> {
        if let Some(tap) = &mut self.tap {
            tap.entry(&Entry::Input(Cow::Borrowed(&input)));
        }
        self.cluster.apply(input)
    }

    /// Counts votes: see [`Cluster::count`].
    pub(super) fn count(&mut self, acceptor: Option<PeerIndex>, votes: &VoteEvent, now: Boottime) {
        if let Some(tap) = &mut self.tap {
            tap.votes(acceptor, votes, now);
        }
        self.cluster.count(acceptor, votes, now);
    }

    /// Lets the core decide. The decisions go to `out`, which is empty before, or holds earlier
    /// decisions of the same instant.
    pub(super) fn step(&mut self, input: &StepInput<'_>, out: &mut Vec<Command>) {
        let before = out.len();
        self.cluster.step(input, out);
        if let Some(tap) = &mut self.tap {
            tap.step(input, &out[before..]);
        }
    }

    /// See [`Cluster::take_urgency`]: no decision depends on whether this is called.
    pub(super) fn take_urgency(&mut self) -> bool {
        self.cluster.take_urgency()
    }

    /// Writes the rest of the record when the agent ends. This may block.
    pub(super) fn finish(&mut self) {
        if let Some(tap) = &mut self.tap {
            tap.finish();
        }
    }
}
