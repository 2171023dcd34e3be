//! Executes a page on a cluster.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command as Process,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    Command, File, Step, agrees,
    hosts::{self, CLIENT, WITNESS, to_page, to_rig},
};
use heartbeat_common::time::Boottime;

use crate::{
    Cluster, Options,
    client::Client,
    cluster::BINARY,
    e2e::{
        Ended, Program,
        availability::{longest_silence, servers},
        web,
    },
    sys::boottime,
    wait::slowness,
    wait_until,
};

/// Path of the HAProxy to run. `cargo xtask test` sets it.
const HAPROXY: &str = "HEARTBEAT_HAPROXY";
/// The longest duration of a command, and the longest time until a query has the answer of the
/// page.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Commands that only ask, and so may be repeated until the answer is that of the page.
const QUESTIONS: [&str; 5] = [
    "heartbeat status",
    "heartbeat events",
    "heartbeat explain",
    "curl ",
    "for ",
];

/// The observations of a client while the commands of a console ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The longest time without an answer.
    pub gap: Duration,
    /// The nodes that answered, in order.
    pub served_by: Vec<String>,
}

/// The progress of a page's execution, in order.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    Section(&'a str),
    File(&'a File),
    /// A command has ended; `output` has the page's names.
    Command {
        command: &'a Command,
        output: String,
    },
    Measured(&'a Measured),
}

/// A cluster on which a page is executed.
#[derive(Debug)]
pub struct Runner {
    cluster: Cluster,
    measured: Vec<Measured>,
}

impl Runner {
    /// The hosts of a page. At first, they have only the binary of heartbeat.
    pub fn new(steps: &[Step], keep: bool) -> Result<Self> {
        let hosts = super::hosts(steps).into_iter().map(str::to_owned);
        let hosts: Vec<_> = hosts.filter(|host| host != CLIENT).collect();
        let (witnesses, nodes) = hosts.into_iter().partition(|host| host == WITNESS);
        let mut cluster = Cluster::new(Options {
            nodes,
            witnesses,
            keep,
            ..Options::default()
        })?;
        let path = |name: &str| -> Result<PathBuf> {
            let path = env::var_os(name).with_context(|| format!("{name} is not set"))?;
            Ok(path.into())
        };
        // A page without a balancer does not start this.
        let haproxy = env::var_os(HAPROXY).unwrap_or_else(|| "/bin/false".into());
        hosts::furnish(&mut cluster, &path(BINARY)?, Path::new(&haproxy))?;
        Ok(Self {
            cluster,
            measured: Vec::new(),
        })
    }

    /// Executes the steps in order, and reports each. An error has the ends of the agents' logs.
    pub fn run(
        &mut self,
        steps: &[Step],
        mut report: impl FnMut(Progress<'_>),
    ) -> Result<&[Measured]> {
        for step in steps {
            let done = self.step(step, &mut report);
            done.with_context(|| self.cluster.logs(40))?;
        }
        Ok(&self.measured)
    }

    fn step(&mut self, step: &Step, report: &mut impl FnMut(Progress<'_>)) -> Result<()> {
        match step {
            Step::Section(title) => report(Progress::Section(title)),
            Step::File(file) => {
                self.write(file)?;
                report(Progress::File(file));
            }
            Step::Console { commands, measured } => {
                let client = measured
                    .then(|| Client::of_pages(self.cluster.client_namespace(), self.cluster.vip()))
                    .transpose()?;
                let before = client.as_ref().map(first_server).transpose()?;
                let begun = boottime();
                for command in commands {
                    let output = self.execute(command)?;
                    report(Progress::Command { command, output });
                }
                if let (Some(client), Some(before)) = (client, before) {
                    wait_until(
                        PATIENCE,
                        &format!("another node than {before} serves"),
                        || {
                            let server = client.steady(10 * web::client::PERIOD);
                            Ok(server.is_some_and(|server| *server != *before))
                        },
                    )?;
                    let measured = Measured {
                        gap: longest_silence(&client, begun),
                        served_by: servers(&client, Boottime::default())
                            .iter()
                            .map(ToString::to_string)
                            .collect(),
                    };
                    report(Progress::Measured(&measured));
                    self.measured.push(measured);
                }
            }
        }
        Ok(())
    }

    fn write(&self, file: &File) -> Result<()> {
        for host in &file.hosts {
            let path = self.place(host, &file.path)?;
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut open = fs::OpenOptions::new();
            open.create(true).append(file.appended).write(true);
            open.truncate(!file.appended);
            let mut open = open
                .open(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            open.write_all(to_rig(&file.text).as_bytes())?;
        }
        Ok(())
    }

    /// The path of a node's file as the host sees it.
    fn place(&self, host: &str, path: &str) -> Result<PathBuf> {
        let node = self.cluster.node(host)?;
        Ok(node.dir().join(format!("own{path}")))
    }

    /// Runs a command, and returns what it printed as the page has it.
    fn execute(&self, command: &Command) -> Result<String> {
        let question = QUESTIONS.iter().any(|word| command.line.starts_with(word));
        let begun = boottime();
        loop {
            let ended = self.ended(command)?;
            let output =
                self.as_on_the_page(&command.host, &format!("{}{}", ended.out, ended.err))?;
            let checked = match ended.status.success() {
                true => agrees(&output, &command.shown, command.exact),
                false => Err(anyhow!("it failed ({}): {output}", ended.status)),
            };
            let Err(error) = checked else {
                return Ok(output);
            };
            if !question || boottime().since(begun) > PATIENCE * slowness() {
                return Err(error.context(format!("{}# {}", command.host, command.line)));
            }
            thread::sleep(PAUSE);
        }
    }

    /// The output of a command on `host`, without names that exist only in the test rig.
    fn as_on_the_page(&self, host: &str, output: &str) -> Result<String> {
        let output = to_page(output);
        if host == CLIENT {
            return Ok(output);
        }
        let node = self.cluster.node(host)?;
        let fitted = hosts::fitted(node).display().to_string();
        let output = output.replace(&fitted, "/etc/heartbeat/heartbeat.toml");
        Ok(output.replace(&node.pins.instance(), "default"))
    }

    fn ended(&self, command: &Command) -> Result<Ended> {
        let mut shell = Process::new("sh");
        for variable in ["HEARTBEAT_CONFIG", "HEARTBEAT_LOG"] {
            shell.env_remove(variable);
        }
        shell.env("NO_COLOR", "1");
        if command.host == CLIENT {
            shell.args(["-c", &to_rig(&command.line)]);
            let ns = self.cluster.client_namespace();
            return Program::run(Some(ns), shell, PATIENCE * slowness());
        }
        let node = self.cluster.node(&command.host)?;
        let directory = node.dir().join("own/root");
        fs::create_dir_all(&directory)?;
        // By the shell: a process that enters another file system begins at its root.
        let line = format!("cd {}\n{}", directory.display(), to_rig(&command.line));
        shell.args(["-c", &line]);
        shell.env("PATH", path_with(&hosts::programs(node))?);
        let program = Program::start_in(Some(&node.ns), node.sandbox.as_ref(), shell)?;
        program.end(PATIENCE * slowness())
    }
}

/// The node that serves as a measurement begins.
fn first_server(client: &Client) -> Result<String> {
    let mut server = None;
    wait_until(PATIENCE, "a node serves", || {
        server = client.steady(10 * web::client::PERIOD);
        Ok(server.is_some())
    })?;
    Ok(server.context("nobody serves")?.to_string())
}

fn path_with(directory: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(directory.to_owned()).chain(env::split_paths(&path));
    Ok(env::join_paths(all)?)
}
