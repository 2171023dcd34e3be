//! Stops this node's agent, or leaves everything in place for the next one.

use std::sync::Arc;

use tokio::sync::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    oneshot,
};

use super::ControlTask;
use crate::{
    agent::{
        graceful_restart::{Departure, Reply},
        threads::Threads,
        view,
    },
    clock,
    control::protocol::{EventKind, Response},
};

/// The requests to stop that passed the check, as the senders of their answers.
pub(super) struct Stops {
    sender: UnboundedSender<oneshot::Sender<Response>>,
    pub(super) receiver: UnboundedReceiver<oneshot::Sender<Response>>,
}

impl Stops {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }
}

impl ControlTask<'_> {
    /// Starts a task that asks the other nodes whether this one may stop.
    pub(super) fn judge_stop(&self, answer: oneshot::Sender<Response>) {
        let (operator, may) = (Arc::clone(&self.operator), self.stops.sender.clone());
        tokio::spawn(async move {
            match operator.why_not_to_stop_now().await {
                Some(message) => drop(answer.send(Response::Error { message })),
                None => drop(may.send(answer)),
            }
        });
    }

    /// Returns the reason against a stop of this node: too few votes would be left. With `may` the
    /// check is skipped.
    pub(super) fn refuse_to_stop(&self, may: bool) -> Option<String> {
        match may {
            true => None,
            false => self.operator.why_not_to_stop(),
        }
    }

    /// Begins to stop, or (`keep`) to leave everything in place for the next agent.
    ///
    /// The control task continues meanwhile: resources need time to stop, and peers must not treat
    /// this side as stalled.
    pub(super) fn depart(
        &mut self,
        keep: bool,
        threads: &Threads,
        departure: &mut Option<Departure>,
    ) -> Response {
        let text = match Reply::of(*departure, keep) {
            Reply::Wait => {
                self.note(clock::now(), EventKind::GracefulRestart);
                self.log_blocked_groups();
                *departure = Some(threads.next(Departure::Waiting, self.config.max_lease));
                "stopping for a restart: programs, addresses and resources stay in place"
            }
            Reply::Drain => {
                self.supervisor.stopping();
                self.note(clock::now(), EventKind::Stopping);
                self.log_blocked_groups();
                view::lock(&self.view).groups.stop();
                self.publish();
                *departure = Some(Departure::Draining(threads.drain()));
                "stopping: the groups here are handed over"
            }
            Reply::None => "the agent is stopping already",
            Reply::Refused(why) => {
                log::warn!("rejected a request to stop in another way: {why}");
                return Response::Error {
                    message: why.to_owned(),
                };
            }
        };
        Response::Done {
            text: text.to_owned(),
        }
    }

    /// Logs the groups that are known to delay the end of this agent.
    fn log_blocked_groups(&self) {
        let view = view::lock(&self.view);
        for group in self.operator.stats.stopping() {
            let group = &self.config.groups[group];
            if view.groups.is_blocked_here(group) {
                log::error!("{}", blocked_group_text(&group.name));
            }
        }
    }
}

/// Returns the error text for a group that keeps the agent from ending.
fn blocked_group_text(group: &str) -> String {
    format!(
        "the agent does not end yet: group {group} could not be stopped, and may still run here. \
         With this agent its lease would end, and another node would start it. Stop it by hand, \
         then run `heartbeat cleanup {group}`; to release it anyway, kill the agent (SIGKILL)"
    )
}
