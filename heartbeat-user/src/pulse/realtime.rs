//! Asks the kernel for punctuality: real-time scheduling and memory that is never paged out.

use std::io;

/// Makes the calling thread SCHED_FIFO with `priority`. Its children start without it.
pub fn set_fifo(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority.into(),
    };
    // SAFETY: the parameters outlive the call; thread id 0 is the caller.
    let result = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const parameters,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Keeps all memory of this process, present and future, in RAM once it has been touched.
pub fn lock_memory() -> io::Result<()> {
    // On fault: locking ahead would fill every thread's whole stack.
    // SAFETY: takes no pointer.
    let result =
        unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The calling thread goes before all that is not real-time for as long as this lives, if the kernel allows
/// it; its children do not.
#[derive(Debug)]
pub struct Urgency(());

impl Urgency {
    pub fn begin() -> Self {
        // Who may not goes on as before: the pulse tells of it.
        let _ = set_fifo(1);
        Self(())
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: as above. It takes nothing that has to be granted.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameters) };
    }
}
