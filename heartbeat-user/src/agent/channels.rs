//! The ways of the core's commands to the resource manager and the control task. The pulse uses
//! them, so they never wait.

use std::collections::VecDeque;

use heartbeat_common::time::Boottime;
use heartbeat_core::{Command, group::GroupEvent, report};

use crate::{
    messages::{ResourceCommand, ThreadEvent},
    pulse::{Sink, mailbox::Post},
};

/// Passes the core's commands to the resource manager and the control task.
pub(super) struct Channels {
    commands: Outbox<ResourceCommand>,
    reports: Outbox<ThreadEvent>,
}

/// Messages that the pulse has not delivered yet, and the mailbox for them.
struct Outbox<T> {
    kept: VecDeque<T>,
    post: Post<T>,
}

impl<T> Outbox<T> {
    fn new(post: Post<T>) -> Self {
        Self {
            kept: VecDeque::with_capacity(64),
            post,
        }
    }

    fn push(&mut self, message: T) {
        self.kept.push_back(message);
    }
}

impl Channels {
    pub(super) fn new(commands: Post<ResourceCommand>, reports: Post<ThreadEvent>) -> Self {
        Self {
            commands: Outbox::new(commands),
            reports: Outbox::new(reports),
        }
    }
}

impl Sink for Channels {
    fn deliver(&mut self) -> bool {
        // Reports of decisions leave before the commands that follow from them.
        let reported = self.reports.post.try_send(&mut self.reports.kept);
        let commanded = self.commands.post.try_send(&mut self.commands.kept);
        reported && commanded
    }

    fn command(&mut self, at: Boottime, command: Command) {
        match command {
            Command::Group {
                group,
                event:
                    GroupEvent::LeaseAcquired {
                        timeline,
                        regained: false,
                    },
            } => self.commands.push(ResourceCommand::Start {
                group,
                timeline,
                decided: at,
            }),
            Command::Group {
                group,
                event: GroupEvent::LeaseGivenUp(_),
            } => self
                .commands
                .push(ResourceCommand::Stop { group, decided: at }),
            // Neighbours may have learnt another place of the address meanwhile.
            Command::Group {
                event: GroupEvent::LeaseAcquired { regained: true, .. },
                ..
            } => self.commands.push(ResourceCommand::Reassert),
            _ => {}
        }
        self.reports.push(ThreadEvent::Command(at, command));
    }

    fn spent(&mut self, report: report::GroupReports) {
        self.reports.push(ThreadEvent::Spent(report));
    }

    fn send_failed(&mut self, error: Option<nix::Error>, errors: u64) {
        self.reports.push(ThreadEvent::SendFailed { errors, error });
    }

    fn own_vote_failed(&mut self, error: anyhow::Error) {
        self.reports.push(ThreadEvent::OwnVoteFailed { error });
    }
}
