//! How programs ended that this agent started. An adopted one is nobody's child: of that only the
//! fact is known.

use std::{
    collections::HashMap,
    io,
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::unistd::Pid;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// From the end of a process to its parent's word of how it ended, at most.
const WORD: Duration = Duration::from_millis(200);

type Status = Option<String>;

/// The exits of the last runs, by resource.
#[derive(Debug, Default)]
pub(super) struct Exits(Mutex<HashMap<String, (Pid, watch::Receiver<Status>)>>);

impl Exits {
    /// Waits in the background for the end of a process. Somebody has to, also when nobody asks.
    pub(super) fn await_end(
        &self,
        resource: &str,
        pid: Option<u32>,
        end: JoinHandle<io::Result<ExitStatus>>,
    ) {
        let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            if let Ok(Ok(status)) = end.await {
                let _ = sender.send(Some(status.to_string()));
            }
        });
        let run = (Pid::from_raw(pid), receiver);
        self.runs().insert(resource.to_owned(), run);
    }

    /// How process `pid` of a resource, which has ended, did so, if that is known.
    pub(super) async fn of(&self, resource: &str, pid: Pid) -> Option<String> {
        let (_, mut status) = self
            .runs()
            .get(resource)
            .filter(|run| run.0 == pid)?
            .clone();
        let said = timeout(WORD, status.wait_for(Option::is_some)).await;
        said.ok()?.ok()?.clone()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, (Pid, watch::Receiver<Status>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
