//! The `heartbeat` binary: reads the command line, calls the library and prints errors.

#![forbid(unsafe_code)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::{ArgValueCandidates, CompleteEnv};
use heartbeat_common::time::Boottime;
use heartbeat_sys::process::core_dumps;
use heartbeat_user::{
    agent, clock,
    commands::{
        check, doctor, events, explain, import, init, keygen, load, man, metrics, mode::Mode,
        names, operate, ping, reload, replay, resource, rotate, simulate, status, status_check,
        stop, upgrade_check, verify, wait, witness,
    },
    config::{self, Config},
    control::protocol::Request,
    helper, logging,
    process::runs,
    record,
};

/// Cluster heartbeat answered in the kernel: detects dead nodes and moves virtual addresses within
/// milliseconds.
#[derive(Debug, Parser)]
#[command(name = "heartbeat", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent in the foreground
    ///
    /// SIGTERM and SIGINT act as `stop`, SIGUSR2 as `stop --keep`, SIGHUP as `reload`.
    Run {
        /// Replace XDP programs of others on the interfaces
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        record: RecordArgs,
        /// Begin each log line with seconds since boot instead of the date and time (UTC)
        #[arg(long)]
        boottime: bool,
    },
    /// Replay the decisions of a recorded agent, and compare them with the recorded ones
    ///
    /// Prints each decision of the core, with its time since the first. Ends with exit code 1 at
    /// the first decision that differs. Only the release that recorded a file can replay it.
    Replay {
        /// A file that `heartbeat run --record` wrote
        file: PathBuf,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration and show its effect
    Check,
    /// Say what is wrong or risky here and on the way to other nodes, and what to do
    ///
    /// Looks at the configuration, the key, the host, the running agent and the other nodes. Ends
    /// with exit code 1 if something does not work.
    Doctor(doctor::Doctor),
    /// Write a first configuration and a key, and print the next steps
    ///
    /// Asks at a terminal for what the flags do not say. The same call a second time changes
    /// nothing and says so.
    Init(init::Init),
    /// Convert a configuration of Corosync and Pacemaker, or of keepalived
    Import(import::Import),
    /// Make a cluster key, or replace it while the cluster runs
    Keygen {
        /// Path of the key file
        #[arg(long, short, default_value = config::key::DEFAULT_PATH)]
        output: PathBuf,
        /// Replace an existing key; with --rotate: take the step even if nodes are not ready
        #[arg(long)]
        force: bool,
        /// Take the next step of a key rotation in the configured key file, and print what to do
        /// now
        #[arg(long, conflicts_with = "output")]
        rotate: bool,
    },
    /// Show nodes, links, quorum and addresses as the local agent sees them
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Repeat every second, or every SECONDS
        #[arg(long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
        watch: Option<f64>,
        /// Print one line, and end with the exit code of a monitoring plug-in: 0 ok, 1 warning,
        /// 2 critical, 3 unknown
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        check: bool,
    },
    /// Show recent events, of another node with --node
    ///
    /// The agent here asks the agent there. The events of a node outlive its agent.
    Events {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
        /// Keep printing new events
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        filter: events::Filter,
        /// Show seconds since boot instead of the date and time (UTC)
        #[arg(long, conflicts_with = "json")]
        boottime: bool,
    },
    /// Print the agent's metrics once, in the text format of Prometheus
    ///
    /// `[metrics] listen` serves them over HTTP.
    Metrics {
        /// Replace FILE as a whole instead, for the textfile collector of node_exporter
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Measure round-trip times to a node, from kernel to kernel
    Ping {
        /// Name of the node
        #[arg(value_name = "NODE", add = ArgValueCandidates::new(names::nodes))]
        peer: String,
        /// Number of round-trip times to collect on each link
        #[arg(long, short, default_value_t = 100)]
        count: u32,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Move a group to a node and pin it there until that node fails
    Move {
        /// Group (or VIP) name
        #[arg(add = ArgValueCandidates::new(names::groups))]
        group: String,
        /// Name of the node
        #[arg(add = ArgValueCandidates::new(names::nodes))]
        to: String,
    },
    /// Put a node on standby: move everything away (persistent)
    Standby {
        /// Name of the node; the local one if absent
        #[arg(add = ArgValueCandidates::new(names::nodes))]
        name: Option<String>,
        /// Do so even if no other node can take over its groups
        #[arg(long)]
        force: bool,
    },
    /// Take a node off standby: it may serve again
    Online {
        /// Name of the node; the local one if absent
        #[arg(add = ArgValueCandidates::new(names::nodes))]
        name: Option<String>,
    },
    /// Move a node's groups away one after the other, then put it on standby
    Drain {
        /// Name of the node; the local one if absent
        #[arg(add = ArgValueCandidates::new(names::nodes))]
        name: Option<String>,
    },
    /// Show which nodes could run a group, in order of preference, and why
    Explain {
        /// Name of the group
        #[arg(add = ArgValueCandidates::new(names::groups))]
        group: String,
        /// Ask no agent: all nodes of the configuration are well
        #[arg(long)]
        offline: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove the pin of a moved group: placement decides again
    Unmove {
        /// Name of the group
        #[arg(add = ArgValueCandidates::new(names::groups))]
        group: String,
    },
    /// Show, stop, start and restart resources
    Resource {
        #[command(subcommand)]
        command: ResourceCommand,
    },
    /// Clear the failures of a resource, or of all, so that it may run again
    Cleanup(Cleanup),
    /// Turn maintenance mode on or off; in maintenance nothing is started, stopped or monitored
    Maintenance {
        #[arg(value_enum)]
        state: OnOff,
        /// Name of the group; all groups if absent
        #[arg(add = ArgValueCandidates::new(names::groups))]
        group: Option<String>,
    },
    /// Take over what changed in the configuration, without touching the rest
    Reload(reload::Reload),
    /// Stop the local agent and wait until it has ended
    Stop {
        /// Hand over all groups and take everything down (the default)
        #[arg(long, conflicts_with = "keep")]
        release: bool,
        /// Prepare a restart: leave programs, addresses and resources in place, with leases
        /// extended to max_lease
        #[arg(long)]
        keep: bool,
        /// Stop even if that leaves the other nodes without a majority, so that no node serves
        #[arg(long, conflicts_with = "keep")]
        force: bool,
    },
    /// Wait until nodes vote, a group runs, or the cluster is stable; fails at the timeout
    Wait(wait::Wait),
    /// Run the resource agents' own validation of their parameters on this host
    Verify,
    /// Show where groups would run if nodes failed; changes nothing
    Simulate {
        /// Name of a node that fails; may be repeated
        #[arg(long, value_name = "NODE", add = ArgValueCandidates::new(names::nodes))]
        fail: Vec<String>,
        /// Ask no agent: all nodes of the configuration are well before that
        #[arg(long)]
        offline: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Load only the responder: this host then answers heartbeats without an agent
    Load {
        /// Interface to answer on
        #[arg(long, short)]
        iface: String,
        /// Attach mode; the configured one if absent
        #[arg(long)]
        mode: Option<Mode>,
        /// Replace another XDP program on the interface
        #[arg(long)]
        replace: bool,
    },
    /// Make this host a witness, which votes and serves nothing; needs no configuration file
    Witness(witness::Witness),
    /// Write the man pages of all commands and of the configuration, for packages
    #[command(hide = true)]
    Man {
        /// Directory of the pages
        directory: PathBuf,
    },
    /// Say whether a restart with this binary leaves no gap, for packages: exit code 0 if so
    #[command(hide = true)]
    UpgradeCheck,
    /// Carry out for the agent, which starts this process, what needs rights that the agent dropped
    #[command(hide = true)]
    Helper {
        /// Instance of the agent
        instance: Option<String>,
    },
    /// End all that the helper, which starts this process, has running when the helper is gone
    #[command(hide = true)]
    HelperWatcher {
        /// Control group of all processes to end
        groups: Option<PathBuf>,
    },
    /// Remove a responder left by `load`, `witness` or a dead agent
    Unload {
        /// Name of the instance; the default one, or the only one, if absent
        #[arg(long)]
        instance: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum ResourceCommand {
    /// Print one line per resource
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Print the details of a resource
    Show {
        /// Name of the resource
        #[arg(add = ArgValueCandidates::new(names::resources))]
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Allow a stopped resource, or a stopped group, to run again
    Start {
        /// Name of the resource or the group
        #[arg(add = ArgValueCandidates::new(names::groups_and_resources))]
        name: String,
    },
    /// Stop a group, or a resource and those after it in its group, until `start`
    Stop {
        /// Name of the resource or the group
        #[arg(add = ArgValueCandidates::new(names::groups_and_resources))]
        name: String,
    },
    /// Stop and start a resource on the node that runs it
    Restart {
        /// Name of the resource
        #[arg(add = ArgValueCandidates::new(names::resources))]
        name: String,
    },
    /// Clear the failures of a resource, or of all, so that it may run again
    Cleanup(Cleanup),
}

#[derive(Debug, Args)]
struct Cleanup {
    /// Name of the resource or the group; all if absent
    #[arg(add = ArgValueCandidates::new(names::groups_and_resources))]
    name: Option<String>,
    /// Clear failures only on this node
    #[arg(long = "on", value_name = "NODE", add = ArgValueCandidates::new(names::nodes))]
    on: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Path of the configuration; /etc/heartbeat/heartbeat.toml if absent
    #[arg(long, global = true, value_name = "FILE", env = "HEARTBEAT_CONFIG")]
    config: Option<PathBuf>,
    /// Name of the local node, overriding the configuration and the host name
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
}

#[derive(Debug, Args)]
struct RecordArgs {
    /// Record the agent's input and decisions in FILE, for `heartbeat replay`
    ///
    /// The record begins with the agent; an existing FILE becomes FILE.old. The record holds no
    /// keys. It ends with the agent, at --record-limit, or when the disk is too slow: the agent
    /// never waits for it.
    #[arg(long = "record", value_name = "FILE")]
    path: Option<PathBuf>,
    /// End the record at this size in MiB; the agent continues
    #[arg(
        long = "record-limit",
        value_name = "MIB",
        default_value_t = 256,
        requires = "path"
    )]
    limit: u32,
}

impl RecordArgs {
    fn target(self) -> Option<record::Target> {
        let limit = u64::from(self.limit) << 20;
        self.path.map(|path| record::Target { path, limit })
    }
}

impl ConfigArgs {
    fn path(&self) -> &Path {
        self.config
            .as_deref()
            .unwrap_or(Path::new(config::DEFAULT_PATH))
    }

    fn load(&self) -> Result<Config> {
        Ok(Config::load(self.path(), self.node.as_deref())?)
    }

    fn socket(&self) -> Result<PathBuf> {
        Ok(self.load()?.socket())
    }

    /// Returns `name`, or the local node's name if absent.
    fn node(&self, name: Option<String>) -> Result<String> {
        match name {
            Some(name) => Ok(name),
            None => Ok(self.load()?.local().name.clone()),
        }
    }
}

fn main() -> ExitCode {
    let began = clock::now();
    // Ends the process if a shell asks for completions (COMPLETE=bash).
    CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return show(&error),
    };
    logging::start();
    core_dumps::disable();
    let code = run(cli.command, &cli.config, began).unwrap_or_else(|error| {
        // Standard error may be closed; the exit code reports the failure too.
        logging::print(&format!("heartbeat: {error:#}"));
        ExitCode::FAILURE
    });
    logging::finish();
    code
}

/// Prints the error of the command line, or the requested help. A closed standard output is no
/// error.
fn show(error: &clap::Error) -> ExitCode {
    use std::io::{ErrorKind, Write as _, stdout};
    // Clap's exit code is 0 or 2.
    let code = ExitCode::from(error.exit_code() as u8);
    match error.print().and_then(|()| stdout().flush()) {
        Err(failure) if failure.kind() != ErrorKind::BrokenPipe => {
            logging::print(&format!("heartbeat: could not write: {failure}"));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

fn run(command: Command, config: &ConfigArgs, began: Boottime) -> Result<ExitCode> {
    match command {
        Command::Run {
            replace,
            record,
            boottime,
        } => {
            if boottime {
                logging::show_boottime();
            }
            let record = record.target();
            let ran = config
                .load()
                .and_then(|config| agent::run(config, replace, record.as_ref(), began));
            ran.inspect_err(|_| agent::pause_after_failed_start(began))?;
        }
        Command::Replay { file, json } => return replay::run(&file, json),
        Command::Helper { instance } => helper::serve(instance.as_deref())?,
        Command::HelperWatcher { groups } => runs::watch(groups),
        Command::Man { directory } => man::write(Cli::command(), &directory)?,
        Command::UpgradeCheck => return upgrade_check::run(&config.load()?),
        Command::Check => return check::check(config.path(), config.node.as_deref()),
        Command::Doctor(doctor) => return doctor.run(config.path(), config.node.as_deref()),
        Command::Init(init) => init.run(config.path(), config.node.as_deref())?,
        Command::Import(flags) => flags.run()?,
        Command::Keygen {
            force,
            rotate: true,
            ..
        } => rotate::rotate(&config.load()?, force)?,
        Command::Keygen { output, force, .. } => keygen::keygen(&output, force)?,
        Command::Status { check: true, .. } => return status_check::run(config.socket()),
        Command::Status { json, watch, .. } => {
            // NaN is no duration, and counts as the default.
            let pause = watch.map(|seconds| {
                Duration::try_from_secs_f64(seconds.clamp(0.1, 3_600.0))
                    .unwrap_or(Duration::from_secs(1))
            });
            status::run(&config.socket()?, json, pause)?;
        }
        Command::Events {
            json,
            follow,
            filter,
            boottime,
        } => {
            let how = events::How {
                json,
                follow,
                boottime,
            };
            events::run(&config.socket()?, config.node.as_deref(), how, &filter)?;
        }
        Command::Metrics { output } => metrics::run(&config.socket()?, output.as_deref())?,
        Command::Ping { peer, count, json } => {
            if !ping::run(&config.socket()?, &peer, count, json)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Explain {
            group,
            offline,
            json,
        } => explain::run(&config.load()?, &group, json, offline)?,
        Command::Resource { command } => run_resource(command, config)?,
        Command::Stop {
            release: _,
            keep,
            force,
        } => stop::run(&config.load()?, keep, force)?,
        Command::Reload(reload) => return reload.run(config.path(), config.node.as_deref()),
        Command::Wait(wait) => wait.run(&config.socket()?)?,
        Command::Verify => return verify::run(&config.load()?),
        Command::Simulate {
            fail,
            offline,
            json,
        } => simulate::run(&config.load()?, &fail, json, offline)?,
        Command::Load {
            iface,
            mode,
            replace,
        } => {
            let (path, node) = (config.path(), config.node.as_deref());
            load::load(path, node, &iface, mode.map(|Mode(mode)| mode), replace)?;
        }
        Command::Witness(flags) => flags.load()?,
        Command::Unload { instance } => {
            let instance = match (instance, &config.config) {
                (None, Some(_)) => Some(config.load()?.instance),
                (instance, _) => instance,
            };
            load::unload(instance.as_deref())?;
        }
        command => ask(&request(command, config)?, config)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends an operator's request to the agent.
fn ask(request: &Request, config: &ConfigArgs) -> Result<()> {
    operate::run(&config.socket()?, request)
}

/// Returns the request to the agent for a command that changes something.
fn request(command: Command, config: &ConfigArgs) -> Result<Request> {
    Ok(match command {
        Command::Move { group, to } => Request::Move { group, node: to },
        Command::Unmove { group } => Request::Unmove { group },
        Command::Standby { name, force } => Request::Standby {
            node: config.node(name)?,
            force,
        },
        Command::Online { name } => Request::Online {
            node: config.node(name)?,
        },
        Command::Drain { name } => Request::Drain {
            node: config.node(name)?,
        },
        Command::Cleanup(cleanup) => cleanup.request(),
        Command::Maintenance { state, group } => Request::Maintenance {
            on: state == OnOff::On,
            group,
        },
        other => bail!("{other:?} asks nothing of the agent"),
    })
}

fn run_resource(command: ResourceCommand, config: &ConfigArgs) -> Result<()> {
    let request = match command {
        ResourceCommand::List { json } => return resource::list(&config.socket()?, json),
        ResourceCommand::Show { name, json } => {
            return resource::show(&config.socket()?, &name, json);
        }
        ResourceCommand::Start { name } => Request::Enable {
            name,
            enabled: true,
        },
        ResourceCommand::Stop { name } => Request::Enable {
            name,
            enabled: false,
        },
        ResourceCommand::Restart { name } => Request::Restart { resource: name },
        ResourceCommand::Cleanup(cleanup) => cleanup.request(),
    };
    ask(&request, config)
}

impl Cleanup {
    fn request(self) -> Request {
        Request::Cleanup {
            resource: self.name,
            node: self.on,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn configuration_option_works_before_and_after_the_command() {
        for line in [
            "heartbeat --config /x --node a status --json",
            "heartbeat status --json --config /x --node a",
            "heartbeat --node a resource --config /x list",
        ] {
            let Cli { config, .. } = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(config.path(), Path::new("/x"), "{line}");
            assert_eq!(config.node.as_deref(), Some("a"), "{line}");
        }
        assert_eq!(
            Cli::try_parse_from(["heartbeat", "status"])
                .unwrap()
                .config
                .path(),
            Path::new(config::DEFAULT_PATH)
        );
    }
}
