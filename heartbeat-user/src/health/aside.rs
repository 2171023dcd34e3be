//! Looks that may hang in the kernel, each in a thread of its own that nobody waits for.
//!
//! Not tokio's threads for what blocks: the runtime's end waits for those, and one that hangs on a dead disk
//! would hold up the agent's.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::oneshot;

use super::{Verdict, look::Looking};

type Question<T> = Box<dyn FnOnce() -> T + Send>;

/// A thread that answers questions one after the other. It starts with the first, and ends after the last one
/// that was asked before this drops.
#[derive(Debug)]
pub(super) struct Aside {
    name: String,
    /// Questions that were asked and not answered.
    open: Arc<AtomicUsize>,
    thread: Mutex<Option<mpsc::Sender<Question<()>>>>,
}

impl Aside {
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

    /// Puts a question, behind those that were asked before. Fails if there can be no thread. Dropping the future
    /// does not take it back.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send + 'static {
        let (told, answer) = oneshot::channel();
        let open = Arc::clone(&self.open);
        open.fetch_add(1, Ordering::AcqRel);
        let asked = self.send(Box::new(move || {
            let answer = question();
            open.fetch_sub(1, Ordering::AcqRel);
            let _ = told.send(answer);
        }));
        if asked.is_err() {
            self.open.fetch_sub(1, Ordering::AcqRel);
        }
        async move {
            asked?;
            answer
                .await
                .map_err(|_| "the thread that looks has panicked".to_owned())
        }
    }

    pub(super) fn look(&self, look: impl FnOnce() -> Verdict + Send + 'static) -> Looking {
        let answer = self.ask(look);
        Box::pin(async move { answer.await? })
    }

    fn send(&self, question: Question<()>) -> Result<(), String> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let question = match &*thread {
            Some(sender) => match sender.send(question) {
                Ok(()) => return Ok(()),
                // It has panicked.
                Err(mpsc::SendError(question)) => question,
            },
            None => question,
        };
        let (sender, inbox) = mpsc::channel::<Question<()>>();
        let started = thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || {
                for question in inbox {
                    question();
                }
            });
        started.map_err(|error| format!("could not start a thread to look: {error}"))?;
        let _ = sender.send(question);
        *thread = Some(sender);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_hangs_holds_up_only_those_behind_it() {
        let (aside, other) = (Aside::new("a".into()), Aside::new("b".into()));
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
    async fn a_thread_that_panicked_is_replaced() {
        let aside = Aside::new("c".into());
        let panics = aside.look(|| panic!("as the test wants it"));
        assert!(panics.await.unwrap_err().contains("panicked"));
        assert_eq!(aside.ask(|| 7).await, Ok(7));
    }
}
