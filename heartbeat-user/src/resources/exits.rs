//! Lets many wait for the ends of processes that the kernel program tells.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use super::watch::{self, Process};
use crate::dataplane::{ProcessExits, WatchError};

/// Who waits for the end of a process, and how to tell.
type Asked = (Process, oneshot::Sender<()>);

/// A handle for those who wait. The task behind it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Watcher {
    asked: mpsc::UnboundedSender<Asked>,
}

impl Watcher {
    /// Must be called inside a tokio runtime.
    pub fn start(exits: ProcessExits) -> Self {
        let (asked, inbox) = mpsc::unbounded_channel();
        tokio::spawn(serve(exits, inbox));
        Self { asked }
    }

    /// Ends when nothing is left of `process` but what its parent has to reap. Fails only if the kernel lets
    /// it not be watched.
    pub(super) async fn end(&self, process: Process) -> std::io::Result<()> {
        let (told, end) = oneshot::channel();
        let _ = self.asked.send((process, told));
        match end.await {
            Ok(()) => Ok(()),
            // Somebody else watches it now, or it could not be watched.
            Err(_) => watch::process_end(process).await,
        }
    }
}

async fn serve(mut exits: ProcessExits, mut inbox: mpsc::UnboundedReceiver<Asked>) {
    let mut waiting: HashMap<u32, (u32, oneshot::Sender<()>)> = HashMap::new();
    let mut token = 0_u32;
    loop {
        tokio::select! {
            asked = inbox.recv() => {
                let Some((process, told)) = asked else { return };
                let gone: Vec<u32> = waiting
                    .iter()
                    .filter(|(_, (_, told))| told.is_closed())
                    .map(|(token, _)| *token)
                    .collect();
                for token in gone {
                    if let Some((pid, _)) = waiting.remove(&token) {
                        exits.unwatch(pid);
                    }
                }
                token = token.wrapping_add(1);
                let Ok(pid) = u32::try_from(process.pid.as_raw()) else { continue };
                // Whoever waited for the same process finds another way.
                waiting.retain(|_, (other, _)| *other != pid);
                match exits.watch(pid, token) {
                    // From here on the number stays that of the process behind it: is it the one that is meant?
                    Ok(()) if process.lives() => {
                        waiting.insert(token, (pid, told));
                    }
                    Ok(()) => {
                        exits.unwatch(pid);
                        let _ = told.send(());
                    }
                    Err(WatchError::Gone { .. }) => drop(told.send(())),
                    Err(error @ WatchError::Refused { .. }) => log::warn!("{error}"),
                }
            }
            exit = exits.next() => {
                if let Some((_, told)) = waiting.remove(&exit.token) {
                    tokio::spawn(async move {
                        exit.gone().await;
                        let _ = told.send(());
                    });
                }
            }
        }
    }
}
