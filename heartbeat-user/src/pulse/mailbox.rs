//! Messages between the pulse and threads that may be preempted for long, in order.
//!
//! The pulse must never wait for a thread that holds a lock and gets no processor. Its end
//! therefore only *tries* the lock. While another thread holds the queue, the pulse keeps its own
//! messages, and messages from others wait for the wakeup that their sender writes after the
//! unlock. The other ends may wait: a holder only moves messages.

use std::{
    collections::VecDeque,
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use anyhow::Result;
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::eventfd::{EfdFlags, EventFd},
};

/// The number of messages that fit without a memory allocation.
const ROOM: usize = 256;

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<VecDeque<T>>,
    wakeup: EventFd,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, VecDeque<T>>> {
        match self.queue.try_lock() {
            Ok(queue) => Some(queue),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn wake(&self) {
        // A write fails only if the wakeup is pending already.
        let _ = self.wakeup.write(1);
    }
}

/// The sender's end.
#[derive(Debug)]
pub struct Post<T>(Arc<Shared<T>>);

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The receiver's end.
#[derive(Debug)]
pub struct Mailbox<T>(Arc<Shared<T>>);

pub fn mailbox<T>() -> Result<(Post<T>, Mailbox<T>)> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let shared = Arc::new(Shared {
        queue: Mutex::new(VecDeque::with_capacity(ROOM)),
        wakeup: EventFd::from_flags(flags)?,
    });
    Ok((Post(Arc::clone(&shared)), Mailbox(shared)))
}

impl<T> Post<T> {
    /// Sends a message. This may wait for other senders and the receiver.
    pub fn send(&self, message: T) {
        self.0.lock().push_back(message);
        self.0.wake();
    }

    /// Sends all of `messages`, or none while another thread holds the queue. Never waits. Returns
    /// whether none is left.
    pub fn try_send(&self, messages: &mut VecDeque<T>) -> bool {
        if messages.is_empty() {
            return true;
        }
        let Some(mut queue) = self.0.try_lock() else {
            return false;
        };
        queue.append(messages);
        drop(queue);
        self.0.wake();
        true
    }
}

impl<T> Mailbox<T> {
    /// Swaps `taken`, which is empty, with the queue of all sent messages. This may wait for
    /// senders.
    pub fn take(&self, taken: &mut VecDeque<T>) {
        self.clear_wakeup();
        mem::swap(&mut *self.0.lock(), taken);
    }

    /// Does the same without waiting. While another thread holds the queue nothing is taken, and a
    /// wakeup follows.
    pub fn try_take(&self, taken: &mut VecDeque<T>) {
        self.clear_wakeup();
        if let Some(mut queue) = self.0.try_lock() {
            mem::swap(&mut *queue, taken);
        }
    }

    /// Waits for a wakeup, or until `limit` has passed.
    pub fn wait(&self, limit: Duration) {
        let mut wakeup = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        // An interruption counts as a wakeup: the queue may be empty, and the caller checks it.
        let _ = ppoll(&mut wakeup, Some(limit.into()), None);
    }

    fn clear_wakeup(&self) {
        // The count does not matter: the queue is the truth.
        let _ = self.0.wakeup.read();
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wakeup.as_fd()
    }
}

impl<T> AsRawFd for Mailbox<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.wakeup.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollTimeout, poll};

    fn is_woken<T>(mailbox: &Mailbox<T>) -> bool {
        let mut wakeup = [PollFd::new(mailbox.as_fd(), PollFlags::POLLIN)];
        poll(&mut wakeup, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn messages_come_in_the_order_in_which_they_were_sent() {
        let (post, mailbox) = mailbox().unwrap();
        let mut taken = VecDeque::new();
        post.send(1);
        assert!(post.try_send(&mut VecDeque::from([2, 3])));
        post.clone().send(4);
        assert!(is_woken(&mailbox));
        mailbox.take(&mut taken);
        assert_eq!(taken, [1, 2, 3, 4]);
        assert!(!is_woken(&mailbox));
    }

    #[test]
    fn sender_that_finds_the_queue_held_keeps_its_messages() {
        let (post, mailbox) = mailbox().unwrap();
        let mut kept = VecDeque::from([1, 2]);
        {
            let _held = post.0.lock();
            assert!(!post.try_send(&mut kept));
            assert_eq!(kept, [1, 2]);
            assert!(!is_woken(&mailbox));
        }
        assert!(post.try_send(&mut kept));
        assert!(kept.is_empty() && is_woken(&mailbox));
    }

    #[test]
    fn receiver_that_finds_the_queue_held_gets_another_wakeup() {
        let (post, mailbox) = mailbox().unwrap();
        let mut taken = VecDeque::new();
        post.send(1);
        // The state in which another sender was preempted inside `send`.
        let mut held = post.0.lock();
        mailbox.try_take(&mut taken);
        assert!(taken.is_empty());
        held.push_back(2);
        drop(held);
        post.0.wake();
        assert!(is_woken(&mailbox));
        mailbox.try_take(&mut taken);
        assert_eq!(taken, [1, 2]);
    }

    #[test]
    fn wait_ends_with_a_wakeup_and_with_its_time_limit() {
        let (post, mailbox) = mailbox().unwrap();
        mailbox.wait(Duration::from_millis(1));
        let sender = std::thread::spawn(move || post.send(7));
        let mut taken = VecDeque::new();
        while taken.is_empty() {
            mailbox.wait(Duration::from_secs(10));
            mailbox.take(&mut taken);
        }
        sender.join().unwrap();
        assert_eq!(taken, [7]);
    }
}
