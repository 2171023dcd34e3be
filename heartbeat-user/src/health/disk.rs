//! The threads of the disk checks. The helper writes, see
//! [`write_disk`](crate::helper::write_disk).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::blocking::BlockingThread;

/// The writing threads, one for each directory: a new check of a directory uses the thread of the
/// earlier check, which may hang.
#[derive(Clone, Debug, Default)]
pub(super) struct Disks(Arc<Mutex<HashMap<PathBuf, Arc<BlockingThread>>>>);

impl Disks {
    pub(super) fn thread(&self, directory: &Path) -> Arc<BlockingThread> {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = threads.entry(directory.to_owned());
        Arc::clone(
            thread.or_insert_with(|| Arc::new(BlockingThread::new("health-disk".to_owned()))),
        )
    }

    /// Drops the threads without a check, except those that hang.
    pub(super) fn prune(&self) {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|_, thread| Arc::strong_count(thread) > 1 || thread.is_busy());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_has_one_thread() {
        let disks = Disks::default();
        let one = disks.thread(Path::new("/a"));
        assert!(Arc::ptr_eq(&one, &disks.thread(Path::new("/a"))));
        assert!(!Arc::ptr_eq(&one, &disks.thread(Path::new("/b"))));
        disks.prune();
        assert!(Arc::ptr_eq(&one, &disks.thread(Path::new("/a"))));
        drop(one);
        disks.prune();
        assert!(disks.0.lock().unwrap().is_empty());
    }
}
