//! Atomic files: each is replaced as a whole, so that a crash at any moment leaves the old file or
//! the new one.
//!
//! A disk may hang for ever. While the agent runs, only the thread of a [`Writer`] waits for the
//! disk. A thread whose progress peers can see never does, nor does a thread with a lock that such
//! a thread takes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{sync::oneshot, time::timeout};

/// Replaces the file at `path`, or makes it, readable by root only. The file is on disk when this
/// returns; on a failure nothing has changed.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let written = write(&new, bytes);
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    put(&new, path)
}

/// Renames the file `new`, which is on disk, to `path` in the same directory. The rename is on disk
/// when this returns; on a failure `new` is gone.
pub fn put(new: &Path, path: &Path) -> io::Result<()> {
    let renamed = fs::rename(new, path);
    if renamed.is_err() {
        let _ = fs::remove_file(new);
    }
    renamed?;
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Time for which a command waits for the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// Time for which an agent that ends waits for the disk.
const FAREWELL: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// One thread that writes, in the order of the jobs. All handles share the thread, which ends with
/// the last of them.
#[derive(Clone, Debug)]
pub struct Writer(Sender<Job>);

/// The result of a job.
#[derive(Debug)]
pub struct Written<T>(oneshot::Receiver<T>);

impl Writer {
    pub fn start() -> Result<Self> {
        let (jobs, inbox) = channel::<Job>();
        std::thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || inbox.into_iter().for_each(|job| job()))
            .context("could not start the thread that writes the state directory")?;
        Ok(Self(jobs))
    }

    /// Runs `job` in the thread, after all earlier jobs. The job runs whether a caller waits for it
    /// or not.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Written<T> {
        let (done, written) = oneshot::channel();
        // The thread ends after the last handle. The caller may have dropped the receiver.
        let _ = self.0.send(Box::new(move || drop(done.send(job()))));
        Written(written)
    }

    /// Waits until all earlier jobs are done, for as long as an agent that ends may wait for its
    /// disk.
    pub fn finish(&self) {
        let (done, written) = channel();
        drop(self.run(move || done.send(())));
        if written.recv_timeout(FAREWELL).is_err() {
            log::warn!(
                "the disk does not respond: the last decisions of other nodes may not be saved here"
            );
        }
    }
}

impl<T: Send + 'static> Written<Result<T>> {
    /// Calls `next` once the job has succeeded, whether a caller waits for it or not. Must be
    /// called inside a tokio runtime.
    pub fn then(self, next: impl FnOnce() + Send + 'static) -> Self {
        let (done, written) = oneshot::channel();
        tokio::spawn(async move {
            if let Ok(result) = self.0.await {
                let result = result.inspect(|_| next());
                // The receiver may be gone.
                let _ = done.send(result);
            }
        });
        Self(written)
    }

    /// Waits for the job as long as a command may wait for the disk.
    pub async fn in_time(self) -> Result<T> {
        match timeout(PATIENCE, self.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => anyhow::bail!("the thread that writes the state directory has ended"),
            Err(_) => anyhow::bail!(
                "not written to the state directory within {} s: the disk may be slow, or hang. \
                The command takes effect once it is written; until then nothing has changed",
                PATIENCE.as_secs()
            ),
        }
    }

    /// Waits for the job without a limit. No task of the agent may call this.
    pub fn wait(self) -> Result<T> {
        self.0.blocking_recv()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::Read as _;
    use nix::{
        sys::{
            signal::{Signal, kill},
            wait::waitpid,
        },
        unistd::{ForkResult, fork},
    };

    #[test]
    fn jobs_are_done_in_order_whether_anybody_waits_or_not() {
        let writer = Writer::start().unwrap();
        let (seen, order) = channel();
        for number in 0..100 {
            let seen = seen.clone();
            drop(writer.run(move || seen.send(number).unwrap()));
        }
        let last: Written<Result<i32>> = writer.run(|| Ok(7));
        assert_eq!(last.wait().unwrap(), 7);
        assert_eq!(
            order.try_iter().collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }

    #[test]
    fn writer_that_is_killed_at_any_moment_leaves_a_readable_file() {
        let dir = std::env::temp_dir().join(format!("heartbeat-killed-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("file");
        let texts = ["a".repeat(10_000), "b".repeat(5_000)];
        replace(&path, texts[0].as_bytes()).unwrap();
        let new = path.with_extension("new");
        for round in 1..=20 {
            let (mut told, mut tell) = io::pipe().unwrap();
            // SAFETY: the child writes files and its end of the pipe until it is killed. The child
            // allocates nothing, so it needs no lock that another thread of this process may have
            // held.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => loop {
                    for text in &texts {
                        let _ = write(&new, text.as_bytes()).and_then(|()| fs::rename(&new, &path));
                        let _ = tell.write(b".");
                    }
                },
                ForkResult::Parent { child } => {
                    told.read_exact(&mut vec![0; round]).unwrap();
                    kill(child, Signal::SIGKILL).unwrap();
                    waitpid(child, None).unwrap();
                    let read = fs::read_to_string(&path).unwrap();
                    assert!(texts.contains(&read), "{} bytes", read.len());
                }
            }
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn failed_write_leaves_the_old_file_alone() {
        let dir = std::env::temp_dir().join(format!("heartbeat-durable-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("file");
        replace(&path, b"old").unwrap();
        // /dev/full behaves like a full disk.
        std::os::unix::fs::symlink("/dev/full", path.with_extension("new")).unwrap();
        let error = replace(&path, b"new").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::remove_dir_all(dir).unwrap();
    }
}
