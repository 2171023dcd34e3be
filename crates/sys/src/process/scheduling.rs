//! Requests real-time scheduling, and memory that is never paged out.

use std::{
    fmt, io,
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use heartbeat_common::units::Short;
use nix::unistd::{Pid, gettid};

/// The scheduling policies of a thread, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// SCHED_DEADLINE: `runtime` of each `period`, before every other task of the host, SCHED_FIFO
    /// 99 included.
    Deadline { runtime: Duration, period: Duration },
    /// SCHED_FIFO with this priority.
    Fifo(u8),
    /// No real-time scheduling.
    Ordinary,
}

/// A policy that the kernel refused, and the reason.
#[derive(Debug)]
pub struct Refusal {
    pub policy: &'static str,
    pub error: io::Error,
}

/// The policy of a thread, and the stronger ones that the kernel refused before.
#[derive(Debug)]
pub struct Granted {
    pub scheduling: Scheduling,
    pub refusals: Vec<Refusal>,
}

/// The share of a CPU that a thread reserves: `runtime` of each `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub runtime: Duration,
    pub period: Duration,
}

/// The longest useful period: a thread that wakes for a vote must not wait until an exhausted
/// budget is refilled.
const LONGEST_PERIOD: Duration = Duration::from_millis(100);
/// The kernel's own lower bound of a period is 100 us (`sched_deadline_period_min_us`).
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

impl Reservation {
    /// One part in `share` of a period. The period is `interval`, or the nearest useful value.
    pub fn share(interval: Duration, share: u32) -> Self {
        let period = interval.clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        Self {
            runtime: period / share,
            period,
        }
    }
}

/// A thread that requests policies on behalf of other threads. It keeps the capability
/// (CAP_SYS_NICE) as long as a handle lives, while all other threads give the capability up.
#[derive(Clone, Debug)]
pub struct Granter(Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Granter {
    /// Starts the thread, with the capabilities of the caller.
    pub fn start() -> io::Result<Self> {
        let (jobs, inbox) = channel::<Job>();
        std::thread::Builder::new()
            .name("granter".to_owned())
            .spawn(move || {
                // Real-time threads wait for this thread, on a machine that may be busy.
                let _urgency = Urgency::begin();
                inbox.into_iter().for_each(|job| job());
            })?;
        Ok(Self(jobs))
    }

    /// Schedules the calling thread before all others: by SCHED_DEADLINE, or else by SCHED_FIFO
    /// with `priority`. The threads and processes that it starts are scheduled as usual. A refusal
    /// leaves the thread as it was.
    pub fn ask(&self, reservation: Reservation, priority: u8) -> Granted {
        let thread = gettid();
        self.have(move || grant(thread, reservation, priority))
            .unwrap_or_else(|| grant(thread, reservation, priority))
    }

    /// Gives the calling thread SCHED_FIFO with `priority`. The threads and processes that it
    /// starts are scheduled as usual.
    pub fn fifo(&self, priority: u8) -> io::Result<()> {
        let thread = gettid();
        self.have(move || set_fifo(thread, priority))
            .unwrap_or_else(|| set_fifo(thread, priority))
    }

    /// The result of `work`; nothing if the thread is gone.
    fn have<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, answer) = channel();
        self.0
            .send(Box::new(move || drop(done.send(work()))))
            .ok()?;
        answer.recv().ok()
    }
}

/// Gives a thread the strongest policy that the kernel grants.
fn grant(thread: Pid, reservation: Reservation, priority: u8) -> Granted {
    let mut refusals = Vec::new();
    let Reservation { runtime, period } = reservation;
    match set_deadline(thread, reservation) {
        Ok(()) => {
            let scheduling = Scheduling::Deadline { runtime, period };
            return Granted {
                scheduling,
                refusals,
            };
        }
        Err(error) => refusals.push(Refusal {
            policy: "SCHED_DEADLINE",
            error,
        }),
    }
    let scheduling = match set_fifo(thread, priority) {
        Ok(()) => Scheduling::Fifo(priority),
        Err(error) => {
            refusals.push(Refusal {
                policy: "SCHED_FIFO",
                error,
            });
            Scheduling::Ordinary
        }
    };
    Granted {
        scheduling,
        refusals,
    }
}

impl Scheduling {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline { .. } => "deadline",
            Self::Fifo(_) => "fifo",
            Self::Ordinary => "other",
        }
    }

    /// SCHED_FIFO priority; 0 by another policy.
    pub const fn priority(self) -> u8 {
        match self {
            Self::Fifo(priority) => priority,
            _ => 0,
        }
    }

    /// Runtime and period of SCHED_DEADLINE; zero by another policy.
    pub const fn reserved(self) -> (Duration, Duration) {
        match self {
            Self::Deadline { runtime, period } => (runtime, period),
            _ => (Duration::ZERO, Duration::ZERO),
        }
    }
}

impl Granted {
    /// The reasons why the kernel refused the stronger policies; empty if it refused none.
    pub fn reason(&self) -> String {
        let words = self.refusals.iter().map(ToString::to_string);
        words.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, error } = self;
        write!(f, "{policy} refused: ")?;
        match error.raw_os_error() {
            Some(libc::EBUSY) => f.write_str(
                "other SCHED_DEADLINE tasks have reserved what the kernel admits \
                 (sched_rt_runtime_us)",
            ),
            Some(libc::EPERM) => f.write_str(
                "not permitted (CAP_SYS_NICE is missing, or a cpuset, an isolated processor or an \
                affinity confines the agent to some processors)",
            ),
            _ => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline { runtime, period } => write!(
                f,
                "SCHED_DEADLINE, {} of each {}",
                Short(*runtime),
                Short(*period)
            ),
            Self::Fifo(priority) => write!(f, "SCHED_FIFO {priority}"),
            Self::Ordinary => f.write_str("ordinary scheduling"),
        }
    }
}

/// Gives a thread SCHED_DEADLINE. Its children start without it. If no other task has reserved the
/// rest of a CPU, the thread may use that, too (`SCHED_FLAG_RECLAIM`): a round that takes longer
/// than reserved is not cut off.
fn set_deadline(thread: Pid, reservation: Reservation) -> io::Result<()> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_DEADLINE as u32,
        sched_flags: (libc::SCHED_FLAG_RESET_ON_FORK | libc::SCHED_FLAG_RECLAIM) as u64,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: nanos(reservation.runtime),
        sched_deadline: nanos(reservation.period),
        sched_period: nanos(reservation.period),
    };
    let no_flags: libc::c_uint = 0;
    // SAFETY: the kernel only reads the attributes, which outlive the call and contain their size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            thread.as_raw(),
            &raw const attributes,
            no_flags,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives a thread SCHED_FIFO with `priority`. Its children start without it.
fn set_fifo(thread: Pid, priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority.into(),
    };
    // SAFETY: the parameters outlive the call.
    let result = unsafe {
        libc::sched_setscheduler(
            thread.as_raw(),
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
    // On fault: locking ahead would fill every thread's whole stack. SAFETY: takes no pointer.
    let result =
        unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A guard value during whose life the calling thread runs before all that is not real-time, if the
/// kernel allows it. Its children are scheduled as usual.
#[derive(Debug)]
pub struct Urgency(());

impl Urgency {
    pub fn begin() -> Self {
        // A thread without the right continues as before: the pulse reports that.
        let _ = set_fifo(gettid(), 1);
        Self(())
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        let parameters = libc::sched_param { sched_priority: 0 };
        // Clearing the flag would need a right that the thread may have given up by now.
        let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
        // SAFETY: as above. The call needs no privilege.
        unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::privileges;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn refusal_says_the_policy_and_what_stands_in_its_way() {
        let said = |code| {
            let refusal = Refusal {
                policy: "SCHED_DEADLINE",
                error: io::Error::from_raw_os_error(code),
            };
            refusal.to_string()
        };
        assert!(
            said(libc::EBUSY).starts_with("SCHED_DEADLINE refused: other SCHED_DEADLINE tasks")
        );
        assert!(said(libc::EPERM).contains("a cpuset"));
        assert!(said(libc::ENOSYS).contains("os error 38"));
    }

    /// The policy of the calling thread.
    fn policy() -> libc::c_int {
        // SAFETY: takes no pointer; thread id 0 is the caller.
        let policy = unsafe { libc::sched_getscheduler(0) };
        policy & !libc::SCHED_RESET_ON_FORK
    }

    #[test]
    fn thread_without_the_right_is_granted_what_the_granter_may() {
        let thread = std::thread::spawn(|| {
            let granter = Granter::start().unwrap();
            let may = granter.have(|| set_fifo(gettid(), 2)).unwrap().is_ok();
            privileges::keep_few();
            let urgency = Urgency::begin();
            privileges::give_up_scheduling();
            // The policy is reset without the right.
            drop(urgency);
            assert_eq!(policy(), libc::SCHED_OTHER);
            // Where the user's RLIMIT_RTPRIO allows it, the request succeeds.
            let alone = set_fifo(gettid(), 59).is_ok();
            let granted = granter.fifo(59).is_ok();
            assert_eq!(granted, may || alone);
            assert_eq!(policy() == libc::SCHED_FIFO, granted);
        });
        thread.join().unwrap();
    }

    #[test]
    fn thread_that_asks_gets_a_policy_or_a_reason_for_each_refusal() {
        let granter = Granter::start().unwrap();
        let asker = std::thread::spawn(move || {
            let granted = granter.ask(Reservation::share(10 * MS, 5), 60);
            (granted, policy())
        });
        let (granted, policy) = asker.join().unwrap();
        let (wanted, refusals) = match granted.scheduling {
            Scheduling::Deadline { .. } => (libc::SCHED_DEADLINE, 0),
            Scheduling::Fifo(60) => (libc::SCHED_FIFO, 1),
            Scheduling::Ordinary => (libc::SCHED_OTHER, 2),
            other => panic!("{other:?}"),
        };
        // The tests themselves may run under another policy than SCHED_OTHER.
        assert!(policy == wanted || refusals == 2, "{policy} {granted:?}");
        assert_eq!(granted.refusals.len(), refusals, "{granted:?}");
    }
}
