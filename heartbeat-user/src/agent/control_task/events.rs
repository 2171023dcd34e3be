//! Handles the events of other threads and tasks: the reports of the pulse, the results of health
//! checks and load meter, the reports of peers, and changes of interfaces.

use std::{
    collections::VecDeque,
    os::fd::{AsFd as _, OwnedFd},
};

use anyhow::Result;
use heartbeat_core::{
    Command,
    group::{GroupEvent, Reason as Why},
};
use heartbeat_sys::files::readiness::readable;
use tokio::io::unix::AsyncFd;

use super::{ControlTask, Shortage};
use crate::{
    agent::{exchange::Fetched, view},
    clock,
    control::protocol::EventKind,
    health::Notice,
    hooks::Hooks,
    load::{Reading, late::Host},
    messages::{Directive, ResourceCommand, ThreadEvent},
    pulse::mailbox::Mailbox,
};

/// The reports of the pulse, in their order.
pub(super) struct PulseReports {
    mailbox: Mailbox<ThreadEvent>,
    /// The same wakeup as that of the mailbox.
    wakeup: AsyncFd<OwnedFd>,
    taken: VecDeque<ThreadEvent>,
}

impl PulseReports {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(mailbox: Mailbox<ThreadEvent>) -> Result<Self> {
        Ok(Self {
            wakeup: readable(mailbox.as_fd().try_clone_to_owned()?)?,
            mailbox,
            taken: VecDeque::new(),
        })
    }

    /// Waits until the mailbox may have reports. Cancel-safe.
    pub(super) async fn wait(&self) {
        // An error means that the runtime is ending.
        if let Ok(mut ready) = self.wakeup.readable().await {
            ready.clear_ready();
        }
    }
}

impl ControlTask<'_> {
    pub(super) fn pulse_reports(&mut self, pulse: &mut PulseReports, hooks: &Hooks) {
        pulse.mailbox.take(&mut pulse.taken);
        while let Some(report) = pulse.taken.pop_front() {
            self.report(report, hooks);
        }
    }

    pub(super) fn report(&mut self, report: ThreadEvent, hooks: &Hooks) {
        match report {
            ThreadEvent::Command(at, command) => {
                let what = view::lock(&self.view).command(&command);
                if let Some(what) = what {
                    self.note(at, what);
                }
                if let Command::Group {
                    event: GroupEvent::State(_),
                    ..
                } = command
                {
                    self.publish();
                }
                if let Command::Settled { version } = command {
                    self.keep_settled(version);
                }
                if let Command::PeerChanged { node, to, .. } = command {
                    self.peer_hooks(node, to, at, hooks);
                }
                if let Command::Group {
                    group,
                    event: GroupEvent::LeaseGivenUp(Why::Rebalanced { to }),
                } = command
                {
                    self.rebalance_hooks(group, to, at, hooks);
                }
            }
            ThreadEvent::Resource(event) => {
                let what = view::lock(&self.view).resource_event(&event);
                if let Some(what) = what {
                    self.note(clock::now(), what);
                }
                self.vip_hooks(&event, hooks);
                self.publish();
            }
            ThreadEvent::Interface(news) => {
                self.outages.note(&news.interface, news.signal);
                let what = view::lock(&self.view).interface(news);
                self.send_outages();
                self.note(clock::now(), what);
            }
            ThreadEvent::Spent(report) => drop(report),
            ThreadEvent::OwnVoteFailed { error } => self.rate_limit.warn(Shortage::OwnVote, || {
                format!(
                    "own acceptor does not answer, so only the votes of other nodes count: \
                     {error:#}"
                )
            }),
            ThreadEvent::SendFailed { errors, error } => {
                self.rate_limit.warn(Shortage::Sending, || {
                    let why = match error {
                        None => "no reason given".to_owned(),
                        Some(nix::Error::EOVERFLOW) => {
                            "the sequence numbers of a link to a peer are used up; restart the \
                             agent, which starts new ones"
                                .to_owned()
                        }
                        Some(error) => error.to_string(),
                    };
                    format!("{errors} probes could not be sent: {why}")
                });
            }
        }
    }

    /// Informs the pulse about links and groups whose interfaces have failed.
    pub(super) fn send_outages(&mut self) {
        for news in self.outages.news(&self.config) {
            self.directives.send(news);
        }
    }

    pub(super) fn health_notice(&mut self, notice: Notice, hooks: &Hooks) {
        let checks = self.checks.snapshot();
        {
            let mut view = view::lock(&self.view);
            if let Notice::Sum(sum) = notice {
                view.vitals.summed(sum);
            }
            view.vitals.checked(checks);
            let failing = view.vitals.failing();
            view.groups.fail(failing);
        }
        if let Notice::Turn(turn) = notice {
            self.health_hooks(&turn, hooks);
            let what = EventKind::Health {
                check: turn.name,
                failure: turn.meaning.to_string(),
                well: turn.well,
                message: turn.message,
            };
            self.note(turn.at, what);
        }
        self.publish();
    }

    pub(super) fn measured(&self, reading: Reading) {
        view::lock(&self.view).vitals.measured(reading);
        self.directives.send(Directive::Load(reading.load));
    }

    pub(super) fn host_sampled(&self, host: Host) {
        view::lock(&self.view).host_sampled(host);
    }

    /// Handles the result of an attempt to fetch a peer's report.
    pub(super) fn fetched(&mut self, fetched: Fetched) {
        let node = fetched.0;
        let Some((node, report)) = self.exchange.ended(fetched) else {
            view::lock(&self.view).groups.unanswered(node, clock::now());
            return;
        };
        self.handle_refusals(node, &report);
        view::lock(&self.view).abstains(node, report.abstains_ns);
        let (report, decided) = view::lock(&self.view).groups.reported(node, report);
        self.directives.send(Directive::Reported { node, report });
        if decided {
            self.apply_decisions();
        }
    }

    /// Handles a change of an interface. Neighbours behind an interface that was down may have
    /// missed announcements of our addresses.
    pub(super) fn link_changed(&mut self, change: Result<Option<u32>>) {
        match change {
            Ok(up) => {
                self.monitor.check();
                if up.is_some() {
                    self.commands.send(ResourceCommand::Reassert);
                }
            }
            Err(error) => {
                log::warn!("link changes are noticed late from here on: {error:#}");
                self.link_watch = None;
            }
        }
    }
}
