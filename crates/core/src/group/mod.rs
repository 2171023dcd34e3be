//! One group on one node: when to contend for its lease, when to serve, and when to release it.
//!
//! The lease alone decides which node may serve. This module decides whether this node requests the
//! lease. Traffic may pass only until the lease's end by this node's count, and a lease must never
//! be released while a resource of the group still runs here. `phase.rs` has a drawing of the
//! phases.

mod acceptor;
mod address_claim;
mod addresses;
mod backoff;
mod choice;
mod claim;
mod contend;
mod context;
mod event;
mod facts;
mod handover;
mod introduction;
mod owner;
mod period;
mod phase;
mod reach;
mod serve;
mod slots;
mod terms;

use heartbeat_common::{time::Boottime, wire::LeaseEntry};
use std::time::Duration;

use crate::{
    Timing,
    index::AcceptorIndex,
    proposer::{MajorityConfig, Proposer, Term},
};
use acceptor::Acceptor;
use address_claim::AddressClaim;
use claim::GroupClaim;
pub(crate) use context::{GroupContext, LocalNode};
pub use event::{AcquisitionTimeline, GroupEvent, Reason};
use facts::{Departure, FailbackHold, Interfaces, Operator, Resources};
pub use introduction::INTRODUCTION;
use introduction::Introduction;
use owner::Owner;
use period::Period;
use phase::{Phase, Tenure};
pub(crate) use slots::Interest;
pub use terms::{GroupPlan, Note, Serving};

/// The time for which a group stays on its node after a hand-over that failed: the group came back,
/// because its successor did not take or did not keep it. Each further such hand-over doubles the
/// time.
const FAILBACK_HOLD: Duration = Duration::from_secs(5);
/// The limit of the doubled time. A group that comes back later than this after a hand-over does
/// not count as a failed hand-over.
const MAX_FAILBACK_HOLD: Duration = Duration::from_secs(60);
/// A group without an owner for longer than this counts as one that no node will take. A group that
/// has been on a node for longer than this counts as part of the node's measured load.
const EXPECTED_WITHIN: Duration = Duration::from_secs(10);
/// The first pause before a request is repeated to an acceptor that has not received a release yet.
/// Each further pause is three times the time waited so far. The ticks replace pauses of an
/// interval or more.
const PENDING_RELEASE_PAUSE: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
pub struct Group {
    pub plan: GroupPlan,
    phase: Phase,
    claim: GroupClaim,
    /// By address, in the order of [`GroupPlan::addresses`].
    addresses: Vec<AddressClaim>,
    resources: Resources,
    operator: Operator,
    interfaces: Interfaces,
    acceptor: Acceptor,
    owner: Owner,
    departure: Departure,
    failback_hold: FailbackHold,
    introduction: Introduction,
    /// The time of the next step, if it must come before the next tick.
    next_check: Option<Boottime>,
}

impl Group {
    pub(crate) fn new(plan: GroupPlan, proposer: Proposer) -> Self {
        Self {
            phase: Phase::Waiting,
            addresses: addresses::claims(&plan.addresses, Vec::new(), &proposer),
            claim: GroupClaim::new(proposer),
            resources: Resources {
                ready: !plan.supervised,
                ..Resources::default()
            },
            plan,
            operator: Operator::default(),
            interfaces: Interfaces::default(),
            acceptor: Acceptor::default(),
            owner: Owner::default(),
            departure: Departure::default(),
            failback_hold: FailbackHold::default(),
            introduction: Introduction::default(),
            next_check: None,
        }
    }

    /// Adopts a group that is still served here: an earlier agent of this node was granted the
    /// lease until `until`. This node goes on serving if this agent acquires the lease before then.
    /// The call must precede the first step.
    pub(crate) fn inherit(&mut self, until: Boottime) {
        self.phase = Phase::Serving(Tenure {
            inherited_until: until,
            ..Tenure::default()
        });
        self.addresses
            .iter_mut()
            .for_each(|claim| claim.inherit(until));
    }

    /// Prepares a graceful restart: requests a lease that is long enough for the next agent to go
    /// on with.
    pub(crate) fn prepare_restart(&mut self, term: Term) {
        if self.serving() == Serving::Started {
            self.proposers_mut()
                .for_each(|proposer| proposer.prepare_restart(term));
            self.claim.urgent = true;
        }
    }

    /// The time until which traffic may pass, or the start of the clock if the group is not served
    /// here.
    pub fn open_until(&self) -> Boottime {
        // docs/design/leases.md#rule-4: the guard is open in no other phase.
        self.phase.tenure().map_or(Boottime::default(), |tenure| {
            self.claim.proposer.lease_end().max(tenure.inherited_until)
        })
    }

    pub fn serving(&self) -> Serving {
        self.phase.serving()
    }

    pub fn proposer(&self) -> &Proposer {
        &self.claim.proposer
    }

    /// Whether a new request must be sent before the next tick. Returns true once for each such
    /// request.
    pub(crate) fn take_urgency(&mut self) -> bool {
        std::mem::take(&mut self.claim.urgent)
    }

    /// The time of the next step, if it must come before the next tick.
    pub(crate) fn next_check(&self) -> Option<Boottime> {
        self.next_check
    }

    /// The group with a new plan from the configuration. Claims to new addresses begin as `idle`.
    pub(crate) fn replanned(self, plan: GroupPlan, idle: &Proposer) -> Self {
        let addresses = addresses::claims(&plan.addresses, self.addresses, idle);
        Self {
            plan,
            addresses,
            ..self
        }
    }

    /// Changes the set of acceptors whose votes count, and renumbers the acceptors: see
    /// [`Proposer::renumber_acceptors`].
    pub(crate) fn renumber_acceptors(
        &mut self,
        former: &[Option<AcceptorIndex>],
        majority_config: MajorityConfig,
    ) {
        self.proposers_mut()
            .for_each(|proposer| proposer.renumber_acceptors(former, majority_config.clone()));
    }

    /// Changes the set of acceptors whose votes count.
    pub(crate) fn set_majority_config(&mut self, majority_config: MajorityConfig) {
        self.proposers_mut()
            .for_each(|proposer| proposer.set_majority_config(majority_config.clone()));
    }

    /// Counts the vote of `acceptor` on a request in the probe that left at `left`.
    pub(crate) fn count(
        &mut self,
        acceptor: AcceptorIndex,
        vote: &LeaseEntry,
        left: Boottime,
        now: Boottime,
        timing: &Timing,
    ) {
        let free = self.acceptor.free;
        self.claim.count((acceptor, vote, left), free, now, timing);
        let asks = matches!(self.phase, Phase::Claiming { .. } | Phase::Releasing { .. });
        if asks && self.claim.proposer.is_idle() {
            // The claim was lost to another node, or all acceptors have confirmed the release.
            self.enter(Phase::Waiting);
        }
    }

    /// Decides from the context of this step. The events for the caller go to `out`.
    pub(crate) fn step(&mut self, context: &GroupContext<'_>, out: &mut Vec<GroupEvent>) {
        self.next_check = None;
        self.end_release(context);
        if std::mem::take(&mut self.acceptor.freed) && self.serving() == Serving::Stopped {
            self.note_release(context);
        }
        self.report_given_up_claim(context.view.local, out);
        let served = self.serving() == Serving::Started;
        let next = match self.phase {
            Phase::Waiting | Phase::Displacing => self.wait(context, out),
            Phase::Claiming { free } => self.follow_claim(free, context, out),
            Phase::Serving(tenure) => self.serve(tenure, None, context, out),
            Phase::Lapsed(tenure, since) => self.serve(tenure, Some(since), context, out),
            Phase::Stopping(stop) => Phase::Stopping(self.await_stop(stop, context)),
            Phase::Releasing { since } => Phase::Releasing { since },
        };
        self.enter(next);
        self.update_addresses(context);
        let reopens = self.reopens_an_address(context.now);
        if let Some(tenure) = self.phase.tenure().filter(|_| served && reopens) {
            out.push(GroupEvent::LeaseAcquired {
                timeline: tenure.timeline,
                regained: true,
            });
        }
        if self.acceptor.lacks_slots {
            self.next_check = Some(context.now);
        }
        self.assert_nothing_is_renewed_by_a_hanging_agent(context);
    }

    /// Ends a release that has gone on for longer than a lease: the lease has run out by then on
    /// every acceptor that did not receive the release.
    fn end_release(&mut self, context: &GroupContext<'_>) {
        if let Phase::Releasing { since } = self.phase
            && context.now.since(since) > context.timing.lease
        {
            self.claim.proposer.abandon();
            self.enter(Phase::Waiting);
        }
    }

    fn assert_nothing_is_renewed_by_a_hanging_agent(&self, context: &GroupContext<'_>) {
        let proposer = &self.claim.proposer;
        // docs/design/leases.md#rule-6
        debug_assert!(
            !context.node.hangs
                || self.operator.maintained
                || proposer.is_idle()
                || proposer.is_releasing(),
            "{:?} is requested by an agent that hangs",
            self.plan.id
        );
    }
}
