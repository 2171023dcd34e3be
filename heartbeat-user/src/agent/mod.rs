//! The agent: starts its threads in order, runs the control task, and stops everything at the end.

mod abstentions;
mod agent_check;
mod channels;
mod confine;
mod control_task;
mod exchange;
mod executors;
mod former_state;
mod graceful_restart;
mod groups;
mod journal;
mod listener;
mod lock;
mod loss;
mod operate;
mod outages;
mod outdated;
mod overdue;
mod ping;
mod refusals;
mod remains;
mod scrapes;
pub(crate) mod setup;
mod strangers;
mod supervisor;
mod terms;
mod threads;
mod tick;
mod view;
mod vitals;
mod voters;

use std::{fs, os::unix::net::UnixListener as StdListener, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::time::Boottime;
use heartbeat_core::membership::Membership;
use heartbeat_sys::files::{atomic_file::Writer, incarnation};
use nix::unistd::Gid;
use tokio::{net::UnixListener, runtime::Runtime, sync::mpsc::UnboundedReceiver};

use self::{
    channels::Channels, control_task::ControlTask, groups::Groups, journal::Journal,
    threads::Threads,
};
use crate::{
    clock,
    config::{Config, Group, key::Keys},
    control::{protocol, server},
    dataplane::{Dataplane, ExitProgram, Pins, ProcessExits, Setup},
    health::{Checks, Means, Notice},
    helper, interface_monitor, logging, membership_store,
    messages::{ActionRequest, Directive, ResourceCommand, ThreadEvent},
    privileges,
    pulse::{
        Directives, Identity, Pulse, StartState,
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
    mut config: Config,
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
    let readers = server::readers(&config)?;
    let lock = InstanceLock::take(&config.lock(), &config.instance)?;
    former_state::settle(&mut config);
    let recording = record.map(record::Target::create).transpose()?;
    // The helper must not inherit anything, and needs the rights that this process gives up later.
    helper::start(&config.instance)?;
    let start = Start {
        readers,
        recording,
        began,
    };
    let result = run_locked(Arc::new(config.clone()), &keys, replace, start);
    helper::end();
    // The lock goes last, so that no other agent starts during the clean-up.
    let _ = fs::remove_file(config.socket());
    drop(lock);
    result
}

/// The start of an agent.
struct Start {
    /// The group that may read from the control socket.
    readers: Option<Gid>,
    recording: Option<Recording>,
    /// The start of the agent's process.
    began: Boottime,
}

/// The facts about an agent whose programs are loaded, and about its start.
struct Loaded {
    /// The start of the agent's process.
    began: Boottime,
    /// The control socket.
    listener: Result<StdListener>,
    urgency: Option<Urgency>,
    identity: Identity,
    membership: Membership,
    recording: Option<Recording>,
    confinement: protocol::Confinement,
    granter: Granter,
}

fn run_locked(config: Arc<Config>, keys: &Arc<Keys>, replace: bool, start: Start) -> Result<()> {
    let Start {
        readers,
        recording,
        began,
    } = start;
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
    // The socket's group can only be set with a right that the agent gives up now. An error is
    // reported once the programs can be removed again.
    let listener = server::bind(&config.socket(), readers);
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
            listener,
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
        listener,
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
        UnixListener::from_std(listener?)?
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
    let journal = Journal::open(&config.state_dir(), writer.clone());
    let channel = (commands.clone(), commands_inbox);
    let manager = ResourceManager::start(
        config,
        granter.clone(),
        &inherited,
        groups.wishes(),
        channel,
        ends,
    )?;
    let (means, forwarder) = start_executors(config, &runtime, exits, commands.clone(), work_inbox);
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
    let threads = Threads::with_monitor(config, dataplane, (pulse, manager), monitor_ends)?;
    let task = {
        let _inside = runtime.enter();
        let (config, keys) = (Arc::clone(config), Arc::clone(keys));
        ControlTask::new(
            config,
            keys,
            dataplane,
            &threads,
            (groups, journal, writer.clone()),
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

/// Starts the executors of actions on resources. Returns the means of health checks, and the
/// forwarder of the programs' output.
fn start_executors(
    config: &Config,
    runtime: &Runtime,
    exits: ExitProgram,
    commands: Post<ResourceCommand>,
    work: UnboundedReceiver<ActionRequest>,
) -> (Means, Option<Forwarder>) {
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
    runtime.spawn(executors::perform(agents, commands, work));
    (means, forwarder)
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
