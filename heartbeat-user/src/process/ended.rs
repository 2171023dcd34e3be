//! How a program ended, and what is left of it.

use std::{process::ExitStatus, time::Duration};

use tokio::sync::watch;

/// The end of a program.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `None` if the program was killed because it took too long.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    /// Present if some process of the program was killed and does not end.
    pub lingers: Option<Lingers>,
}

/// Processes that were killed and wait in the kernel. Dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct Lingers(watch::Receiver<()>);

impl Lingers {
    /// Processes that have ended once `gone` ends. `gone` is dropped when nobody asks any more.
    pub(crate) fn until(gone: impl Future<Output = ()> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(());
        tokio::spawn(async move {
            tokio::select! {
                () = gone => {}
                () = sender.closed() => {}
            }
        });
        Self(receiver)
    }

    /// Waits until all of the processes have ended.
    pub async fn gone(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
