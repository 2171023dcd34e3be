//! The checks that only need to be repeated.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{Sampling, Verdict, blocking::BlockingThread, http, tcp};
use crate::{config::HttpTarget, helper, process::Program, resources::Done};

/// Longest time to kill a program and its children, unless they cannot be killed.
pub(super) const KILLING: Duration = Duration::from_secs(2);

/// A check of one kind, with what it needs.
pub(super) enum Sampler {
    Exec(Program, Duration),
    Tcp(SocketAddr),
    Http(HttpTarget),
    Disk {
        thread: Arc<BlockingThread>,
        directory: PathBuf,
        mark: String,
    },
}

impl Sampler {
    pub(super) fn sample(&self) -> Sampling {
        match self {
            Self::Exec(program, limit) => Box::pin(exec(program.clone(), *limit)),
            Self::Tcp(address) => Box::pin(tcp::sample(*address)),
            Self::Http(target) => Box::pin(http::sample(target.clone())),
            Self::Disk {
                thread,
                directory,
                mark,
            } => {
                let (directory, mark) = (directory.clone(), mark.clone());
                thread.sample(move || helper::write_disk(directory, mark))
            }
        }
    }

    /// Whether a check may continue after its limit because it cannot be ended.
    pub(super) fn may_hang(&self) -> bool {
        matches!(self, Self::Exec(..) | Self::Disk { .. })
    }
}

async fn exec(program: Program, limit: Duration) -> Verdict {
    let path = program.path.clone();
    let ended = match helper::run(&program, limit).await {
        Ok(ended) => ended,
        Err(error) => return Err(Done::not_run(&path, &error).message),
    };
    let Some(status) = ended.status else {
        return Err(format!("took longer than {limit:?} and was killed"));
    };
    let said = Done::of(&ended).message;
    match (status.success(), said.is_empty()) {
        (true, _) => Ok(said),
        (false, true) => Err(status.to_string()),
        (false, false) => Err(format!("{status}: {said}")),
    }
}
