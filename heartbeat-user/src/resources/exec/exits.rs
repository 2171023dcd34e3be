//! The exit statuses of programs that this agent started. An adopted program is no child of it, so
//! only its end is known.

use std::{
    collections::HashMap,
    io,
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::unistd::Pid;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// Longest time from the end of a process to its exit status from the parent.
const STATUS_WAIT: Duration = Duration::from_millis(200);

type Status = Option<String>;

/// The exits of the last runs, by resource.
#[derive(Debug, Default)]
pub(super) struct Exits(Mutex<HashMap<String, (Pid, watch::Receiver<Status>)>>);

impl Exits {
    /// Waits in the background for the end of a process, so that its status is kept until it is
    /// read.
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

    /// Returns how the ended process `pid` of a resource ended, if known.
    pub(super) async fn of(&self, resource: &str, pid: Pid) -> Option<String> {
        let (_, mut status) = self
            .runs()
            .get(resource)
            .filter(|run| run.0 == pid)?
            .clone();
        let said = timeout(STATUS_WAIT, status.wait_for(Option::is_some)).await;
        said.ok()?.ok()?.clone()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, (Pid, watch::Receiver<Status>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
