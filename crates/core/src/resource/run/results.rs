//! The outcomes of actions, and the ends of processes meanwhile.

use heartbeat_common::time::Boottime;

use super::{GroupRun, Phase};
use crate::{
    index::ResourceIndex,
    resource::{Action, Effect, ExitCode, Failure, Finding, Outcome, state::Known},
};

impl GroupRun {
    /// Handles the end of an action, or an action that lingers and ends later. An action that is
    /// not in flight is ignored.
    pub fn finished(
        &mut self,
        resource: ResourceIndex,
        action: Action,
        outcome: Outcome,
        now: Boottime,
        out: &mut Vec<Effect>,
    ) {
        let counts = self.counts(resource, action);
        let Some(of) = self.resources.get_mut(resource) else {
            return;
        };
        if of.action() != Some(action) {
            return;
        }
        let failure = Failure {
            resource,
            action,
            outcome,
            at: now,
        };
        if outcome == Outcome::Lingers && matches!(action, Action::Start | Action::Stop) {
            of.linger(now);
            self.failed(failure, counts, out);
            self.step(now, out);
            return;
        }
        let reported = of.lingers();
        of.in_flight = None;
        match action {
            Action::Probe => self.probed(failure, out),
            Action::Start => self.start_ended(failure, counts, reported, out),
            Action::Stop => self.stop_ended(failure, reported, out),
            Action::Monitor => self.monitored(failure, counts, out),
        }
        self.step(now, out);
    }

    /// Handles the end of a process of the resource. The report may come late or twice: it only
    /// counts for a resource that runs and should run.
    pub fn died(&mut self, resource: ResourceIndex, now: Boottime, out: &mut Vec<Effect>) {
        let counts = self.counts(resource, Action::Monitor);
        let Some(of) = self.resources.get_mut(resource) else {
            return;
        };
        match (of.action(), of.known) {
            // The process may be an earlier one, or the agent may have missed its end: a monitor
            // will show.
            (Some(Action::Start | Action::Probe), _) => of.doubted = true,
            (_, Known::Running) => {
                let failure = Failure {
                    resource,
                    action: Action::Monitor,
                    outcome: Outcome::Died,
                    at: now,
                };
                self.monitored(failure, counts, out);
            }
            _ => {}
        }
        self.step(now, out);
    }

    /// Whether a failure of the resource would count: everything before it runs, and it should run.
    fn counts(&self, resource: ResourceIndex, action: Action) -> bool {
        let kept = self.kept();
        let is_to_run = match action {
            Action::Start => resource.0 == kept && kept < self.goal(),
            Action::Probe | Action::Stop | Action::Monitor => resource.0 < kept,
        };
        is_to_run && !self.maintenance
    }

    fn probed(&mut self, failure: Failure, out: &mut Vec<Effect>) {
        let inherited = self.phase == Phase::Settling { inherited: true };
        let of = &mut self.resources[failure.resource];
        if std::mem::take(&mut of.outdated) {
            return;
        }
        let again = of.is_unseen();
        let not_to_serve = !self.wanted && !self.stopping;
        // A resource that ran may still run, although its agent is gone.
        let hidden = failure.outcome == Outcome::Exited(ExitCode::NOT_INSTALLED)
            && (of.ran || of.blocked || inherited);
        let refused = failure.outcome.is_refusal() && not_to_serve;
        if failure.outcome.is_inconclusive() || hidden || refused {
            of.unseen(not_to_serve && !again, failure.at);
        } else {
            of.seen();
            match failure.outcome.finding(Action::Probe) {
                Finding::Well => return of.runs(failure.at),
                Finding::NotRunning if failure.outcome.is_hard() => of.not_installed(failure.at),
                Finding::NotRunning => return of.stopped(),
                Finding::Failed => of.may_run(),
            }
        }
        let reported = again && of.is_unseen();
        if !self.maintenance && !reported {
            out.push(Effect::Failed(failure));
        }
    }

    /// Handles the end of a start. `reported`: its failure was reported when it began to linger.
    fn start_ended(
        &mut self,
        failure: Failure,
        counts: bool,
        reported: bool,
        out: &mut Vec<Effect>,
    ) {
        let of = &mut self.resources[failure.resource];
        if failure.outcome.finding(Action::Start) == Finding::Well {
            of.runs(failure.at);
            return;
        }
        if failure.outcome == Outcome::Exited(ExitCode::NOT_INSTALLED) {
            of.ran = false;
        }
        // The state stays unsure: a part of the resource may have started.
        if !reported {
            self.failed(failure, counts, out);
        }
    }

    /// Reports the failure of a start or a stop. A counting failure of a start bars the node.
    fn failed(&mut self, failure: Failure, counts: bool, out: &mut Vec<Effect>) {
        if self.maintenance {
            return;
        }
        out.push(Effect::Failed(failure));
        let of = &mut self.resources[failure.resource];
        if counts && failure.action == Action::Start {
            of.failures.add(true, &of.plan, failure.at);
        }
    }

    fn stop_ended(&mut self, failure: Failure, reported: bool, out: &mut Vec<Effect>) {
        let of = &mut self.resources[failure.resource];
        let cleaned = std::mem::take(&mut of.cleaned);
        let missing = failure.outcome == Outcome::Exited(ExitCode::NOT_INSTALLED) && !of.ran;
        if missing || failure.outcome.finding(Action::Stop) != Finding::Failed {
            of.stopped();
            return;
        }
        // In maintenance the state stays unsure, and a probe follows.
        if self.maintenance {
            return;
        }
        of.known = match cleaned {
            true => Known::Nothing,
            false => Known::Stuck,
        };
        if !reported {
            self.failed(failure, false, out);
        }
        self.block(failure.resource, out);
    }

    fn monitored(&mut self, failure: Failure, counts: bool, out: &mut Vec<Effect>) {
        let of = &mut self.resources[failure.resource];
        if of.known != Known::Running {
            return;
        }
        if failure.outcome.finding(Action::Monitor) == Finding::Well {
            of.monitor_in_turn(failure.at);
            return;
        }
        of.known = Known::Unsure;
        if counts {
            out.push(Effect::Failed(failure));
            of.failures
                .add(failure.outcome.is_hard(), &of.plan, failure.at);
        }
    }
}
