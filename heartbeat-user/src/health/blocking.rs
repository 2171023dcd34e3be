//! Checks that may hang in the kernel. Each runs in a thread of its own, and nothing waits for that
//! thread's end.
//!
//! Tokio's blocking threads do not serve: the end of the runtime waits for them, so a thread that
//! hangs on a dead disk would keep the agent from ending.

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

/// Limit for open questions: one of each check, and one of each caller that is gone.
const MOST_OPEN: usize = 2 * Health::MAX_CHECKS;

/// A thread that answers questions one after the other. The thread starts with the first question.
/// Once this value is dropped, the thread ends after the last question.
#[derive(Debug)]
pub(super) struct BlockingThread {
    name: String,
    /// Number of questions without an answer yet.
    open: Arc<AtomicUsize>,
    thread: Mutex<Option<mpsc::Sender<Question>>>,
}

impl BlockingThread {
    /// The kernel keeps the first 15 bytes of the name.
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            open: Arc::default(),
            thread: Mutex::default(),
        }
    }

    /// Whether a question has no answer yet.
    pub(super) fn is_busy(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Queues a question. Fails if no thread can be started, or if too many questions wait.
    /// Dropping the future does not cancel the question.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let open = Open::count_one(&self.open);
        let asked = if open.before < MOST_OPEN {
            self.send(Box::new(move || {
                // `reply` is dropped last, even in a panic: a caller that sees it finds the
                // question closed.
                let (reply, open) = (reply, open);
                let answer = question();
                drop(open);
                let _ = reply.send(answer);
            }))
        } else {
            Err("an earlier check still hangs".to_owned())
        };
        async move {
            asked?;
            answer
                .await
                .map_err(|_| "the check has panicked".to_owned())
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
        sent.map_err(|_| "the thread of the check has ended".to_owned())
    }

    fn start(&self) -> Result<mpsc::Sender<Question>, String> {
        let (sender, inbox) = mpsc::channel::<Question>();
        let answer_all = move || {
            for question in inbox {
                // After a panic the caller sees a closed channel.
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

/// A question without an answer. It is closed even if the thread panics.
struct Open {
    count: Arc<AtomicUsize>,
    before: usize,
}

impl Open {
    fn count_one(count: &Arc<AtomicUsize>) -> Self {
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
    async fn hanging_question_blocks_only_its_own_thread() {
        let (worker, other) = (
            BlockingThread::new("a".into()),
            BlockingThread::new("b".into()),
        );
        let (go, wait) = mpsc::channel::<()>();
        let hangs = worker.ask(move || wait.recv().is_ok());
        let behind = worker.ask(thread::current);
        let other = other.ask(|| thread::current().name().map(str::to_owned));
        assert_eq!(other.await, Ok(Some("b".to_owned())));
        assert!(worker.is_busy());
        go.send(()).unwrap();
        assert_eq!(hangs.await, Ok(true));
        assert_eq!(behind.await.unwrap().name(), Some("a"));
        assert!(!worker.is_busy());
    }

    #[tokio::test]
    async fn panicking_question_alone_has_no_answer() {
        let worker = BlockingThread::new("c".into());
        let panics = worker.sample(|| panic!("as the test wants it"));
        assert!(panics.await.unwrap_err().contains("panicked"));
        assert_eq!(worker.ask(|| 7).await, Ok(7));
        assert!(!worker.is_busy());
    }

    #[tokio::test]
    async fn questions_behind_a_hanging_one_are_limited() {
        let worker = BlockingThread::new("d".into());
        let (go, wait) = mpsc::channel::<()>();
        let hangs = worker.ask(move || wait.recv().is_ok());
        let mut refused = 0;
        let mut last = None;
        for _ in 0..3 * MOST_OPEN {
            let asked = worker.ask(|| 7);
            let asked = tokio::time::timeout(std::time::Duration::ZERO, asked).await;
            refused += usize::from(matches!(asked, Ok(Err(_))));
            last = Some(asked);
        }
        assert_eq!(refused, 2 * MOST_OPEN + 1);
        let complaint = last.unwrap().unwrap().unwrap_err();
        assert!(complaint.contains("still hangs"), "{complaint}");
        go.send(()).unwrap();
        assert_eq!(hangs.await, Ok(true));
        assert_eq!(worker.ask(|| 7).await, Ok(7));
    }
}
