//! The privileges of the agent, and their reduction to the necessary ones.
//!
//! The agent starts with all privileges, loads the programs and starts the helper. Then its only
//! thread gives up for good the privileges that are no longer needed. The privilege to request
//! real-time scheduling is given up last: only the thread of a
//! [`Granter`](super::scheduling::Granter) keeps it, until the real-time threads have their
//! policies. `docs/operate/privileges.md` has the reasons one by one.

use std::io;

use nix::{
    errno::Errno,
    sys::resource::{RLIM_INFINITY, Resource, setrlimit},
};

/// A capability of the kernel, capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    pub name: &'static str,
    /// The number in include/uapi/linux/capability.h.
    number: u32,
    /// The loss without the capability.
    lost: &'static str,
}

/// The capabilities that the agent keeps.
pub const KEPT: [Right; 3] = [
    Right {
        name: "CAP_NET_BIND_SERVICE",
        number: 10,
        lost: "the cluster's port, if it is below 1024, cannot be used",
    },
    Right {
        name: "CAP_NET_ADMIN",
        number: 12,
        lost: "nothing can be attached to interfaces, and no address added or removed",
    },
    Right {
        name: "CAP_NET_RAW",
        number: 13,
        lost: "addresses cannot be announced",
    },
];

/// The capability to lock memory beyond the limit.
const LOCKING: Right = Right {
    name: "CAP_IPC_LOCK",
    number: 14,
    lost: "memory may be paged out unless the limit on locked memory (LimitMEMLOCK) is high \
    enough",
};

/// The capability for real-time scheduling.
const SCHEDULING: Right = Right {
    name: "CAP_SYS_NICE",
    number: 23,
    lost: "there is no real-time scheduling unless the limit on it (LimitRTPRIO) allows it",
};

/// The capabilities that the agent has only until the programs are loaded and its real-time threads
/// run.
const AT_START: [Right; 5] = [
    LOCKING,
    SCHEDULING,
    Right {
        name: "CAP_SETPCAP",
        number: 8,
        lost: "the capabilities of the agent's programs cannot be limited",
    },
    Right {
        name: "CAP_PERFMON",
        number: 38,
        lost: "the kernel programs may be refused",
    },
    Right {
        name: "CAP_BPF",
        number: 39,
        lost: "the kernel programs cannot be loaded",
    },
];

/// A range with more numbers than any kernel has capabilities.
const NUMBERS: std::ops::Range<u32> = 0..64;
/// The version with two words of 32 bits each (`_LINUX_CAPABILITY_VERSION_3`).
const VERSION: u32 = 0x2008_0522;

/// The kernel's `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    /// The thread; 0 is the calling one.
    pid: i32,
}

/// The kernel's `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Logs each capability that the agent needs and does not have, in one line.
pub fn report_missing() {
    let permitted = match read() {
        Ok(words) => permitted(words),
        Err(error) => {
            log::warn!("could not read the capabilities of this process: {error}");
            return;
        }
    };
    for Right { name, number, lost } in AT_START.iter().chain(&KEPT) {
        if permitted & 1 << number == 0 {
            log::warn!("{name} is missing: {lost}");
        }
    }
}

/// Gives up all capabilities of the calling thread, and of all threads that it starts from now on.
/// Exceptions are those in [`KEPT`] and the capability for real-time scheduling, which
/// [`give_up_scheduling`] gives up. No program that the thread starts has more, not even by a
/// set-user-ID bit. A capability that cannot be given up is logged.
///
/// The process may lock memory without limit afterwards. If that limit cannot be raised, the
/// capability to lock memory is kept. Without it, a process that locks its present and future
/// memory gets no memory beyond the limit.
pub fn keep_few() {
    let kept = match allow_locking() {
        Ok(()) => kept(),
        Err(error) => {
            log::info!(
                "the limit on locked memory could not be raised ({error}): {} is kept",
                LOCKING.name
            );
            kept() | 1 << LOCKING.number
        }
    };
    log_failure("limit the capabilities of its programs", bound(kept));
    let for_now = kept | 1 << SCHEDULING.number;
    log_failure("give up unneeded capabilities", give_up(for_now));
    log_failure("set no_new_privs", renounce());
}

/// Gives up the capability for real-time scheduling, of the calling thread and of all threads that
/// it starts from now on. A thread keeps its present policy.
pub fn give_up_scheduling() {
    let given_up = give_up(!(1 << SCHEDULING.number));
    log_failure("give up CAP_SYS_NICE", given_up);
}

fn log_failure(what: &str, done: io::Result<()>) {
    if let Err(error) = done {
        log::warn!("the agent could not {what} ({error}): it keeps more rights than it needs");
    }
}

fn allow_locking() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
}

const fn kept() -> u64 {
    let mut mask = 0;
    let mut index = 0;
    while index < KEPT.len() {
        mask |= 1 << KEPT[index].number;
        index += 1;
    }
    mask
}

/// Reduces the bounding set, which limits the capabilities of every program, whoever owns it.
fn bound(kept: u64) -> io::Result<()> {
    for number in NUMBERS.filter(|number| kept & 1 << number == 0) {
        // Otherwise the kernel does not have the capability, or it is gone already.
        if control(libc::PR_CAPBSET_READ, number, 0) == Ok(1) {
            control(libc::PR_CAPBSET_DROP, number, 0)?;
        }
    }
    Ok(())
}

/// Gives up all capabilities but `kept`.
fn give_up(kept: u64) -> io::Result<()> {
    control(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as u32,
        0,
    )?;
    let permitted = permitted(read()?) & kept;
    let word = |shift: u32| Word {
        effective: (permitted >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: 0,
    };
    write([word(0), word(32)])
}

fn renounce() -> io::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    Ok(())
}

fn permitted(words: [Word; 2]) -> u64 {
    u64::from(words[0].permitted) | u64::from(words[1].permitted) << 32
}

fn control(option: libc::c_int, second: u32, third: u32) -> nix::Result<libc::c_int> {
    let zero: libc::c_ulong = 0;
    // SAFETY: no option that is used here takes a pointer.
    Errno::result(unsafe {
        libc::prctl(
            option,
            libc::c_ulong::from(second),
            libc::c_ulong::from(third),
            zero,
            zero,
        )
    })
}

fn read() -> io::Result<[Word; 2]> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut words = [Word::default(); 2];
    // SAFETY: this version of the header makes the kernel fill two words; both outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) })?;
    Ok(words)
}

fn write(words: [Word; 2]) -> io::Result<()> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    // SAFETY: as for capget; the kernel only reads the words.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn thread_that_gives_up_rights_keeps_the_few_and_so_do_its_threads() {
        thread::spawn(|| {
            let before = permitted(read().unwrap());
            keep_few();
            let with_scheduling = permitted(read().unwrap());
            let scheduling = 1 << SCHEDULING.number;
            assert_eq!(with_scheduling & scheduling, before & scheduling);
            give_up_scheduling();
            let few = before & (kept() | with_scheduling & 1 << LOCKING.number);
            assert_eq!(permitted(read().unwrap()), few);
            let later = thread::spawn(|| permitted(read().unwrap())).join();
            assert_eq!(later.unwrap(), few);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn right_to_lock_memory_goes_only_where_the_limit_is_raised() {
        thread::spawn(|| {
            let raised = allow_locking().is_ok();
            let before = permitted(read().unwrap());
            keep_few();
            let locking = 1 << LOCKING.number;
            let left = permitted(read().unwrap()) & locking;
            assert_eq!(left, if raised { 0 } else { before & locking });
        })
        .join()
        .unwrap();
    }
}
