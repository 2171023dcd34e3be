//! One sample of the load, from any source.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::task::{JoinHandle, spawn_blocking};

use super::{Source, pressure::Pressures, run_queue};
use crate::{
    config::LoadSource,
    helper,
    process::{Ended, Program},
};

/// Limit for the output of a command; a number needs less.
const KEEP: usize = 256;

/// The result of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// The load per mille.
    Is { raw: u16, parts: Pressures },
    /// The kernel has no pressure stall information.
    Nowhere,
}

/// The source of samples.
#[derive(Debug)]
pub(super) enum Sampler {
    Host,
    Cgroup(PathBuf),
    RunQueue,
    Command {
        program: Arc<Program>,
        limit: Duration,
    },
}

impl Sampler {
    /// Creates a sampler. A command may take until the next sample is due.
    pub(super) fn new(source: LoadSource, interval: Duration) -> Self {
        match source {
            LoadSource::Host => Self::Host,
            LoadSource::Cgroup(directory) => Self::Cgroup(directory),
            LoadSource::RunQueue => Self::RunQueue,
            LoadSource::Command(command) => Self::Command {
                program: Arc::new(Program {
                    keep: KEEP,
                    ..Program::of(&command)
                }),
                limit: interval,
            },
        }
    }

    pub(super) const fn source(&self) -> Source {
        match self {
            Self::Host => Source::Host,
            Self::Cgroup(_) => Source::Cgroup,
            Self::RunQueue => Source::RunQueue,
            Self::Command { .. } => Source::Command,
        }
    }

    /// Switches to the source that every kernel has.
    pub(super) fn fall_back(&mut self) {
        *self = Self::RunQueue;
    }

    /// Starts a sample in another thread. The files are the kernel's and are read within a system
    /// call; but in a container they may come from a daemon, which may hang.
    pub(super) fn begin(&self) -> JoinHandle<Result<Sample, String>> {
        match self {
            Self::Host => spawn_blocking(host),
            Self::Cgroup(directory) => {
                let directory = directory.clone();
                spawn_blocking(move || seen(Pressures::of_cgroup(&directory)))
            }
            Self::RunQueue => spawn_blocking(|| {
                let raw = run_queue::sample().map_err(|error| error.to_string())?;
                Ok(plain(raw))
            }),
            Self::Command { program, limit } => {
                let (program, limit) = (Arc::clone(program), *limit);
                tokio::spawn(async move {
                    let ended = helper::run(&program, limit).await;
                    number(ended, limit).map(plain)
                })
            }
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host's pressure"),
            Self::Cgroup(directory) => write!(f, "the pressure of {}", directory.display()),
            Self::RunQueue => f.write_str("the run queue"),
            Self::Command { program, .. } => write!(f, "{}", program.path.display()),
        }
    }
}

fn host() -> Result<Sample, String> {
    match Pressures::of_host() {
        // Pressure stall information is not built in, or switched off.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::EOPNOTSUPP) =>
        {
            Ok(Sample::Nowhere)
        }
        pressures => seen(pressures),
    }
}

fn seen(pressures: io::Result<Pressures>) -> Result<Sample, String> {
    let parts = pressures.map_err(|error| error.to_string())?;
    Ok(Sample::Is {
        raw: parts.highest(),
        parts,
    })
}

/// Returns a sample of a source without parts.
fn plain(raw: u16) -> Sample {
    Sample::Is {
        raw,
        parts: Pressures::default(),
    }
}

/// Parses the output of a command.
fn number(ended: io::Result<Ended>, limit: Duration) -> Result<u16, String> {
    let ended = ended.map_err(|error| format!("it could not start: {error}"))?;
    let Some(status) = ended.status else {
        return Err(format!(
            "killed: not done within the interval of {} ms",
            limit.as_millis()
        ));
    };
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    let text = ended.stdout.trim();
    match text.parse::<u16>() {
        Ok(number) if number <= 1_000 => Ok(number),
        _ => Err(format!(
            "it printed {text:?}, not one whole number from 0 to 1000"
        )),
    }
}
