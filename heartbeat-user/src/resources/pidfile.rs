//! Waits for the end of the process that a pidfile names.

use std::{io, path::PathBuf, time::Duration};

use super::exits::Watcher;
use crate::{
    helper,
    process::{Process, process_end},
};

/// Interval of the reads while a pidfile names no process.
const POLL: Duration = Duration::from_millis(500);

/// Ends when the process of the file has ended and the file names no other live one.
///
/// Also waits for a missing file: daemons write theirs some time after their start.
pub(super) async fn end_of(path: PathBuf, watcher: Option<&Watcher>) -> io::Result<()> {
    let mut process = loop {
        match named(path.clone()).await {
            Some(process) => break process,
            None => tokio::time::sleep(POLL).await,
        }
    };
    loop {
        match watcher {
            Some(watcher) => watcher.end(process).await?,
            None => process_end(process).await?,
        }
        match named(path.clone()).await {
            Some(other) if other != process => process = other,
            _ => return Ok(()),
        }
    }
}

/// Returns the process of a pidfile, if it lives. The file's disk may hang.
async fn named(path: PathBuf) -> Option<Process> {
    let read = tokio::task::spawn_blocking(move || helper::read_pidfile(&path));
    read.await.ok()?.ok()?.and_then(Process::find)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;
    use std::{
        fs,
        process::{Child, Command},
    };

    use crate::process::read_pidfile;

    const PATIENCE: Duration = Duration::from_secs(20);
    const A_WHILE: Duration = Duration::from_millis(200);

    fn sleeper() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::find(Pid::from_raw(child.id() as i32)).unwrap();
        (child, process)
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn missing_pidfile_is_awaited_and_a_changed_one_followed() {
        let path = std::env::temp_dir().join(format!("heartbeat-pidfile-{}", std::process::id()));
        let mut watching = Box::pin(end_of(path.clone(), None));
        // The file does not exist yet.
        let early = tokio::time::timeout(A_WHILE, &mut watching).await;
        assert!(early.is_err(), "{early:?} before there is a file");
        let (first, one) = sleeper();
        let (second, other) = sleeper();
        fs::write(&path, format!("{}\nmore\n", one.pid)).unwrap();
        assert_eq!(read_pidfile(&path).unwrap(), Some(one.pid));
        let early = tokio::time::timeout(POLL + A_WHILE, &mut watching).await;
        assert!(early.is_err(), "{early:?} while the first lives");
        // The daemon was restarted: by the end of the first process the file names another.
        fs::write(&path, format!("{}\n", other.pid)).unwrap();
        end(first);
        let early = tokio::time::timeout(A_WHILE, &mut watching).await;
        assert!(early.is_err(), "{early:?} while the second lives");
        end(second);
        let watched = tokio::time::timeout(PATIENCE, watching).await;
        fs::remove_file(&path).unwrap();
        watched.expect("the end is noticed").unwrap();
    }
}
