//! System calls that neither std nor nix offers in the needed form: clock and scheduling.

use std::{fs::File, io, mem, os::fd::AsRawFd as _, time::Duration};

use heartbeat_common::time::Boottime;
use nix::{
    errno::Errno,
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep},
};

/// The present time on the clock of agents and kernel programs.
pub fn boottime() -> Boottime {
    Boottime::from_nanos(read_clock(ClockId::CLOCK_BOOTTIME).as_nanos() as u64)
}

/// The present time on the clock of the kernel's time stamps of packets, since 1970. It may be set
/// at any time.
pub fn realtime_clock() -> Duration {
    read_clock(ClockId::CLOCK_REALTIME)
}

/// Blocks until `instant`.
pub fn sleep_until(instant: Boottime) {
    let until = TimeSpec::from(Duration::from_nanos(instant.as_nanos()));
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_BOOTTIME, flags, &until) == Err(Errno::EINTR) {}
}

fn read_clock(clock: ClockId) -> Duration {
    // The call fails only for an unknown clock, and every supported kernel has these clocks.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// Puts the calling thread under SCHED_FIFO. Returns false if the system refuses.
///
/// The measuring threads have the lowest real-time priority: above ordinary load, below any agent.
pub fn realtime() -> bool {
    schedule(libc::SCHED_FIFO, 1)
}

/// Puts the calling thread under SCHED_FIFO with this priority. Returns false if the system
/// refuses.
pub fn fifo(priority: u8) -> bool {
    schedule(libc::SCHED_FIFO, priority.into())
}

/// Puts the calling thread under SCHED_IDLE. Returns false if the system refuses.
pub fn idle() -> bool {
    schedule(libc::SCHED_IDLE, 0)
}

/// Does `work` with precedence over ordinary load.
///
/// Some work takes a kernel lock that the cluster under test needs, too. A thread that is preempted
/// with it would make the cluster look slow.
pub fn urgently<R>(work: impl FnOnce() -> R) -> R {
    let urgent = realtime();
    let result = work();
    if urgent {
        schedule(libc::SCHED_OTHER, 0);
    }
    result
}

/// Sets the policy of the calling thread. Returns false if the system refuses.
fn schedule(policy: i32, priority: i32) -> bool {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 is the calling thread, and the kernel only reads the struct during the call.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}

/// The Landlock version of the kernel; `None` without Landlock (landlock_create_ruleset(2)).
pub fn landlock() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    let [no_rules, no_size]: [libc::size_t; 2] = [0; 2];
    // SAFETY: with this flag the kernel reads nothing, and answers with a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            no_rules,
            no_size,
            VERSION,
        )
    };
    u32::try_from(version).ok()
}

// From the kernel's include/uapi/linux/if_tun.h. Not in libc.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;

/// Makes a tap device with several queues in the calling thread's namespace. It lives as long as
/// the namespace (Documentation/networking/tuntap.rst of the kernel).
pub(crate) fn make_tap(name: &str) -> io::Result<()> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte stays 0, the end of the name.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request points to an `ifreq`, which the kernel reads and writes during the call.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    let on: libc::c_ulong = 1;
    // SAFETY: the argument of this request is a number.
    let kept = unsafe { libc::ioctl(device.as_raw_fd(), TUNSETPERSIST, on) };
    if kept < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A ticker on an absolute clock: a late tick does not delay later ones.
#[derive(Debug)]
pub struct Ticker {
    next: Duration,
    period: Duration,
}

impl Ticker {
    /// The first tick is one `period` from now.
    pub fn new(period: Duration) -> Self {
        Self {
            next: read_clock(ClockId::CLOCK_MONOTONIC) + period,
            period,
        }
    }

    /// Blocks until the next tick, and returns how much later than due the thread ran. Ticks that
    /// are wholly in the past are skipped.
    pub fn wait(&mut self) -> Duration {
        let until = TimeSpec::from(self.next);
        let flags = ClockNanosleepFlags::TIMER_ABSTIME;
        while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until) == Err(Errno::EINTR) {}
        let now = read_clock(ClockId::CLOCK_MONOTONIC);
        let late = now.saturating_sub(self.next);
        self.next += self.period;
        while self.next + self.period < now {
            self.next += self.period;
        }
        late
    }
}
