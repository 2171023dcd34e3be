//! The end of a program, and processes that remain.

use std::{process::ExitStatus, time::Duration};

use tokio::sync::watch;

/// The end of a program.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit status; `None` if the program was killed because it took too long.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    /// Present if a process of the program was killed and has not ended.
    pub lingers: Option<Lingers>,
}

/// Killed processes that still wait in the kernel. Dropping this value changes nothing.
#[derive(Clone, Debug)]
pub struct Lingers(watch::Receiver<()>);

impl Lingers {
    /// Creates the value for processes that have ended once `gone` ends. `gone` is dropped with the
    /// last reader.
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
