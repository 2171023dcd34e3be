//! Looks that may hang in the kernel, each in a thread of its own that nobody waits for.
//!
//! Not tokio's threads for what blocks: the runtime's end waits for those, and one that hangs on a dead disk
//! would hold up the agent's.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use heartbeat_common::wire::Health;
use tokio::sync::oneshot;

use super::{Sampling, Verdict};

type Question = Box<dyn FnOnce() + Send>;

/// Questions that may wait for an answer: one of each check, and those whose asker has gone.
const MOST_OPEN: usize = 2 * Health::MAX_CHECKS;

/// A thread that answers questions one after the other. It starts with the first, and ends after the last one
/// that was asked before this drops.
#[derive(Debug)]
pub(super) struct BlockingThread {
    name: String,
    /// Questions that were asked and not answered.
    open: Arc<AtomicUsize>,
    thread: Mutex<Option<mpsc::Sender<Question>>>,
}

impl BlockingThread {
    /// Of the name the kernel keeps 15 bytes.
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            open: Arc::default(),
            thread: Mutex::default(),
        }
    }

    /// Whether a question is not answered yet.
    pub(super) fn is_busy(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Puts a question, behind those that were asked before. Fails if there can be no thread, or too many wait
    /// already. Dropping the future does not take it back.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send + 'static {
        let (told, answer) = oneshot::channel();
        let open = Open::one_more(&self.open);
        let asked = if open.before < MOST_OPEN {
            self.send(Box::new(move || {
                // Whatever happens, `told` is dropped last: whoever hears finds the question closed.
                let (told, open) = (told, open);
                let answer = question();
                drop(open);
                let _ = told.send(answer);
            }))
        } else {
            Err("an earlier look still hangs".to_owned())
        };
        async move {
            asked?;
            answer.await.map_err(|_| "the look has panicked".to_owned())
        }
    }

    pub(super) fn sample(&self, sample: impl FnOnce() -> Verdict + Send + 'static) -> Sampling {
        let answer = self.ask(sample);
        Box::pin(async move { answer.await? })
    }

    fn send(&self, question: Question) -> Result<(), String> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = match &mut *thread {
            Some(running) => running,
            none => none.insert(self.start()?),
        };
        let sent = thread.send(question);
        sent.map_err(|_| "the thread that looks has ended".to_owned())
    }

    fn start(&self) -> Result<mpsc::Sender<Question>, String> {
        let (sender, inbox) = mpsc::channel::<Question>();
        let answer_all = move || {
            for question in inbox {
                // Whoever asked hears that there is no answer.
                let _ = catch_unwind(AssertUnwindSafe(question));
            }
        };
        let started = thread::Builder::new()
            .name(self.name.clone())
            .spawn(answer_all);
        started.map_err(|error| format!("could not start a thread to sample: {error}"))?;
        Ok(sender)
    }
}

/// A question that is not answered yet, even if the thread panics over it.
struct Open {
    count: Arc<AtomicUsize>,
    before: usize,
}

impl Open {
    fn one_more(count: &Arc<AtomicUsize>) -> Self {
        Self {
            count: Arc::clone(count),
            before: count.fetch_add(1, Ordering::AcqRel),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_hangs_holds_up_only_those_behind_it() {
        let (aside, other) = (
            BlockingThread::new("a".into()),
            BlockingThread::new("b".into()),
        );
        let (go, wait) = mpsc::channel::<()>();
        let hangs = aside.ask(move || wait.recv().is_ok());
        let behind = aside.ask(thread::current);
        let other = other.ask(|| thread::current().name().map(str::to_owned));
        assert_eq!(other.await, Ok(Some("b".to_owned())));
        assert!(aside.is_busy());
        go.send(()).unwrap();
        assert_eq!(hangs.await, Ok(true));
        assert_eq!(behind.await.unwrap().name(), Some("a"));
        assert!(!aside.is_busy());
    }

    #[tokio::test]
    async fn a_look_that_panics_is_the_only_one_without_an_answer() {
        let aside = BlockingThread::new("c".into());
        let panics = aside.sample(|| panic!("as the test wants it"));
        assert!(panics.await.unwrap_err().contains("panicked"));
        assert_eq!(aside.ask(|| 7).await, Ok(7));
        assert!(!aside.is_busy());
    }

    #[tokio::test]
    async fn questions_do_not_pile_up_behind_one_that_hangs() {
        let aside = BlockingThread::new("d".into());
        let (go, wait) = mpsc::channel::<()>();
        let hangs = aside.ask(move || wait.recv().is_ok());
        let mut refused = 0;
        let mut last = None;
        for _ in 0..3 * MOST_OPEN {
            let asked = aside.ask(|| 7);
            let asked = tokio::time::timeout(std::time::Duration::ZERO, asked).await;
            refused += usize::from(matches!(asked, Ok(Err(_))));
            last = Some(asked);
        }
        assert_eq!(refused, 2 * MOST_OPEN + 1);
        let complaint = last.unwrap().unwrap().unwrap_err();
        assert!(complaint.contains("still hangs"), "{complaint}");
        go.send(()).unwrap();
        assert_eq!(hangs.await, Ok(true));
        assert_eq!(aside.ask(|| 7).await, Ok(7));
    }
}
