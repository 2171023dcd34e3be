//! The control task: one tokio task that keeps the view, the journal and the hooks, answers the
//! control socket, and shows the pulse that it makes progress.

mod beat;
mod configure;
mod decisions;
mod events;
mod hooks;
mod members;
mod outdated;
mod rekey;
mod reload;
mod requests;
mod signals;
mod starved;
mod stop;

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use aya_log::EbpfLogger;
use heartbeat_common::{
    time::Boottime,
    wire::{Incarnation, NodeId},
};
use heartbeat_core::{cluster::Intent, index_vec::ByGroup, peer::PeerState};
use heartbeat_sys::files::atomic_file::Writer;
use log::Log;
use tokio::{
    net::UnixListener,
    sync::{
        mpsc::{self, UnboundedReceiver},
        watch,
    },
    time::MissedTickBehavior,
};

use self::{
    decisions::Applied,
    events::PulseReports,
    reload::{Asker, Steps, UnderWay},
    signals::Signals,
    starved::{Found, Search},
    stop::Stops,
};
use super::{
    Ending,
    agent_check::AgentCheck,
    exchange::{Exchange, Fetched},
    graceful_restart::{self, Departure},
    groups::Groups,
    journal::Journal,
    listener::Listener,
    operate::Operator,
    outages::Outages,
    outdated::Outdated,
    overdue::Overdue,
    refusals::Refusals,
    scrapes::Scrapes,
    strangers::Strangers,
    supervisor::Supervisor,
    threads::Threads,
    tick,
    view::{self, Shared, View},
};
use crate::{
    clock,
    config::{Config, key::Keys},
    control::{
        protocol::{Confinement, EventKind},
        server::{self, Asked},
        severity::Severity,
    },
    dataplane::{Dataplane, LocalView},
    health::{Checks, Notice},
    helper,
    hooks::{Ended, Hooks},
    interface_monitor::MonitorHandle,
    load::{Meter, late},
    logging::{self, rate_limit::RateLimit},
    messages::{Directive, ResourceCommand, ThreadEvent},
    metrics::Tally,
    net::LinkWatch,
    peering,
    pulse::{
        Directives, Identity,
        mailbox::{Mailbox, Post},
    },
};

/// The control task with its state.
pub(super) struct ControlTask<'a> {
    /// The configuration in the order of the file, as it was last loaded.
    file: Arc<Config>,
    /// The same configuration in the order of the agent's indices: an entry keeps its index in all
    /// reloads.
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
    agent_check: Listener,
    metrics: Listener,
    tally: Tally,
    /// The requests of the control socket and of scrapes.
    asking: mpsc::Sender<Asked>,
    asked: mpsc::Receiver<Asked>,
    /// The state of each peer for which its last hooks ran.
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
    /// The results of the searches for the causes of pauses in which the agent got no CPU.
    explained: UnboundedReceiver<Found>,
    outages: Outages,
    overdue: Overdue,
    /// Whether no probe has left yet, as far as this task knows.
    starting: bool,
}

/// The time between two checks whether a stop is complete.
const DEPARTURE_POLL: Duration = Duration::from_millis(1);

/// The longest time for hooks while the agent stops.
const HOOKS_TIME_LIMIT: Duration = Duration::from_secs(5);

/// A repeated fault whose log lines are limited in rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shortage {
    Sending,
    OwnVote,
    /// A witness sends commands.
    Trust,
}

impl<'a> ControlTask<'a> {
    pub(super) fn new(
        config: Arc<Config>,
        keys: Arc<Keys>,
        dataplane: &'a mut Dataplane,
        threads: &Threads,
        (groups, journal, writer): (Groups, Journal, Writer),
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
        let (asking, asked) = mpsc::channel(16);
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
            journal,
            kernel_log,
            directives: pulse.directives().clone(),
            commands,
            checks,
            notices,
            meter,
            agent_check: Listener::default(),
            metrics: Listener::default(),
            tally: Tally::default(),
            asking,
            asked,
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

    /// Runs until a stop that a signal or a command requested is complete, or until the pulse or
    /// the resource manager dies. Then stops the threads, and runs the hooks that follow from the
    /// stop. For a graceful restart, leaves everything in place and runs no hooks.
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
        tokio::spawn(server::serve(listener, self.asking.clone()));
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
        self.listen_for_agent_checks();
        self.listen_for_scrapes();
        self.apply_decisions();
        let mut departure: Option<Departure> = None;
        let result = loop {
            // Each turn of this loop counts as progress, not only a beat: a starved task gets few
            // turns.
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
                Some((request, answer)) = self.asked.recv() => {
                    self.take_request(request, answer, &threads, &mut departure);
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
                        log::warn!(
                            "stopping because of a signal, although others need this vote: {why}"
                        );
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
        self.end(threads, hooks, (pulse, reports), ended).await;
        result
    }

    /// Stops the threads, and runs the hooks that follow from the stop.
    async fn end(
        &mut self,
        threads: Threads,
        hooks: Hooks,
        (mut pulse, mut reports): (PulseReports, UnboundedReceiver<ThreadEvent>),
        mut ended: UnboundedReceiver<Ended>,
    ) {
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
    }

    /// Announces to the peers that this node has a new report.
    fn publish(&self) {
        if let Some(number) = view::lock(&self.view).groups.publish() {
            self.directives.send(Directive::Report { number });
        }
    }

    /// Listens for agent checks where the configuration says so, and nowhere else.
    fn listen_for_agent_checks(&mut self) {
        let service = AgentCheck::new(&self.view);
        self.agent_check
            .listen(self.config.load.agent_check, service);
    }

    /// Listens for scrapes where the configuration says so, and nowhere else.
    fn listen_for_scrapes(&mut self) {
        let service = Scrapes::new(self.asking.clone());
        self.metrics.listen(self.config.metrics, service);
    }

    fn note(&mut self, at: Boottime, what: EventKind) {
        let severity = match &what {
            // The link of a peer with a single link changes with the peer, whose event is logged
            // already.
            EventKind::Link { .. } if self.config.links.len() == 1 => Severity::Debug,
            what => what.severity(),
        };
        logging::event(severity, &what);
        self.tally.note(&what);
        self.journal.add(at, what);
    }
}

/// Waits for a link to change; for ever if no link is watched.
async fn changed(watch: &mut Option<LinkWatch>) -> Result<Option<u32>> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
