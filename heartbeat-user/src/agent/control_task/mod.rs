//! The control task: one tokio task that keeps the view, the journal and the hooks, answers the
//! control socket, and shows the pulse that it makes progress.

mod configure;
mod hooks;
mod members;
mod outdated;
mod rekey;
mod reload;
mod requests;
mod starved;

use std::{
    collections::{HashMap, VecDeque},
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Result, anyhow};
use aya_log::EbpfLogger;
use heartbeat_common::{
    time::Boottime,
    units::Short,
    verdict::Verdict,
    wire::{Incarnation, NodeId},
};
use heartbeat_core::{
    Command,
    cluster::Intent,
    group::{GroupEvent, Note, Reason as Why},
    index::{GroupIndex, ResourceIndex},
    index_vec::{ByGroup, IndexVec},
    peer::PeerState,
};
use heartbeat_sys::files::{atomic_file::Writer, readiness::readable};
use log::Log;
use tokio::{
    io::unix::AsyncFd,
    net::UnixListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot, watch,
    },
    time::MissedTickBehavior,
};

use self::{
    reload::{Asker, Steps, UnderWay},
    starved::{Found, Search},
};
use super::{
    Ending, Threads,
    agent_check::AgentCheck,
    exchange::{Exchange, Fetched},
    graceful_restart::{self, Departure, Reply},
    groups::Groups,
    journal::Journal,
    operate::{Operator, Origin},
    outages::Outages,
    outdated::Outdated,
    overdue::Overdue,
    refusals::Refusals,
    strangers::Strangers,
    supervisor::Supervisor,
    tick,
    view::{self, Shared, View},
};
use crate::{
    clock,
    config::{Config, key::Keys},
    control::{
        protocol::{Confinement, EventKind, Request, Response},
        server,
        severity::Severity,
    },
    dataplane::{Dataplane, LocalView},
    decision_store::Subject,
    health::{Checks, Notice},
    helper,
    hooks::Hooks,
    interface_monitor::MonitorHandle,
    load::{
        Meter, Reading,
        late::{self, Host},
    },
    logging,
    logging::rate_limit::RateLimit,
    messages::{Directive, ResourceCommand, ResourceRef, ThreadEvent},
    net::LinkWatch,
    peering,
    pulse::{
        Directives, GroupStats, Identity,
        mailbox::{Mailbox, Post},
    },
};

/// The control task with its state.
pub(super) struct ControlTask<'a> {
    /// The configuration as the last load of the file gave it.
    file: Arc<Config>,
    /// The same configuration, with each entry at its index from the start of the agent.
    config: Arc<Config>,
    dataplane: &'a mut Dataplane,
    identity: Identity,
    local: LocalView,
    operator: Arc<Operator>,
    /// The keys and the peers, for the channel between agents.
    keys: watch::Sender<Arc<Keys>>,
    peers: watch::Sender<Arc<Config>>,
    link_watch: Option<LinkWatch>,
    monitor: MonitorHandle,
    view: Shared,
    journal: Journal,
    kernel_log: Option<EbpfLogger<&'static dyn Log>>,
    directives: Directives,
    commands: Post<ResourceCommand>,
    checks: Checks,
    /// The notices of the health checks.
    notices: UnboundedReceiver<Notice>,
    meter: Meter,
    agent_check: AgentCheck,
    /// The last state of each peer that hooks were run for.
    hook_states: HashMap<NodeId, PeerState>,
    exchange: Exchange,
    refusals: Refusals,
    strangers: Strangers,
    outdated: Outdated,
    rate_limit: RateLimit<Shortage>,
    /// The number of rejected commands from witnesses.
    witness_commands: u64,
    /// The results of attempts to fetch a report.
    fetched: UnboundedReceiver<Fetched>,
    /// The operators' decisions that have been applied, by group.
    applied: ByGroup<Applied>,
    supervisor: Supervisor,
    /// The current reload, if any, and the steps that threads take for it.
    reload: Option<UnderWay>,
    steps: Steps,
    stops: Stops,
    search: Search,
    /// The causes found for pauses without a processor.
    explained: UnboundedReceiver<Found>,
    outages: Outages,
    overdue: Overdue,
    /// Whether this task has not yet seen a first probe leave.
    starting: bool,
}

/// A repeated fault whose log lines are limited in rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shortage {
    Sending,
    OwnVote,
    /// A witness sends commands.
    Trust,
}

/// The requests to stop that passed the check, as the senders of their answers.
struct Stops {
    sender: UnboundedSender<oneshot::Sender<Response>>,
    receiver: UnboundedReceiver<oneshot::Sender<Response>>,
}

impl Stops {
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }
}

/// The operators' decisions on a group that have been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Applied {
    maintained: bool,
    stopped: bool,
    resources_stopped: IndexVec<ResourceIndex, bool>,
}

/// The reports of the pulse, in their order.
struct PulseReports {
    mailbox: Mailbox<ThreadEvent>,
    /// The same wakeup as that of the mailbox.
    wakeup: AsyncFd<OwnedFd>,
    taken: VecDeque<ThreadEvent>,
}

impl PulseReports {
    /// Must be called inside a tokio runtime.
    fn new(mailbox: Mailbox<ThreadEvent>) -> Result<Self> {
        Ok(Self {
            wakeup: readable(mailbox.as_fd().try_clone_to_owned()?)?,
            mailbox,
            taken: VecDeque::new(),
        })
    }

    /// Waits until the mailbox may have reports. Cancel-safe.
    async fn wait(&self) {
        // An error means that the runtime is ending.
        if let Ok(mut ready) = self.wakeup.readable().await {
            ready.clear_ready();
        }
    }
}

/// The time between two checks for the end of a stop.
const DEPARTURE_POLL: Duration = Duration::from_millis(1);
/// The longest time for hooks while the agent stops.
const HOOKS_TIME_LIMIT: Duration = Duration::from_secs(5);

/// The signals that the task waits for, beside reports and requests.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    graceful_restart: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            graceful_restart: signal(SignalKind::user_defined2())?,
        })
    }
}

impl<'a> ControlTask<'a> {
    pub(super) fn new(
        config: Arc<Config>,
        keys: Arc<Keys>,
        dataplane: &'a mut Dataplane,
        threads: &Threads,
        (groups, writer): (Groups, Writer),
        (checks, notices): (Checks, UnboundedReceiver<Notice>),
        (intent, confinement): (Intent, Confinement),
    ) -> Result<Self> {
        let Threads { pulse, manager, .. } = threads;
        let commands = manager.commands();
        let local = dataplane.local()?;
        let said = local.read();
        let identity = Identity {
            incarnation: Incarnation(said.incarnation),
            nonce: said.nonce,
        };
        let stats = Arc::clone(&pulse.stats);
        let view = View::new(
            Arc::clone(&config),
            Arc::clone(&keys),
            Arc::clone(&stats),
            dataplane,
            groups,
            confinement,
        )?;
        let view = Shared::new(view.into());
        let (fetched_sender, fetched) = mpsc::unbounded_channel();
        let (found_sender, explained) = mpsc::unbounded_channel();
        let exchange = Exchange::new(
            Arc::clone(&config),
            Arc::clone(&keys),
            dataplane.peer_rows()?,
            fetched_sender,
        );
        let groups = config.served_groups().iter();
        let applied = groups.map(|group| Applied {
            resources_stopped: vec![false; group.resources.len()].into(),
            ..Applied::default()
        });
        let applied = applied.collect();
        let operator = Arc::new(Operator {
            config: Arc::clone(&config),
            keys: Arc::clone(&keys),
            directives: pulse.directives().clone(),
            commands: commands.clone(),
            view: Arc::clone(&view),
            decided: Arc::default(),
            stats,
            slots: Arc::new(dataplane.slots()?),
            rows: Arc::new(dataplane.peer_rows()?),
            turns: Arc::default(),
            writer,
        });
        let refusals = Refusals::new(dataplane.peer_rows()?);
        let meter = Meter::new(config.load.clone());
        if intent == Intent::Empty {
            operator.go_on_draining();
        }
        let link_watch = LinkWatch::open()
            .inspect_err(|error| {
                log::warn!(
                    "link changes are noticed late, and addresses are not announced again when a \
                     link comes back: {error:#}"
                );
            })
            .ok();
        let kernel_log = EbpfLogger::init(dataplane.ebpf_mut())
            .inspect_err(|error| {
                log::warn!("log of the kernel programs is not available: {error}");
            })
            .ok();
        Ok(Self {
            file: Arc::clone(&config),
            peers: watch::Sender::new(Arc::clone(&config)),
            config,
            dataplane,
            identity,
            local,
            operator,
            keys: watch::Sender::new(keys),
            link_watch,
            monitor: threads.monitor.handle(),
            view,
            journal: Journal::default(),
            kernel_log,
            directives: pulse.directives().clone(),
            commands,
            checks,
            notices,
            meter,
            agent_check: AgentCheck::default(),
            hook_states: HashMap::new(),
            exchange,
            refusals,
            strangers: Strangers::default(),
            outdated: Outdated::default(),
            rate_limit: RateLimit::default(),
            witness_commands: 0,
            fetched,
            applied,
            supervisor: Supervisor::of_environment(),
            search: Search::new(found_sender),
            reload: None,
            steps: Steps::new(),
            stops: Stops::new(),
            explained,
            outages: Outages::default(),
            overdue: Overdue::default(),
            starting: true,
        })
    }

    /// Runs until a signal asks to stop or the pulse dies. Then stops the threads, and runs the
    /// hooks that follow from the stop.
    pub(super) async fn run(
        mut self,
        listener: UnixListener,
        (pulse, mut reports): (Mailbox<ThreadEvent>, UnboundedReceiver<ThreadEvent>),
        threads: Threads,
        began: Boottime,
    ) -> Result<Ending> {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                threads.stop();
                return Err(error);
            }
        };
        let mut pulse = match PulseReports::new(pulse) {
            Ok(pulse) => pulse,
            Err(error) => {
                threads.stop();
                return Err(error);
            }
        };
        let (ended_sender, mut ended) = mpsc::unbounded_channel();
        let mut hooks = Hooks::start(&self.config.hooks, ended_sender.clone());
        let (asked_sender, mut asked) = mpsc::channel(16);
        tokio::spawn(server::serve(listener, asked_sender));
        let (peers_sender, mut peers_asked) = mpsc::channel(16);
        let keys = self.keys.subscribe();
        let serving = tokio::spawn(peering::serve(self.peers.subscribe(), keys, peers_sender));
        let (pauses_sender, mut pauses) = mpsc::unbounded_channel();
        let agent_stall = self.config.agent_stall;
        let ticking = self.dataplane.local();
        let ticking = ticking.and_then(|local| tick::start(local, agent_stall, pauses_sender));
        let progress = match ticking {
            Ok(progress) => progress,
            Err(error) => {
                threads.stop();
                return Err(error);
            }
        };
        let mut beat = tokio::time::interval(tick::period(agent_stall));
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.note(clock::now(), EventKind::Started);
        let decided = Arc::clone(&self.operator.decided);
        let mut host = late::Watch::new();
        self.agent_check
            .listen(self.config.load.agent_check, &self.view);
        self.apply_decisions();
        let mut departure: Option<Departure> = None;
        let result = loop {
            // Each turn counts, not only that of the beat: a starved task gets few.
            progress.is_made(clock::now());
            tokio::select! {
                _ = beat.tick() => {
                    helper::check();
                    self.beat();
                    if self.starting {
                        self.log_start(&threads, began);
                    }
                    if !threads.pulse.is_running() && departure.is_none() {
                        break Err(anyhow!("the pulse thread ended by itself: see the log above"));
                    }
                    if !threads.manager.is_running() {
                        break Err(anyhow!("the resource manager ended by itself: see the log \
                                           above"));
                    }
                }
                () = pulse.wait() => self.pulse_reports(&mut pulse, &hooks),
                Some(report) = reports.recv() => {
                    // Reports of other threads may follow from earlier reports of the pulse.
                    self.pulse_reports(&mut pulse, &hooks);
                    self.report(report, &hooks);
                }
                Some((request, answer)) = asked.recv() => {
                    // The client may have disconnected.
                    match request {
                        Request::Reload => self.reload(Asker::Client(answer)),
                        Request::Configure { node, step } => {
                            self.configure(node, step, Origin::Local, answer);
                        }
                        Request::Stop { keep, force } if keep || force || departure.is_some() => {
                            let _ = answer.send(self.depart(keep, &threads, &mut departure));
                        }
                        Request::Stop { .. } => self.judge_stop(answer),
                        request => self.answer(request, answer),
                    }
                }
                Some(answer) = self.stops.receiver.recv() => {
                    // The client may have gone.
                    let _ = answer.send(self.depart(false, &threads, &mut departure));
                }
                Some(asked) = peers_asked.recv() => self.answer_peer(asked),
                Some(fetched) = self.fetched.recv() => self.fetched(fetched),
                Some(notice) = self.notices.recv() => self.health_notice(notice, &hooks),
                reading = self.meter.next() => self.measured(reading),
                host = host.next() => self.host_sampled(host),
                Some(pause) = pauses.recv() => self.pause_ended(pause),
                Some(found) = self.explained.recv() => self.explain_pause(found),
                () = decided.notified() => self.apply_decisions(),
                change = changed(&mut self.link_watch) => self.link_changed(change),
                Some(ended) = ended.recv() => self.hook_ended(ended),
                _ = signals.terminate.recv() => {
                    if let Some(why) = self.refuse_to_stop(departure.is_some()) {
                        log::warn!("stopping by a signal all the same: {why}");
                    }
                    self.depart(false, &threads, &mut departure);
                }
                _ = signals.interrupt.recv() => {
                    self.depart(false, &threads, &mut departure);
                }
                _ = signals.graceful_restart.recv() => {
                    self.depart(true, &threads, &mut departure);
                }
                () = tokio::time::sleep(DEPARTURE_POLL), if departure.is_some() => {
                    departure = departure.map(|departure| {
                        threads.next(departure, self.config.max_lease)
                    });
                    if departure.is_some_and(|departure| departure.is_done(&threads)) {
                        break Ok(Ending::Stopped);
                    }
                }
                Some(step) = self.steps.next() => {
                    self.reload_step(step, &mut hooks, &ended_sender);
                }
                _ = signals.hangup.recv() => self.reload(Asker::Signal),
            }
        };
        if let Some(Departure::GracefulRestart) = departure {
            graceful_restart::log_deadline(&threads, began, self.dataplane.verified());
            return Ok(tokio::task::block_in_place(|| threads.leave()));
        }
        if departure.is_none() {
            self.supervisor.stopping();
            self.note(clock::now(), EventKind::Stopping);
        }
        drop(ended_sender);
        serving.abort();
        tokio::task::block_in_place(|| threads.stop());
        self.pulse_reports(&mut pulse, &hooks);
        // No sender is left: the loop ends with the last report.
        while let Some(report) = reports.recv().await {
            self.report(report, &hooks);
        }
        hooks.finish(HOOKS_TIME_LIMIT).await;
        while let Ok(ended) = ended.try_recv() {
            self.hook_ended(ended);
        }
        result
    }

    /// Starts a task that asks the other nodes whether this one may stop.
    fn judge_stop(&self, answer: oneshot::Sender<Response>) {
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
    fn refuse_to_stop(&self, may: bool) -> Option<String> {
        match may {
            true => None,
            false => self.operator.why_not_to_stop(),
        }
    }

    /// Begins to stop, or (`keep`) to leave everything in place for the next agent.
    ///
    /// The control task continues meanwhile: resources need time to stop, and peers must not treat
    /// this side as stalled.
    fn depart(
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

    /// Logs the duration of the start, once the first probe has left.
    fn log_start(&mut self, threads: &Threads, began: Boottime) {
        if let Some(took) = graceful_restart::start_took(threads, began) {
            self.starting = false;
            log::info!("sending heartbeats (start took {})", Short(took));
        }
    }

    /// Polls the sources that send no event.
    fn beat(&mut self) {
        let now = clock::now();
        if let Some(kernel_log) = &mut self.kernel_log {
            kernel_log.flush();
        }
        logging::report_suppressed();
        {
            let view = view::lock(&self.view);
            self.exchange.poll(|peer| view.groups.known(peer));
        }
        for refused in self.refusals.check(&self.config, now) {
            self.note(now, refused);
        }
        self.check_outdated(now);
        let dataplane = &self.dataplane;
        self.strangers
            .check(now, || dataplane.count(Verdict::ForeignSocket));
        let name = |group: GroupIndex| self.config.groups[group].name.clone();
        self.overdue.check(now, &self.operator.stats, name);
        self.notify_supervisor(now);
    }

    /// Reports to the service manager that pulse and control task are alive.
    fn notify_supervisor(&mut self, now: Boottime) {
        let (stats, config) = (&self.operator.stats, &self.config);
        let status = || {
            let groups = config.served_groups().len();
            let serves = |group: &&GroupStats| group.open_until.load(Relaxed) > now.as_nanos();
            format!(
                "{} of {} nodes are up, {} of {groups} groups served here",
                stats.alive.load(Relaxed),
                config.nodes.len(),
                stats.groups.iter().take(groups).filter(serves).count(),
            )
        };
        self.supervisor.beat(now, stats.ticks.load(Relaxed), status);
    }

    fn health_notice(&mut self, notice: Notice, hooks: &Hooks) {
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

    fn measured(&self, reading: Reading) {
        view::lock(&self.view).vitals.measured(reading);
        self.directives.send(Directive::Load(reading.load));
    }

    fn host_sampled(&self, host: Host) {
        view::lock(&self.view).host_sampled(host);
    }

    /// Handles the result of an attempt to fetch a peer's report.
    fn fetched(&mut self, fetched: Fetched) {
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

    /// Applies the decisions of operators, made here or on another node.
    fn apply_decisions(&mut self) {
        let view = view::lock(&self.view);
        let mut told = Vec::new();
        let mut tell = |by: Option<NodeId>, what: String| {
            let node = by.and_then(|by| self.config.node(by));
            let node = node.map(|node| node.name.clone());
            let decided = EventKind::Decided { node, what };
            // A decision on all groups is logged once.
            if !told.contains(&decided) {
                told.push(decided);
            }
        };
        self.applied
            .resize_with(self.config.served_groups().len(), Applied::default);
        for (index, group) in self.config.served_groups().iter_enumerated() {
            let wanted = Applied {
                maintained: view.groups.is_maintained(group),
                stopped: view.groups.is_stopped(group),
                resources_stopped: group
                    .resources
                    .iter()
                    .map(|resource| view.groups.is_resource_stopped(resource))
                    .collect(),
            };
            let old = std::mem::replace(&mut self.applied[index], wanted.clone());
            let note = |note| self.directives.send(Directive::Note { group: index, note });
            if old.maintained != wanted.maintained {
                let on = wanted.maintained;
                note(Note::Maintained(on));
                self.commands
                    .send(ResourceCommand::Maintain { group: index, on });
                let (by, of) = match view.groups.maintenance_by(group) {
                    Some((Subject::Maintenance, by)) => (Some(by), "all groups".to_owned()),
                    by => (by.map(|(_, by)| by), format!("group {}", group.name)),
                };
                let on = if on { "on" } else { "off" };
                tell(by, format!("maintenance mode {on} for {of}"));
            }
            if old.stopped != wanted.stopped {
                note(Note::Disabled(wanted.stopped));
                let subject = Subject::GroupStopped(group.name.clone());
                let by = view.groups.decided_on(&subject);
                tell(by, resource_command(!wanted.stopped, &group.name));
            }
            for (resource, is) in wanted.resources_stopped.iter_enumerated() {
                let was = old.resources_stopped.get(resource).copied();
                if was.unwrap_or_default() == *is {
                    continue;
                }
                let reference = ResourceRef {
                    group: index,
                    resource,
                };
                let enabled = !is;
                self.commands
                    .send(ResourceCommand::Enable { reference, enabled });
                let name = &group.resources[resource].name;
                let by = view
                    .groups
                    .decided_on(&Subject::ResourceStopped(name.clone()));
                tell(by, resource_command(enabled, name));
            }
        }
        drop(view);
        for decided in told {
            self.note(clock::now(), decided);
        }
        self.publish();
    }

    /// Announces to the peers that this node has a new report.
    fn publish(&self) {
        if let Some(number) = view::lock(&self.view).groups.publish() {
            self.directives.send(Directive::Report { number });
        }
    }

    fn pulse_reports(&mut self, pulse: &mut PulseReports, hooks: &Hooks) {
        pulse.mailbox.take(&mut pulse.taken);
        while let Some(report) = pulse.taken.pop_front() {
            self.report(report, hooks);
        }
    }

    fn report(&mut self, report: ThreadEvent, hooks: &Hooks) {
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
                            "the sequence numbers of a link to a peer are spent; restart the \
                             agent, which counts anew"
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
    fn send_outages(&mut self) {
        for news in self.outages.news(&self.config) {
            self.directives.send(news);
        }
    }

    /// Handles a change of an interface. Neighbours behind an interface that was down may have
    /// missed announcements of our addresses.
    fn link_changed(&mut self, change: Result<Option<u32>>) {
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

    fn note(&mut self, at: Boottime, what: EventKind) {
        let severity = match &what {
            // The link of a peer with a single link changes with the peer, whose event is logged
            // already.
            EventKind::Link { .. } if self.config.links.len() == 1 => Severity::Debug,
            what => what.severity(),
        };
        logging::event(severity, &what);
        self.journal.add(at, what);
    }
}

/// Returns the command that starts or stops a group or a resource.
fn resource_command(start: bool, name: &str) -> String {
    let verb = if start { "start" } else { "stop" };
    format!("resource {verb} {name}")
}

/// Returns the error text for a group that keeps the agent from ending.
fn blocked_group_text(group: &str) -> String {
    format!(
        "the agent does not end yet: group {group} could not be stopped, and may still run here. \
         With this agent its lease would end, and another node would start it. Stop it by hand, \
         then run `heartbeat cleanup {group}`; to release it anyway, kill the agent (SIGKILL)"
    )
}

/// Waits for a link to change; for ever if no link is watched.
async fn changed(watch: &mut Option<LinkWatch>) -> Result<Option<u32>> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
