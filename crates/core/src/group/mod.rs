//! One group on one node: when to contend for its lease, when to serve, when to let go.
//!
//! The lease decides who may serve, and only the lease; this decides who tries. Traffic may pass only
//! while a majority's votes are counted on, and a lease must never be released while something of the
//! group still runs here.

mod addresses;
mod backoff;
mod choice;
mod claim;
mod contend;
mod handover;
mod period;
mod reach;
mod slots;
mod terms;

use heartbeat_common::{
    lease::{Ballot, Slot, Successor},
    time::Boottime,
    wire::{LeaseEntry, NodeId},
};
use std::time::Duration;

use crate::{
    Timing,
    cluster::Heard,
    placement::{Constraints, Glance, Running, View},
    proposer::{Franchise, Obstacle, Proposer, Term},
    reach::{Condition, Reach},
    report::{GroupReport, Reported},
};
use backoff::Backoff;
use claim::AddressClaim;
use period::Period;
pub(crate) use slots::Interest;
pub use terms::{Course, GroupCommand, GroupPlan, Note, Reason, Serving};

/// After a hand-over that nobody took up, a group stays where it is for this long; after each further one
/// twice as long as after the last.
const FAILBACK_HOLD: Duration = Duration::from_secs(5);
/// But for no longer than this, and a hand-over that is longer ago is forgotten.
const MAX_FAILBACK_HOLD: Duration = Duration::from_secs(60);
/// Who is expected to take a group that is free has done so within this time, or never will; and what came
/// to a node this long ago is part of its load.
const EXPECTED_WITHIN: Duration = Duration::from_secs(10);
/// After this time an acceptor is asked again that has not heard of a release yet; each further
/// time it takes four times as long as all before, until the ticks come more often.
const UNHEARD_PAUSE: Duration = Duration::from_millis(1);

/// What a group sees of its node in one step.
#[derive(Clone, Copy)]
pub(crate) struct Outlook<'a> {
    pub(crate) local: NodeId,
    pub(crate) now: Boottime,
    pub(crate) timing: &'a Timing,
    pub(crate) auto_failback: bool,
    /// Whether this node may take a group.
    pub(crate) may_take: bool,
    /// Whether it is emptied, and well enough to go on with what nobody else can take.
    pub(crate) empties: bool,
    /// Whether it may keep one.
    pub(crate) may_keep: bool,
    /// Whether one of its checks says that it must serve nothing.
    pub(crate) unhealthy: bool,
    /// Whether the slow side of this agent hangs.
    pub(crate) hangs: bool,
    /// When this node last stood still for too long: the start of the clock if never.
    pub(crate) woke_at: Boottime,
    /// What peers and this node's acceptor say.
    pub(crate) heard: Heard<'a>,
    pub(crate) constraints: &'a Constraints,
    /// This group's index, and what is seen of all.
    pub(crate) index: usize,
    pub(crate) seen: &'a [Glance],
    /// What is seen of the nodes, and of where groups are.
    pub(crate) view: View<'a>,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub plan: GroupPlan,
    proposer: Proposer,
    /// In the order of the plan.
    addresses: Vec<AddressClaim>,
    serving: Serving,
    ready: bool,
    running: bool,
    barred: bool,
    /// Whether one of its interfaces is broken, as it was said last, and what that amounts to.
    broken: bool,
    condition: Condition,
    blocked: bool,
    maintained: bool,
    disabled: bool,
    /// How long its resources may take to stop.
    stop_timeout: Duration,
    /// Why it is about to stop, once nothing depends on it any more.
    leaving: Option<Reason>,
    /// When somebody was last seen to own it.
    owned_at: Option<Boottime>,
    /// Until when, as far as our own acceptor knows.
    owned_until: Boottime,
    /// When it was last seen to come to another node than before.
    arrived_at: Option<Boottime>,
    owner: Option<NodeId>,
    /// Since when nobody has been seen to, without interruption.
    free_from: Option<Boottime>,
    /// What our own acceptor last said.
    known: Slot,
    /// That acceptor heard of a release which was not looked at yet.
    freed: bool,
    /// The ballot of the release that was looked at last: whoever releases says so again and again.
    noted: Ballot,
    /// Since when, as far as that acceptor knows, nobody has had it.
    free: Option<Period>,
    /// Nothing is asked before.
    not_before: Boottime,
    asked_at: Boottime,
    backoff: Backoff,
    /// Why the last claim was given up, until that is told; and what was told last of this free
    /// period.
    given_up: Option<Obstacle>,
    told: Option<Obstacle>,
    /// The operator wants it here, however good others are.
    pinned: bool,
    failback_from: Boottime,
    /// How long it stayed here after the last hand-over that nobody took up.
    failback_hold: Duration,
    /// Whom it is for once it stopped.
    successor: Successor,
    /// It came straight back from a node that seemed to reach further: it stays until then.
    stays_until: Boottime,
    /// Why it stops, or did last.
    stops_for: Option<Reason>,
    handed_over_at: Option<Boottime>,
    /// When this node last gave it up, until it is seen to run at another.
    given_up_at: Option<Boottime>,
    /// It waits until another has made way for it here.
    coming: bool,
    /// It is served here, but the lease has run out: since then.
    lapsed: Option<Period>,
    /// The ballot of the lease that it was last served with.
    served_with: Option<Ballot>,
    /// The guard that an earlier agent of this node left open.
    inherited_until: Boottime,
    course: Course,
    /// Something is to be asked at once.
    urgent: bool,
    exhausted: bool,
    /// When to look again before the next tick.
    look_at: Option<Boottime>,
    /// A slot was not read that the last step would have gone by.
    lacks_slots: bool,
}

impl Group {
    pub(crate) fn new(plan: GroupPlan, proposer: Proposer) -> Self {
        Self {
            ready: !plan.supervised,
            running: false,
            barred: false,
            broken: false,
            condition: Condition::default(),
            blocked: false,
            maintained: false,
            disabled: false,
            stop_timeout: Duration::ZERO,
            leaving: None,
            owned_at: None,
            owned_until: Boottime::default(),
            arrived_at: None,
            owner: None,
            free_from: None,
            addresses: addresses::claims(&plan.addresses, Vec::new(), &proposer),
            plan,
            proposer,
            serving: Serving::Stopped,
            known: Slot::default(),
            freed: false,
            noted: Ballot::default(),
            free: None,
            not_before: Boottime::default(),
            asked_at: Boottime::default(),
            backoff: Backoff::default(),
            given_up: None,
            told: None,
            pinned: false,
            failback_from: Boottime::default(),
            failback_hold: Duration::ZERO,
            successor: Successor::default(),
            stays_until: Boottime::default(),
            stops_for: None,
            handed_over_at: None,
            given_up_at: None,
            coming: false,
            lapsed: None,
            served_with: None,
            inherited_until: Boottime::default(),
            course: Course::default(),
            urgent: false,
            exhausted: false,
            look_at: None,
            lacks_slots: false,
        }
    }

    /// It is still served here: an earlier agent of this node was granted the lease until `until`. It
    /// goes on if the lease can be had again before.
    pub(crate) fn inherit(&mut self, until: Boottime) {
        self.serving = Serving::Started;
        self.inherited_until = until;
        self.addresses
            .iter_mut()
            .for_each(|claim| claim.inherit(until));
    }

    /// This agent is about to end for a restart: the lease is to last for the next one.
    pub(crate) fn part(&mut self, term: Term) {
        if self.serving == Serving::Started {
            self.proposers_mut()
                .for_each(|proposer| proposer.part(term));
            self.urgent = true;
        }
    }

    /// Until when traffic may pass: the start of the clock where nothing is served.
    pub fn open_until(&self) -> Boottime {
        match self.serving {
            Serving::Started => self.proposer.lease_end().max(self.inherited_until),
            Serving::Stopped | Serving::Stopping => Boottime::default(),
        }
    }

    /// Whether it is left alone.
    pub fn is_maintained(&self) -> bool {
        self.maintained
    }

    /// Whether the operator wants it to run nowhere.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Whether it is left alone, or could not be stopped.
    pub fn is_stuck(&self) -> bool {
        self.maintained || self.blocked
    }

    /// How long its resources may take to stop.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    pub fn serving(&self) -> Serving {
        self.serving
    }

    /// How its interfaces are.
    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    /// What this node would report of it.
    pub(crate) fn reported_here(&self) -> Reported {
        Reported {
            current: true,
            said: GroupReport {
                settling: !self.ready,
                barred: self.barred || self.blocked,
                ..GroupReport::default()
            },
            ..Reported::default()
        }
    }

    /// Looks at what is said of its interfaces.
    pub(crate) fn look_at_interfaces(&mut self, now: Boottime, out: &mut Vec<GroupCommand>) {
        let before = self.condition.reach();
        let seen = match self.broken {
            true => Reach::Broken,
            false => Reach::Whole,
        };
        self.condition.observe(seen, now);
        if self.condition.reach() != before {
            let broken = self.condition.reach() == Reach::Broken;
            out.push(GroupCommand::Broken(broken));
        }
    }

    pub fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    /// Whether something new is to be asked now and not at the next tick. Says so once.
    pub(crate) fn take_urgency(&mut self) -> bool {
        std::mem::take(&mut self.urgent)
    }

    /// When to look again before the next tick.
    pub(crate) fn look_at(&self) -> Option<Boottime> {
        self.look_at
    }

    /// The same, as the configuration has it now. Claims to addresses that are new begin as `idle`.
    pub(crate) fn replanned(self, plan: GroupPlan, idle: &Proposer) -> Self {
        let addresses = addresses::claims(&plan.addresses, self.addresses, idle);
        Self {
            plan,
            addresses,
            ..self
        }
    }

    /// Other votes count from now on, and the acceptors have other numbers: see [`Proposer::reseat`].
    pub(crate) fn reseat(&mut self, seats: &[Option<usize>], franchise: Franchise) {
        self.proposers_mut()
            .for_each(|proposer| proposer.reseat(seats, franchise.clone()));
    }

    /// Other votes count from now on.
    pub(crate) fn enfranchise(&mut self, franchise: Franchise) {
        self.proposers_mut()
            .for_each(|proposer| proposer.enfranchise(franchise.clone()));
    }

    /// Takes note of what was said of it.
    pub(crate) fn note(&mut self, note: Note) {
        match note {
            Note::Ready => self.ready = true,
            Note::Running(running) => self.running = running,
            Note::Barred(barred) => self.barred = barred,
            Note::Broken(broken) => self.broken = broken,
            Note::Blocked(blocked) => self.blocked = blocked,
            Note::Maintained(maintained) => self.maintained = maintained,
            Note::Disabled(disabled) => self.disabled = disabled,
            Note::Unpinned => {
                self.pinned = false;
                self.failback_from = Boottime::default();
                self.failback_hold = Duration::ZERO;
            }
            Note::StopTimeout(timeout) => self.stop_timeout = timeout,
        }
    }

    /// Takes note of what other groups see of it: all as before if its slot was not read.
    pub(crate) fn glance(
        &mut self,
        index: usize,
        (local, now): (NodeId, Boottime),
        timing: &Timing,
        heard: &Heard<'_>,
        seen: &mut Glance,
    ) {
        let owner = match self.serving {
            Serving::Started => Some(local),
            Serving::Stopping => None,
            Serving::Stopped => {
                let Some(slot) = self.slot(heard) else {
                    return;
                };
                let owner = slot.live_owner(now).filter(|owner| *owner != local);
                self.owned_until = match owner {
                    Some(_) => Boottime::from_nanos(slot.expires),
                    None => Boottime::default(),
                };
                owner
            }
        };
        if owner.is_some() {
            if owner != self.owner {
                // Who had it when this node first looked has had it for long, as far as is known.
                let known = self.owner.is_some() || self.free_from.is_some();
                self.arrived_at = known.then_some(now);
                self.owner = owner;
            }
            self.owned_at = Some(now);
            self.free_from = None;
        } else {
            self.free_from.get_or_insert(now);
        }
        let running = match owner {
            Some(owner) if owner == local && self.runs() => Running::Yes,
            Some(owner) if owner == local => Running::No,
            Some(_) if !self.plan.supervised => Running::Yes,
            Some(owner) => match heard.reported(index, owner) {
                Reported { current: false, .. } => Running::Unknown,
                Reported { said, .. } if said.running => Running::Yes,
                Reported { .. } => Running::No,
            },
            // Our own acceptor may have missed a renewal.
            None => match self.owned_at {
                Some(at) if now.since(at) <= timing.lease * 2 => Running::Unknown,
                _ => Running::No,
            },
        };
        if owner == Some(local) || (owner.is_some() && running == Running::Yes) {
            self.given_up_at = None;
        }
        let here = self.serving != Serving::Stopped || self.coming;
        *seen = Glance {
            owner,
            here: here || !(self.proposer.is_idle() || self.proposer.is_releasing()),
            starting: self.serving == Serving::Started && !self.runs(),
            running,
            leaving: self.leaving.is_some() || self.serving == Serving::Stopping,
        };
    }

    /// Whether all of it that is to run does.
    fn runs(&self) -> bool {
        self.serving == Serving::Started && (self.running || !self.plan.supervised)
    }

    /// All of it has stopped here.
    pub(crate) fn stopped(&mut self, now: Boottime) {
        if self.serving != Serving::Stopping {
            return;
        }
        self.serving = Serving::Stopped;
        self.running = false;
        self.pinned = false;
        if self.proposer.is_holding() {
            self.release(now);
        }
    }

    /// Our own acceptor heard that the lease was released.
    pub(crate) fn freed(&mut self) {
        self.freed = true;
    }

    pub(crate) fn count(
        &mut self,
        acceptor: usize,
        vote: &LeaseEntry,
        left: Boottime,
        now: Boottime,
        timing: &Timing,
    ) {
        let preparing = self.proposer.is_preparing();
        let ballot = self.proposer.ask().map(|ask| ask.ballot);
        let obstacle = self.proposer.count(acceptor, vote, left);
        let promised = preparing && self.proposer.is_holding();
        if promised
            || self
                .proposer
                .ask()
                .is_some_and(|ask| Some(ask.ballot) != ballot)
        {
            self.ask_at_once(now);
        }
        match obstacle {
            None => {}
            Some(Obstacle::Unheard) => self.ask_again_soon(now, timing),
            Some(obstacle) if self.proposer.is_hopeless() => {
                self.lose_contest(obstacle, now, timing);
            }
            // Asked anew at the moment at which it ends.
            Some(Obstacle::Lease { remaining, .. }) => {
                self.not_before = self.not_before.max(now.after(remaining));
            }
            Some(_) => {}
        }
    }

    fn ask_at_once(&mut self, now: Boottime) {
        self.asked_at = now;
        self.urgent = true;
    }

    /// A release is on its way to an acceptor that was asked too early: it is asked again before
    /// the next tick, a few times.
    fn ask_again_soon(&mut self, now: Boottime, timing: &Timing) {
        let Some(free) = &self.free else { return };
        let pause = (now.since(free.since) * 3).max(UNHEARD_PAUSE);
        if pause < timing.interval {
            self.not_before = self.not_before.max(now.after(pause));
        }
    }

    /// Another node is ahead: make way for it.
    fn lose_contest(&mut self, obstacle: Obstacle, now: Boottime, timing: &Timing) {
        self.proposer.abandon();
        self.given_up = Some(obstacle);
        let pause = match obstacle {
            Obstacle::Lease { remaining, .. } => remaining,
            _ => self.backoff.lose(timing.interval),
        };
        self.not_before = self.not_before.max(now.after(pause));
    }

    pub(crate) fn step(&mut self, outlook: &Outlook<'_>, out: &mut Vec<GroupCommand>) {
        self.look_at = None;
        self.coming = false;
        let patient = outlook.now.since(self.asked_at) <= outlook.timing.lease;
        if self.proposer.is_releasing() && !patient {
            // Who did not hear of it has forgotten the lease by now.
            self.proposer.abandon();
        }
        if std::mem::take(&mut self.freed) && self.serving == Serving::Stopped {
            self.note_release(outlook);
        }
        self.tell_of_given_up_claim(outlook.local, out);
        let served = self.serving == Serving::Started;
        match self.serving {
            Serving::Started => self.serve(outlook, out),
            Serving::Stopping => self.wait_for_stop(outlook),
            Serving::Stopped if self.proposer.is_releasing() => {}
            Serving::Stopped if !self.may_take(outlook) => self.withdraw(outlook.now),
            Serving::Stopped if self.proposer.is_idle() => self.contend(outlook, out),
            Serving::Stopped => self.follow_claim(outlook, out),
        }
        self.tend_addresses(outlook);
        let reopens = self.reopens_an_address(outlook.now);
        if served && reopens && self.serving == Serving::Started {
            out.push(GroupCommand::Regained(self.course));
        }
        if self.lacks_slots {
            self.look_at = Some(outlook.now);
        }
    }

    /// It is served here: is the lease still ours, and should it be?
    fn serve(&mut self, outlook: &Outlook<'_>, out: &mut Vec<GroupCommand>) {
        let Outlook { now, timing, .. } = *outlook;
        if let Some(reason) = self.must_leave(outlook) {
            self.leave(reason, outlook, out);
            if self.serving != Serving::Started {
                return;
            }
        } else {
            self.leaving = None;
        }
        let end = self.open_until();
        if end > now && self.proposer.lease_end() > now {
            self.backoff.win();
            self.told = None;
            let ballot = self.proposer.ask().map(|ask| ask.ballot);
            // Who renews late with the same ballot was never without: nobody was promised a higher one.
            if self.lapsed.take().is_some() && ballot != self.served_with {
                self.course.majority = now;
                out.push(GroupCommand::Regained(self.course));
            }
            self.served_with = ballot;
            self.fail_back(outlook, out);
            return;
        }
        if self.proposer.is_idle() && now >= self.not_before {
            self.claim(now, out);
        }
        if end > now {
            return;
        }
        if self.lapsed.is_none() {
            self.course.free = now;
        }
        // A renewal may come through yet, also after this node stood still; if none does, what runs
        // is stopped.
        let lapsed = self.lapsed.get_or_insert(Period::since(end));
        let hopes_from = lapsed.or_woken(outlook.woke_at, Duration::ZERO).max(end);
        if now.since(hopes_from) > timing.grace_after_lapse() && !self.maintained {
            if !self.proposer.is_holding() {
                self.proposer.abandon();
            }
            // What it holds yet it gives back once it has stopped: the acceptors may hear a node that
            // does not hear them, and the others would wait for one more lease.
            self.stop(Reason::LeaseLost, out);
        }
    }

    /// Takes note of what our own acceptor says.
    fn learn(&mut self, slot: Slot) {
        self.proposer.saw(Ballot(slot.promised));
        if slot.owner == 0 {
            self.proposer.heard_release(Ballot(slot.ballot));
        }
        self.known = slot;
    }

    /// Another node gave the lease back: what our own acceptor last said is outdated, and so is what
    /// stood in the way of a claim.
    fn note_release(&mut self, outlook: &Outlook<'_>) {
        let Some(slot) = self.slot(&outlook.heard) else {
            self.freed = true;
            return;
        };
        let ballot = Ballot(slot.ballot);
        if slot.owner == 0 && std::mem::replace(&mut self.noted, ballot) == ballot {
            return;
        }
        if (slot.owner, slot.ballot) != (self.known.owner, self.known.ballot) {
            (self.free, self.told) = (None, None);
        }
        self.learn(slot);
        let stood_in_the_way = self.asked_at < self.not_before;
        self.not_before = Boottime::default();
        if !self.proposer.is_preparing() {
            return;
        }
        let successor = Successor(self.known.successor).node();
        if successor != outlook.local && successor.0 != 0 {
            self.proposer.abandon();
        } else if stood_in_the_way {
            self.ask_at_once(outlook.now);
        }
    }

    /// Says why a claim was given up to a lease that was released for this node, once for each
    /// reason.
    fn tell_of_given_up_claim(&mut self, local: NodeId, out: &mut Vec<GroupCommand>) {
        let successor = Successor(self.known.successor).node();
        let given_up = self.given_up.take();
        let Some(obstacle) = given_up.filter(|_| self.known.owner == 0 && successor == local)
        else {
            return;
        };
        let told = self.told.replace(obstacle);
        if !told.is_some_and(|told| told.is_like(obstacle)) {
            out.push(GroupCommand::ClaimGivenUp(obstacle));
        }
    }

    /// Nothing is served and nothing may be.
    fn withdraw(&mut self, now: Boottime) {
        if self.proposer.is_holding() {
            self.successor = Successor::default();
            self.release(now);
        } else {
            self.proposer.abandon();
        }
    }
}
