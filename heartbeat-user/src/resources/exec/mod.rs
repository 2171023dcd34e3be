//! Resources that are plain commands: three of them, or one program that runs as long as the
//! resource does.
//!
//! Such a program lives on when the agent ends, however that happens; `record` finds it again.

mod record;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use heartbeat_core::resource::{Action, ExitCode, Outcome};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::record::Record;
use super::done::Done;
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
}

impl Services {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            dir: state.join("exec"),
        }
    }

    pub(super) async fn act(
        &self,
        resource: &Resource,
        exec: &Exec,
        action: Action,
        timeout: Duration,
    ) -> Done {
        let name = resource.name.as_str();
        let record = Record::new(&self.dir, name);
        let program = |line: &[String]| Program::of(line).of_resource(name);
        let check = |line: &Vec<String>| program(line);
        if action == Action::Probe
            && let Some(missing) = missing(exec)
        {
            let runs = matches!(record.read(), Ok(Some(process)) if process.lives());
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
                start(&record, program(run), test.as_ref().map(check), timeout).await
            }
            (Exec::Service { .. }, Action::Stop) => stop(&record, timeout).await,
            (Exec::Service { check: test, .. }, Action::Probe | Action::Monitor) => {
                monitor(&record, test.as_ref().map(check), timeout).await
            }
        }
    }

    /// Ends when the program that runs has ended; never if none was started.
    pub(super) async fn ended(&self, resource: &Resource) -> std::io::Result<()> {
        match Record::new(&self.dir, &resource.name).read() {
            Ok(Some(process)) => process::process_end(process).await,
            Ok(None) => std::future::pending().await,
            Err(error) => Err(error),
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

async fn start(record: &Record, program: Program, check: Option<Program>, limit: Duration) -> Done {
    let until = Instant::now() + limit;
    match record.read() {
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
        Err(error) => return record.failed("read", &error),
    }
    let registration = match record.prepare() {
        Ok(registration) => registration,
        Err(error) => return record.failed("write", &error),
    };
    // It has registered itself by the time that we hear of it, or that nobody is left to hear.
    let helper::Launched { pid, end } = match helper::launch(&program, &registration).await {
        Ok(launched) => launched,
        Err(error) => return Done::not_run(&program.path, &error),
    };
    // Waits for its end also when this future is dropped: somebody has to.
    let mut end = tokio::spawn(end);
    if let Ok(status) = timeout(SOON, &mut end).await {
        let how = match status {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        return Done::exited(
            ExitCode::GENERIC_ERROR,
            format!(
                "{} ended at once ({how}); one that goes to the background by itself needs \
                 `start`, `stop` and `check` instead of `run`",
                program.path.display()
            ),
        );
    }
    let Some(check) = check else {
        return Done::at_once(Outcome::OK, format!("runs as process {}", pid.unwrap_or(0)));
    };
    // It runs once it is well.
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let done = checked(&check, left).await;
        if done.outcome == Outcome::OK
            || done.outcome == Outcome::TimedOut
            || done.outcome.is_hard()
        {
            return done;
        }
        if end.is_finished() {
            let message = format!("{} ended before its check was well", program.path.display());
            return Done::exited(ExitCode::GENERIC_ERROR, message);
        }
        if timeout_at(until, sleep(CHECK_AGAIN)).await.is_err() {
            let message = format!("its check did not become well: {}", done.message);
            return Done::at_once(Outcome::TimedOut, message);
        }
    }
}

async fn monitor(record: &Record, check: Option<Program>, limit: Duration) -> Done {
    let process = match record.read() {
        Ok(Some(process)) => process,
        Ok(None) => return Done::at_once(Outcome::NOT_RUNNING, ""),
        Err(error) => return record.failed("read", &error),
    };
    if process.lives() {
        return match check {
            Some(check) => checked(&check, limit).await,
            None => Done::at_once(Outcome::OK, ""),
        };
    }
    if process::members(process).is_empty() {
        Done::at_once(
            Outcome::NOT_RUNNING,
            format!("process {} has ended", process.pid),
        )
    } else {
        Done::exited(
            ExitCode::GENERIC_ERROR,
            format!(
                "process {} has ended, but not all that it started",
                process.pid
            ),
        )
    }
}

async fn stop(record: &Record, limit: Duration) -> Done {
    let process = match record.read() {
        Ok(Some(process)) => process,
        Ok(None) => return Done::at_once(Outcome::OK, ""),
        Err(error) => return record.failed("read", &error),
    };
    let mut message = "";
    if !end_group(process, Signal::SIGTERM, Instant::now() + limit).await {
        message = "did not end when asked to: killed";
        if !end_group(process, Signal::SIGKILL, Instant::now() + KILLED).await {
            return Done::at_once(
                Outcome::TimedOut,
                format!("killed, but process group {} does not end", process.pid),
            );
        }
    }
    if let Err(error) = record.remove() {
        // It names a process that has ended, which is what will be seen.
        log::warn!("could not remove {}: {error}", record.path().display());
    }
    Done::at_once(Outcome::OK, message)
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
