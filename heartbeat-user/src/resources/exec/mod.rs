//! Resources that are plain commands: three of them, or one program that runs as long as the
//! resource does.
//!
//! Such a program outlives the agent, however that ends; `record` finds it again.

mod exits;
mod record;
mod setting;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use heartbeat_core::resource::{Action, ExitCode, Outcome};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::{exits::Exits, record::Record};
use super::{
    done::{Done, Seconds},
    output::Outputs,
};
use crate::{
    config::{Exec, Resource},
    helper,
    process::{self, Process, Program},
};

/// A program that ends within this time counts as not started.
const SOON: Duration = Duration::from_millis(100);
/// Interval of the checks while the program starts.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Time that the kernel may take to end killed processes.
const KILLED: Duration = Duration::from_secs(5);

/// The exec resources of a host.
#[derive(Debug)]
pub(super) struct Services {
    /// Directory of the records.
    dir: PathBuf,
    outputs: Outputs,
    exits: Exits,
}

/// One service: a program that runs as long as its resource does.
struct Service<'a> {
    of: &'a Services,
    resource: &'a Resource,
    record: Record,
}

impl Services {
    pub(super) fn new(state: &Path, output: &Path) -> Self {
        Self {
            dir: state.join("exec"),
            outputs: Outputs::new(output.to_owned()),
            exits: Exits::default(),
        }
    }

    fn service<'a>(&'a self, resource: &'a Resource) -> Service<'a> {
        Service {
            of: self,
            resource,
            record: Record::new(&self.dir, &resource.name),
        }
    }

    pub(super) async fn act(
        &self,
        resource: &Resource,
        exec: &Exec,
        action: Action,
        timeout: Duration,
    ) -> Done {
        let service = self.service(resource);
        let program = |line: &[String]| setting::program(resource, line);
        let check = |line: &Vec<String>| program(line);
        if action == Action::Probe
            && let Some(missing) = missing(exec)
        {
            let runs = matches!(service.record.read(), Ok(Some(process)) if process.lives());
            if !runs {
                return missing;
            }
        }
        match (exec, action) {
            (Exec::Commands { start, .. }, Action::Start) => command(program(start), timeout).await,
            (Exec::Commands { stop, .. }, Action::Stop) => command(program(stop), timeout).await,
            (Exec::Commands { check, .. }, Action::Probe | Action::Monitor) => {
                checked(&program(check), timeout).await
            }
            (Exec::Service { run, check: test }, Action::Start) => {
                let check = test.as_ref().map(check);
                service.start(&program(run), check, timeout).await
            }
            (Exec::Service { .. }, Action::Stop) => service.stop(timeout).await,
            (Exec::Service { check: test, .. }, Action::Probe | Action::Monitor) => {
                service.monitor(test.as_ref().map(check), timeout).await
            }
        }
    }

    /// Ends when the running program has ended, and returns a description of the end; never ends if
    /// none was started.
    pub(super) async fn ended(&self, resource: &Resource) -> std::io::Result<String> {
        let service = self.service(resource);
        match service.record.read()? {
            Some(process) => {
                process::process_end(process).await?;
                Ok(service.describe_end(process).await)
            }
            None => std::future::pending().await,
        }
    }
}

/// Returns the result for a resource of which a program does not exist: nothing of it can be
/// started or stopped.
fn missing(exec: &Exec) -> Option<Done> {
    let program = super::programs(exec).find(|program| !program.exists())?;
    let message = format!("there is no {}", program.display());
    Some(Done::exited(ExitCode::NOT_INSTALLED, message))
}

impl Service<'_> {
    async fn start(&self, program: &Program, check: Option<Program>, limit: Duration) -> Done {
        let until = Instant::now() + limit;
        match self.record.read() {
            Ok(Some(process)) if process.lives() => {
                return Done::at_once(
                    Outcome::OK,
                    format!("runs already as process {}", process.pid),
                );
            }
            // Remaining processes of an earlier run would obstruct this one.
            Ok(Some(process)) if !end_group(process, Signal::SIGKILL, until).await => {
                return Done::exited(
                    ExitCode::GENERIC_ERROR,
                    format!("the processes that group {} left do not end", process.pid),
                );
            }
            Ok(_) => {}
            Err(error) => return self.record.failed("read", &error),
        }
        let registration = match self.record.prepare() {
            Ok(registration) => registration,
            Err(error) => return self.record.failed("write", &error),
        };
        let name = &self.resource.name;
        let output = self.of.outputs.prepare(name);
        // The program has registered itself before this future resolves, and even if it is dropped.
        let launched = helper::launch(program, &registration, &output).await;
        let helper::Launched { pid, end } = match launched {
            Ok(launched) => launched,
            Err(error) => return Done::not_run(&program.path, &error),
        };
        // The task waits for the end, so that the status is kept even if this future is dropped.
        let mut end = tokio::spawn(end);
        if let Ok(status) = timeout(SOON, &mut end).await {
            let (how, well) = match status {
                Ok(Ok(status)) => (status.to_string(), status.success()),
                Ok(Err(error)) => (error.to_string(), false),
                Err(error) => (error.to_string(), false),
            };
            return self.ended_at_once(program, &how, well);
        }
        self.of.exits.await_end(name, pid, end);
        let Some(check) = check else {
            return Done::at_once(Outcome::OK, format!("runs as process {}", pid.unwrap_or(0)));
        };
        self.wait_ready(program, &check, until).await
    }

    /// Returns the result for a program that ended instead of running.
    fn ended_at_once(&self, program: &Program, how: &str, well: bool) -> Done {
        let said = self.of.outputs.last_lines(&self.resource.name);
        let mut message = format!("{} ended at once ({how})", program.path.display());
        // A program that fails usually gives the reason itself.
        if well || said.is_empty() {
            message += "; one that goes to the background by itself needs `start`, `stop` and \
                        `check` instead of `run`";
        }
        Done::exited(ExitCode::GENERIC_ERROR, with_lines(message, &said))
    }

    /// Waits until the check of a started service succeeds.
    async fn wait_ready(&self, program: &Program, check: &Program, until: Instant) -> Done {
        let said = || self.of.outputs.last_lines(&self.resource.name);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let done = checked(check, left).await;
            if done.outcome == Outcome::OK
                || done.outcome == Outcome::TimedOut
                || done.outcome.is_hard()
            {
                return done;
            }
            let process = self.record.read().ok().flatten();
            if let Some(process) = process.filter(|process| !process.lives()) {
                let status = self.of.exits.of(&self.resource.name, process.pid).await;
                let how = status.map_or_else(String::new, |status| format!(" ({status})"));
                let path = program.path.display();
                let message = format!("{path} ended before its check succeeded{how}");
                return Done::exited(ExitCode::GENERIC_ERROR, with_lines(message, &said()));
            }
            if timeout_at(until, sleep(CHECK_INTERVAL)).await.is_err() {
                let message = format!("its check did not succeed: {}", done.message);
                return Done::at_once(Outcome::TimedOut, with_lines(message, &said()));
            }
        }
    }

    async fn monitor(&self, check: Option<Program>, limit: Duration) -> Done {
        let process = match self.record.read() {
            Ok(Some(process)) => process,
            Ok(None) => return Done::at_once(Outcome::NOT_RUNNING, ""),
            Err(error) => return self.record.failed("read", &error),
        };
        if process.lives() {
            return match check {
                Some(check) => checked(&check, limit).await,
                None => Done::at_once(Outcome::OK, ""),
            };
        }
        let ended = self.describe_end(process).await;
        if process::members(process).is_empty() {
            Done::at_once(Outcome::NOT_RUNNING, ended)
        } else {
            let message = format!("processes of ended process {} still run", process.pid);
            Done::exited(ExitCode::GENERIC_ERROR, format!("{message}; {ended}"))
        }
    }

    /// Describes the end of a process: its status, and its last lines.
    async fn describe_end(&self, process: Process) -> String {
        let name = &self.resource.name;
        let status = self.of.exits.of(name, process.pid).await;
        let how = status.map_or_else(String::new, |status| format!(" ({status})"));
        let message = format!("process {} has ended{how}", process.pid);
        with_lines(message, &self.of.outputs.last_lines(name))
    }

    async fn stop(&self, limit: Duration) -> Done {
        let process = match self.record.read() {
            Ok(Some(process)) => process,
            Ok(None) => return Done::at_once(Outcome::OK, ""),
            Err(error) => return self.record.failed("read", &error),
        };
        let signal = setting::stop_signal(self.resource);
        let mut message = String::new();
        if !end_group(process, signal, Instant::now() + limit).await {
            message = format!(
                "did not stop within {} after {signal}: killed",
                Seconds(limit)
            );
            if !end_group(process, Signal::SIGKILL, Instant::now() + KILLED).await {
                return Done::at_once(
                    Outcome::TimedOut,
                    format!("{message}, but process group {} does not end", process.pid),
                );
            }
            self.clear().await;
        }
        if let Err(error) = self.record.remove() {
            // The record names an ended process, which later reads detect.
            log::warn!("could not remove {}: {error}", self.record.path().display());
        }
        Done::at_once(Outcome::OK, message)
    }

    /// Kills processes that left the group of a killed program: nothing else would end them.
    async fn clear(&self) {
        let name = &self.resource.name;
        if let Err(error) = helper::clear(name).await {
            log::warn!("{name}: could not end what its program left: {error}");
        }
    }
}

/// Returns a message with a program's last lines below it.
fn with_lines(message: String, said: &[String]) -> String {
    match said {
        [] => message,
        said => format!("{message}; it wrote last:\n{}", said.join("\n")),
    }
}

/// Sends a signal to the process and its group, and waits for their end. Returns whether they ended
/// in time.
async fn end_group(process: Process, signal: Signal, until: Instant) -> bool {
    if let Err(error) = helper::signal(process, signal).await {
        log::warn!("could not signal process group {}: {error}", process.pid);
    }
    let end = async {
        let watched = process::process_end(process).await;
        if watched.is_err() {
            process::gone(|| process.lives()).await;
        }
        process::gone(|| !process::members(process).is_empty()).await;
    };
    timeout_at(until, end).await.is_ok()
}

/// Runs a command that acts. Its exit codes are its own, not those of OCF.
async fn command(program: Program, limit: Duration) -> Done {
    match helper::run(&program, limit).await {
        Err(error) => Done::not_run(&program.path, &error),
        Ok(ended) => as_error(Done::of(&ended)),
    }
}

/// Runs a command that checks whether the service runs.
async fn checked(program: &Program, limit: Duration) -> Done {
    match helper::run(program, limit).await {
        Err(error) => Done::not_run(&program.path, &error),
        Ok(ended) => match Done::of(&ended).of_query() {
            done if done.outcome == Outcome::NOT_RUNNING => done,
            done => as_error(done),
        },
    }
}

/// Turns any failure into a generic error, which allows another try.
fn as_error(done: Done) -> Done {
    match done.outcome {
        Outcome::Exited(ExitCode::SUCCESS) => done,
        Outcome::Exited(ExitCode(code)) => {
            let said = if done.message.is_empty() { "" } else { ": " };
            Done {
                outcome: Outcome::Exited(ExitCode::GENERIC_ERROR),
                message: format!("exited with status {code}{said}{}", done.message),
                ..done
            }
        }
        _ => done,
    }
}
