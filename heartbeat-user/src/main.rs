//! The `heartbeat` binary: reads the command line, calls the library, turns errors into messages.

#![forbid(unsafe_code)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use heartbeat_common::time::Boottime;
use heartbeat_sys::process::core_dumps;
use heartbeat_user::{
    agent, clock,
    commands::{
        check, events, explain, import, keygen, load, mode::Mode, operate, ping, reload, replay,
        resource, rotate, simulate, status, stop, verify, wait, witness,
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
    /// SIGTERM and SIGINT end it as `stop` does, SIGUSR2 as `stop --keep`; SIGHUP is `reload`.
    Run {
        /// Take other XDP programs off the interfaces, if there are any
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        record: RecordArgs,
        /// Begin each line of the log with seconds since boot in the place of the date and time (UTC)
        #[arg(long)]
        boottime: bool,
    },
    /// Run the decisions of a recorded agent once more, and compare them with the recorded ones
    ///
    /// Prints each decision of the core, with its time since the first. Ends with exit code 1 at the first
    /// decision that differs. A record is replayed by the release that recorded it.
    Replay {
        /// A file that `heartbeat run --record` wrote
        file: PathBuf,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration and show what it means
    Check,
    /// Convert a configuration of Corosync and Pacemaker, or of keepalived
    Import(import::Import),
    /// Make a cluster key, or replace it while the cluster runs
    Keygen {
        /// Where to write it
        #[arg(long, short, default_value = config::key::DEFAULT_PATH)]
        output: PathBuf,
        /// Replace a key that is there; with --rotate: whether or not all nodes are ready
        #[arg(long)]
        force: bool,
        /// Take the next step of replacing the key in the configuration's key file, and say what to do now
        #[arg(long, conflicts_with = "output")]
        rotate: bool,
    },
    /// Show nodes, links, quorum and addresses as the local agent sees them
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Repeat each second, or each SECONDS
        #[arg(long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
        watch: Option<f64>,
    },
    /// Show what happened lately
    Events {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
        /// Go on with the events to come
        #[arg(long, short)]
        follow: bool,
        /// Show seconds since boot in the place of the date and time (UTC)
        #[arg(long, conflicts_with = "json")]
        boottime: bool,
    },
    /// Measure round-trip times to a node, from kernel to kernel
    Ping {
        /// Name of the node
        #[arg(value_name = "NODE")]
        peer: String,
        /// Round-trip times to collect on each link
        #[arg(long, short, default_value_t = 100)]
        count: u32,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Hand a group over to a node, where it stays until that fails
    Move {
        /// Group (or VIP) name
        group: String,
        /// Name of the node
        to: String,
    },
    /// Put a node on standby: move everything away (persistent)
    Standby {
        /// Name of the node; this one, if absent
        name: Option<String>,
        /// Also if no other node can take what it serves
        #[arg(long)]
        force: bool,
    },
    /// Take a node off standby: it may serve again
    Online {
        /// Name of the node; this one, if absent
        name: Option<String>,
    },
    /// Hand over what a node serves, one group after the other, then put it on standby
    Drain {
        /// Name of the node; this one, if absent
        name: Option<String>,
    },
    /// Show which nodes could have a group, in which order, and why
    Explain {
        /// Name of the group
        group: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// End the pin of a moved group: placement decides again
    Unmove {
        /// Name of the group
        group: String,
    },
    /// Show, stop, start and restart resources
    Resource {
        #[command(subcommand)]
        command: ResourceCommand,
    },
    /// Forget the failures of a resource, or of all, so that it may run again
    Cleanup(Cleanup),
    /// Turn maintenance mode on or off: nothing is started, stopped or monitored
    Maintenance {
        #[arg(value_enum)]
        state: OnOff,
        /// Name of the group; all groups, if absent
        group: Option<String>,
    },
    /// Take over what changed in the configuration, without touching the rest
    Reload(reload::Reload),
    /// End the local agent and wait until it is gone
    Stop {
        /// Hand over what is served and take everything down: what happens without a flag, too
        #[arg(long, conflicts_with = "keep")]
        release: bool,
        /// For a restart: leave programs, addresses and resources in place, with leases extended to max_lease
        #[arg(long)]
        keep: bool,
        /// Also if the votes of the other nodes make no majority, so that nothing is served
        #[arg(long, conflicts_with = "keep")]
        force: bool,
    },
    /// Wait until nodes vote, a group runs, or all is well; fails at the timeout
    Wait(wait::Wait),
    /// Let the resource agents on this host validate their parameters
    Verify,
    /// Show where groups would go if nodes failed; changes nothing
    Simulate {
        /// A node that fails; may be repeated
        #[arg(long, value_name = "NODE")]
        fail: Vec<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Load the responder alone: this host answers heartbeats without an agent
    Load {
        /// Interface to answer on
        #[arg(long, short)]
        iface: String,
        /// How to attach; the configuration's way if absent
        #[arg(long)]
        mode: Option<Mode>,
        /// Take another XDP program off the interface, if there is one
        #[arg(long)]
        replace: bool,
    },
    /// Make this host a witness, which votes and serves nothing: load the responder from flags alone
    Witness(witness::Witness),
    /// Do for the agent, which starts this, what needs the rights that it has given up
    #[command(hide = true)]
    Helper {
        /// The agent's instance
        instance: Option<String>,
    },
    /// End what the helper, which starts this, runs when that is gone
    #[command(hide = true)]
    HelperWatcher {
        /// The control group that all of it is in
        groups: Option<PathBuf>,
    },
    /// Remove a responder that `load`, `witness` or a dead agent left
    Unload {
        /// Which instance; the default one, or the only one, if absent
        #[arg(long)]
        instance: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum ResourceCommand {
    /// Print a line for each resource
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Print all that is known of a resource
    Show {
        /// Name of the resource
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a resource, or a whole group, that was stopped run again
    Start {
        /// Name of the resource or the group
        name: String,
    },
    /// Stop a resource and what follows it in its group, or a whole group, until `start`
    Stop {
        /// Name of the resource or the group
        name: String,
    },
    /// Stop and start a resource where it runs
    Restart {
        /// Name of the resource
        name: String,
    },
    /// Forget the failures of a resource, or of all, so that it may run again
    Cleanup(Cleanup),
}

#[derive(Debug, Args)]
struct Cleanup {
    /// Name of the resource, or of the group; all, if absent
    name: Option<String>,
    /// Only on this node
    #[arg(long = "on", value_name = "NODE")]
    on: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration; /etc/heartbeat/heartbeat.toml, if absent
    #[arg(long, global = true, value_name = "FILE", env = "HEARTBEAT_CONFIG")]
    config: Option<PathBuf>,
    /// Name of the local node, instead of the configuration's or the host's
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
}

#[derive(Debug, Args)]
struct RecordArgs {
    /// Record in FILE what the agent goes by and decides, for `heartbeat replay`
    ///
    /// The record begins with the agent; a FILE that is there becomes FILE.old. It has no keys in it. It ends
    /// with the agent, at --record-limit, or where the disk is too slow: the agent never waits for it.
    #[arg(long = "record", value_name = "FILE")]
    path: Option<PathBuf>,
    /// End the record at so many MiB; the agent goes on
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

    /// The node that is named, else the local one.
    fn node(&self, name: Option<String>) -> Result<String> {
        match name {
            Some(name) => Ok(name),
            None => Ok(self.load()?.local().name.clone()),
        }
    }
}

fn main() -> ExitCode {
    let began = clock::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return show(&error),
    };
    logging::start();
    core_dumps::disable();
    let code = run(cli.command, &cli.config, began).unwrap_or_else(|error| {
        // Standard error may be closed; the exit code says it too.
        logging::say(&format!("heartbeat: {error:#}"));
        ExitCode::FAILURE
    });
    logging::finish();
    code
}

/// What is wrong with the command line, or the help that was asked for. A reader that has gone away is no error.
fn show(error: &clap::Error) -> ExitCode {
    use std::io::{ErrorKind, Write as _, stdout};
    // 0 or 2.
    let code = ExitCode::from(error.exit_code() as u8);
    match error.print().and_then(|()| stdout().flush()) {
        Err(failure) if failure.kind() != ErrorKind::BrokenPipe => {
            logging::say(&format!("heartbeat: could not write: {failure}"));
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
        Command::Check => return check::check(config.path(), config.node.as_deref()),
        Command::Import(flags) => flags.run()?,
        Command::Keygen {
            force,
            rotate: true,
            ..
        } => rotate::rotate(&config.load()?, force)?,
        Command::Keygen { output, force, .. } => keygen::keygen(&output, force)?,
        Command::Status { json, watch } => {
            let pause = watch.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.1, 3_600.0)));
            status::run(&config.socket()?, json, pause)?;
        }
        Command::Events {
            json,
            follow,
            boottime,
        } => events::run(&config.socket()?, json, follow, boottime)?,
        Command::Ping { peer, count, json } => {
            if !ping::run(&config.socket()?, &peer, count, json)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Explain { group, json } => explain::run(&config.load()?, &group, json)?,
        Command::Resource { command } => run_resource(command, config)?,
        Command::Stop {
            release: _,
            keep,
            force,
        } => stop::run(&config.load()?, keep, force)?,
        Command::Reload(reload) => return reload.run(config.path(), config.node.as_deref()),
        Command::Wait(wait) => wait.run(&config.socket()?)?,
        Command::Verify => return verify::run(&config.load()?),
        Command::Simulate { fail, json } => simulate::run(&config.load()?, &fail, json)?,
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

/// Has the agent carry out what an operator asks.
fn ask(request: &Request, config: &ConfigArgs) -> Result<()> {
    operate::run(&config.socket()?, request)
}

/// What a command that changes something asks of the agent.
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
    use clap::CommandFactory as _;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn configuration_is_named_before_the_command_or_behind_it() {
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
