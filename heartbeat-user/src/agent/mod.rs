//! The agent: starts its threads in order, runs the control task, and stops everything at the end.

mod abstentions;
mod agent_check;
mod confine;
mod control_task;
mod exchange;
mod executors;
mod graceful_restart;
mod groups;
mod journal;
mod lock;
mod loss;
mod operate;
mod outages;
mod outdated;
mod overdue;
mod ping;
mod refusals;
mod remains;
pub(crate) mod setup;
mod strangers;
mod supervisor;
mod terms;
mod tick;
mod view;
mod vitals;
mod voters;

use std::{collections::VecDeque, fs, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::time::Boottime;
use heartbeat_core::{Command, cluster::Intent, group::GroupEvent, membership::Membership, report};
use heartbeat_sys::files::{atomic_file::Writer, incarnation};
use tokio::sync::mpsc::UnboundedReceiver;

use self::{control_task::ControlTask, groups::Groups};
use crate::{
    clock,
    config::{Config, Group, key::Keys},
    control::{protocol, server},
    dataplane::{Dataplane, ExitProgram, Pins, ProcessExits, Setup},
    health::{Checks, Means, Notice},
    helper,
    interface_monitor::{self, InterfaceMonitor},
    logging, membership_store,
    messages::{Directive, ResourceCommand, ThreadEvent},
    privileges,
    pulse::{
        Directives, Identity, Pulse, Sink, StartState,
        mailbox::{Post, mailbox},
        realtime::{Granter, Urgency},
    },
    record::{self, Recording},
    resource_manager::{self, Ends, ResourceManager},
    resources::{Agents, Forwarder, Places, Watcher},
    servable,
};
pub use lock::InstanceLock;
pub use supervisor::pause_after_failed_start;

/// How an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The agent has handed over all that it served, as far as another node took it.
    Stopped,
    /// Programs, addresses and resources stay in place for the next agent.
    GracefulRestart,
}

/// Runs the agent until a signal or a command stops it.
///
/// With `replace` XDP programs of others are replaced, and with `record` the run is recorded.
/// `began` is the start of this process.
pub fn run(
    config: Config,
    replace: bool,
    record: Option<&record::Target>,
    began: Boottime,
) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the agent loads kernel programs and moves addresses: run it as root");
    }
    logging::limit_wait();
    privileges::report_missing();
    let keys = Arc::new(Keys::load(&config.key)?);
    let lock = InstanceLock::take(&config.lock(), &config.instance)?;
    let recording = record.map(record::Target::create).transpose()?;
    // The helper must not inherit anything, and needs the rights that this process gives up later.
    helper::start(&config.instance)?;
    let result = run_locked(Arc::new(config.clone()), &keys, replace, (recording, began));
    helper::end();
    // The lock goes last, so that no other agent starts during the clean-up.
    let _ = fs::remove_file(config.socket());
    drop(lock);
    result
}

/// The facts about an agent whose programs are loaded, and about its start.
struct Loaded {
    /// The start of the agent's process.
    began: Boottime,
    urgency: Option<Urgency>,
    identity: Identity,
    membership: Membership,
    recording: Option<Recording>,
    confinement: protocol::Confinement,
    granter: Granter,
}

fn run_locked(
    config: Arc<Config>,
    keys: &Arc<Keys>,
    replace: bool,
    (recording, began): (Option<Recording>, Boottime),
) -> Result<()> {
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    servable::ensure(&config)?;
    // Groups that an earlier agent left in service wait for this one: the start is urgent on a busy
    // machine, too.
    let urgency = Pins::of(&config.instance)
        .dir()
        .exists()
        .then(Urgency::begin);
    let incarnation = incarnation::next(&config.state_dir())?;
    terms::check(&config)?;
    let membership = membership_store::begin(&config)?;
    let nonce = getrandom::u64().context("could not get a random number from the kernel")?;
    let setup = Setup {
        replace,
        ..setup::of(&config, keys)
    };
    let mut dataplane = Dataplane::load(setup, |inherited, stale| {
        resource_manager::sweep(&config, inherited, stale, urgency.is_none())
    })?;
    let exits = dataplane.exit_program();
    // Other threads start later than this, so that they inherit exactly these capabilities.
    privileges::keep_few();
    let confinement = confine::confine(&config);
    let granter = Granter::start().context("could not start the thread of the real-time rights")?;
    privileges::give_up_scheduling();
    logging::start_thread();
    let result = run_loaded(
        &config,
        keys,
        &mut dataplane,
        exits,
        Loaded {
            began,
            urgency,
            identity: Identity { incarnation, nonce },
            membership,
            recording,
            confinement,
            granter,
        },
    );
    if let Ok(Ending::GracefulRestart) = result {
        dataplane.persist();
        return Ok(());
    }
    let result = result.map(drop);
    // The guard goes with the programs, so no address that it blocked may stay behind.
    let none = vec![None; config.served().len()];
    if let Err(error) = resource_manager::sweep(&config, &none, &[], false) {
        log::error!(
            "could not remove all addresses: {error:#}; the guard stays and drops their traffic; \
             remove them (`ip address del`), then run `heartbeat unload`"
        );
        dataplane.persist();
        return result;
    }
    drop(dataplane);
    log::info!("stopped");
    result
}

fn run_loaded(
    config: &Arc<Config>,
    keys: &Arc<Keys>,
    dataplane: &mut Dataplane,
    exits: ExitProgram,
    loaded: Loaded,
) -> Result<Ending> {
    let Loaded {
        began,
        urgency,
        identity,
        membership,
        recording,
        confinement,
        granter,
    } = loaded;
    let (tap, recorder) = recording.map(Recording::start).transpose()?.unzip();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("could not start the tokio runtime")?;
    let listener = {
        let _inside = runtime.enter();
        server::bind(&config.socket())?
    };
    let (reports, inbox) = tokio::sync::mpsc::unbounded_channel();
    let (directives, directives_inbox) = Directives::new()?;
    let inherited = inherited_groups(config, dataplane);
    let (commands, commands_inbox) = resource_manager::inbox()?;
    let (pulse_reports, pulse_inbox) = mailbox()?;
    let (work, work_inbox) = tokio::sync::mpsc::unbounded_channel();
    let resource_reports = reports.clone();
    let ends = Ends {
        directives: directives.clone(),
        work,
        report: move |event| drop(resource_reports.send(ThreadEvent::Resource(event))),
    };
    let writer = Writer::start()?;
    let groups = Groups::open(Arc::clone(config), identity.incarnation, writer.clone());
    let channel = (commands.clone(), commands_inbox);
    let manager = ResourceManager::start(
        config,
        granter.clone(),
        &inherited,
        groups.wishes(),
        channel,
        ends,
    )?;
    let watcher = {
        let _inside = runtime.enter();
        Watcher::start(ProcessExits::listen(exits))
    };
    let places = Places::of(config);
    let means = Means {
        watcher: watcher.clone(),
        bus: places.bus.clone(),
        mark: format!("{}-{}-{}", config.cluster, config.instance, places.node),
    };
    let forwarder = forward_output(&places);
    let agents = Agents::new(places).with_watcher(watcher);
    runtime.spawn(executors::perform(agents, commands.clone(), work_inbox));
    let (interface_reports, monitor_commands) = (reports.clone(), commands.clone());
    drop(reports);
    let sink = Channels::new(commands, pulse_reports);
    // The pulse needs the operator's intent, and the state "health unknown", before its first
    // decision.
    let intent = operate::remembered(config, groups.lost_decisions());
    directives.send(Directive::Intend(intent));
    let checks = {
        let _inside = runtime.enter();
        start_checks(config, means, directives.clone())
    };
    let started = Pulse::start(
        config,
        keys,
        dataplane,
        StartState {
            identity,
            membership,
            inherited: &inherited,
            tap,
            granter,
        },
        (directives, directives_inbox),
        sink,
    );
    let pulse = match started {
        Ok(pulse) => pulse,
        Err(error) => {
            manager.stop();
            return Err(error);
        }
    };
    drop(urgency);
    let monitor_ends = interface_monitor::Ends {
        directives: pulse.directives().clone(),
        commands: monitor_commands,
        report: move |event| drop(interface_reports.send(ThreadEvent::Interface(event))),
    };
    let monitor = InterfaceMonitor::start(config, dataplane, pulse.bound.clone(), monitor_ends);
    let monitor = match monitor {
        Ok(monitor) => monitor,
        Err(error) => {
            pulse.stop();
            manager.stop();
            return Err(error);
        }
    };
    let threads = Threads {
        monitor,
        pulse,
        manager,
    };
    let task = {
        let _inside = runtime.enter();
        let (config, keys) = (Arc::clone(config), Arc::clone(keys));
        ControlTask::new(
            config,
            keys,
            dataplane,
            &threads,
            (groups, writer.clone()),
            checks,
            (intent, confinement),
        )
    };
    let result = match task {
        Ok(task) => runtime.block_on(task.run(listener, (pulse_inbox, inbox), threads, began)),
        Err(error) => {
            threads.stop();
            Err(error)
        }
    };
    writer.finish();
    drop(forwarder);
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    if let Ok(Ending::GracefulRestart) = result {
        // Running actions and hooks continue. The next agent probes their results.
        std::mem::forget(runtime);
        return result;
    }
    // A blocking check of the host must not keep the agent from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Begins to forward the output of resource programs. Without the forwarder the programs run all
/// the same.
fn forward_output(places: &Places) -> Option<Forwarder> {
    Forwarder::start(&places.output)
        .inspect_err(|error| {
            log::error!(
                "the output of resource programs is not forwarded, and stays in {}: {error}",
                places.output.display()
            );
        })
        .ok()
}

/// Starts the health checks. Their sum goes to the pulse at once; all notices go to the control
/// task.
fn start_checks(
    config: &Config,
    means: Means,
    directives: Directives,
) -> (Checks, UnboundedReceiver<Notice>) {
    let (notify, notices) = tokio::sync::mpsc::unbounded_channel();
    let checks = Checks::start(&config.health, means, move |notice| {
        if let Notice::Sum(sum) = &notice {
            directives.send(Directive::Health(*sum));
        }
        // A missing receiver means that the agent is ending.
        let _ = notify.send(notice);
    });
    (checks, notices)
}

/// Returns for each group the end of an inherited lease: an earlier run of this node was granted
/// it, and left all addresses of the group open, too.
fn inherited_groups(config: &Config, dataplane: &Dataplane) -> Vec<Option<Boottime>> {
    let now = clock::now();
    let of = |(group, until): (&Group, &Option<Boottime>)| {
        let own = config.served().iter().zip(dataplane.inherited());
        let own = own.filter(|(vip, _)| vip.group == group.id);
        let ends = own.map(|(_, until)| until.unwrap_or_default());
        let until = ends.fold((*until)?, Boottime::min);
        Some(until).filter(|until| *until > now)
    };
    let groups = config.served_groups().iter();
    groups.zip(dataplane.inherited_groups()).map(of).collect()
}

/// The threads of the agent beside the tokio runtime.
struct Threads {
    monitor: InterfaceMonitor,
    pulse: Pulse,
    manager: ResourceManager,
}

/// The longest hand-over at a stop, beside the stop timeouts of the resources.
const DRAIN: Duration = Duration::from_secs(2);

impl Threads {
    /// Begins to hand over the served groups. Returns the deadline for groups that may never begin
    /// to stop.
    fn drain(&self) -> Boottime {
        self.pulse
            .directives()
            .send(Directive::Intend(Intent::Drain));
        clock::now().after(DRAIN + self.pulse.stats.stop_timeout())
    }

    /// Returns whether all served groups have stopped, as far as they can.
    ///
    /// The wait for a group that is stopping has no limit: the lease ends with this agent, and
    /// another node would start a group that may still run here.
    fn is_drained(&self, until: Boottime) -> bool {
        let stats = &self.pulse.stats;
        let in_vain = clock::now() >= until && stats.stopping().next().is_none();
        stats.has_stopped() || in_vain || !self.pulse.is_running()
    }

    /// Hands over and stops the groups that are still served, then removes all addresses. The pulse
    /// ends before the resource manager, because only the pulse commands the manager.
    ///
    /// A thread that blocks in this function shows the pulse no progress. After `agent_stall` the
    /// pulse then gives up all groups that have not stopped yet, so callers drain first. A failing
    /// agent that cannot drain waits here for the longest stop timeout, and no longer.
    fn stop(self) {
        let until = self.drain();
        while !self.is_drained(until) && clock::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        self.monitor.stop();
        self.pulse.stop();
        self.manager.stop();
    }
}

/// Passes the core's commands to the resource manager and the control task.
struct Channels {
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
    fn new(commands: Post<ResourceCommand>, reports: Post<ThreadEvent>) -> Self {
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
