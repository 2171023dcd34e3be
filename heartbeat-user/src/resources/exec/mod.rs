//! Resources that are plain commands: three of them, or one program that runs as long as the
//! resource does.
//!
//! Such a program lives on when the agent ends, however that happens; `record` finds it again.

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

/// A program that ends this soon did not start.
const SOON: Duration = Duration::from_millis(100);
/// From one try of the check to the next, while the program starts.
const CHECK_AGAIN: Duration = Duration::from_millis(100);
/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(5);

/// The exec resources of a host.
#[derive(Debug)]
pub(super) struct Services {
    /// Where the records are.
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

    /// Ends when the program that runs has ended, with what there is to say of that; never if none
    /// was started.
    pub(super) async fn ended(&self, resource: &Resource) -> std::io::Result<String> {
        let service = self.service(resource);
        match service.record.read()? {
            Some(process) => {
                process::process_end(process).await?;
                Ok(service.epitaph(process).await)
            }
            None => std::future::pending().await,
        }
    }
}

/// What is said of a resource of which a program is not there: nothing of it could be started, or
/// stopped.
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
            // What an earlier run left would be in the way of this one.
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
        // It has registered itself by the time that we hear of it, or that nobody is left to hear.
        let launched = helper::launch(program, &registration, &output).await;
        let helper::Launched { pid, end } = match launched {
            Ok(launched) => launched,
            Err(error) => return Done::not_run(&program.path, &error),
        };
        // Waits for its end also when this future is dropped: somebody has to.
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
        self.wait_well(program, &check, until).await
    }

    /// The program ended instead of running.
    fn ended_at_once(&self, program: &Program, how: &str, well: bool) -> Done {
        let said = self.of.outputs.last_lines(&self.resource.name);
        let mut message = format!("{} ended at once ({how})", program.path.display());
        // One that fails says why by itself.
        if well || said.is_empty() {
            message += "; one that goes to the background by itself needs `start`, `stop` and \
                        `check` instead of `run`";
        }
        Done::exited(ExitCode::GENERIC_ERROR, with_lines(message, &said))
    }

    /// A service runs once it is well.
    async fn wait_well(&self, program: &Program, check: &Program, until: Instant) -> Done {
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
                let message = format!("{path} ended before its check was well{how}");
                return Done::exited(ExitCode::GENERIC_ERROR, with_lines(message, &said()));
            }
            if timeout_at(until, sleep(CHECK_AGAIN)).await.is_err() {
                let message = format!("its check did not become well: {}", done.message);
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
        let epitaph = self.epitaph(process).await;
        if process::members(process).is_empty() {
            Done::at_once(Outcome::NOT_RUNNING, epitaph)
        } else {
            let message = format!("not all that process {} started has ended", process.pid);
            Done::exited(ExitCode::GENERIC_ERROR, format!("{message}; {epitaph}"))
        }
    }

    /// What there is to say of a process that has ended: how, and its last lines.
    async fn epitaph(&self, process: Process) -> String {
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
            // It names a process that has ended, which is what will be seen.
            log::warn!("could not remove {}: {error}", self.record.path().display());
        }
        Done::at_once(Outcome::OK, message)
    }

    /// Kills what left the group of a program that had to be killed: nobody else will end it.
    async fn clear(&self) {
        let name = &self.resource.name;
        if let Err(error) = helper::clear(name).await {
            log::warn!("{name}: could not end what its program left: {error}");
        }
    }
}

/// A message, and below it what a program wrote last.
fn with_lines(message: String, said: &[String]) -> String {
    match said {
        [] => message,
        said => format!("{message}; it wrote last:\n{}", said.join("\n")),
    }
}

/// Signals the process and its group, and waits for their end. Whether they ended in time.
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

/// A command that does something: a program's own exit codes are not an agent's.
async fn command(program: Program, limit: Duration) -> Done {
    match helper::run(&program, limit).await {
        Err(error) => Done::not_run(&program.path, &error),
        Ok(ended) => as_error(Done::of(&ended)),
    }
}

/// A command that tells whether something runs.
async fn checked(program: &Program, limit: Duration) -> Done {
    match helper::run(program, limit).await {
        Err(error) => Done::not_run(&program.path, &error),
        Ok(ended) => match Done::of(&ended).of_look() {
            done if done.outcome == Outcome::NOT_RUNNING => done,
            done => as_error(done),
        },
    }
}

/// Any failure is just that, and worth another try.
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
