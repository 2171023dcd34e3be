//! The steps of a child between fork and exec, by system calls that neither std nor nix offer.
//!
//! Everything unsafe about starting programs is here.

use std::{
    ffi::CString,
    fs::OpenOptions,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::Path,
    process::Command,
};

use nix::errno::Errno;

/// The descriptors from this one on are neither standard input, nor output, nor error.
const FIRST_OTHER_FD: libc::c_uint = 3;
/// The highest signal number.
const LAST_SIGNAL: libc::c_int = 64;
/// The kernel's `struct sigaction` for SIG_DFL: nothing but zeros, and no longer than this.
const DEFAULT_ACTION: [u64; 4] = [0; 4];
/// The kernel's `sigset_t`, in bytes.
const SIGSET_SIZE: usize = 8;
const UMASK: libc::mode_t = 0o022;
/// The file with the OOM score adjustment of a process. The kernel adds it to the process' share of
/// memory when it chooses a process to kill.
const OOM_SCORE_ADJ: &std::ffi::CStr = c"/proc/self/oom_score_adj";
/// Room for a line of /proc/PID/stat.
const STAT_ROOM: usize = 1024;

/// A file in which a child registers itself before it executes the program. The child appends its
/// /proc/self/stat to the file, then renames the file to its final name.
#[derive(Debug)]
pub struct Register {
    file: OwnedFd,
    from: CString,
    to: CString,
}

impl Register {
    pub fn open(from: &Path, to: &Path) -> io::Result<Self> {
        let name = |path: &Path| CString::new(path.as_os_str().as_bytes());
        Ok(Self {
            file: OpenOptions::new().append(true).open(from)?.into(),
            from: name(from)?,
            to: name(to)?,
        })
    }
}

/// The user, the groups and the limits that a child sets last, when no further step needs root's
/// rights.
#[derive(Clone, Debug, Default)]
pub struct Confines {
    pub identity: Option<Identity>,
    pub limits: Vec<Limit>,
}

/// The user and the groups of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: libc::uid_t,
    pub group: libc::gid_t,
    /// The supplementary groups.
    pub groups: Vec<libc::gid_t>,
}

/// A limit of setrlimit(2), the soft and the hard one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_…`
    pub resource: libc::c_int,
    /// The value; `None` means no limit.
    pub value: Option<u64>,
}

/// The steps that may fail in a child. The child can return only a number: the number of the error,
/// and in its upper half the index of the step.
const STEPS: [&str; 4] = [
    "set a limit",
    "take on its group",
    "take on its groups",
    "become its user",
];
const STEP_SHIFT: i32 = 16;

/// Describes the error of a spawn, if the child could not apply its [`Confines`]; otherwise returns
/// the error unchanged.
pub fn spawn_error(error: io::Error) -> io::Error {
    let code = error.raw_os_error().unwrap_or(0);
    let step = usize::try_from((code >> STEP_SHIFT) - 1).ok();
    match step.and_then(|step| STEPS.get(step)) {
        Some(step) => {
            let cause = io::Error::from_raw_os_error(code & ((1 << STEP_SHIFT) - 1));
            io::Error::other(format!("the new process could not {step}: {cause}"))
        }
        None => error,
    }
}

/// Makes `command` start like a daemon: in a session of its own without a terminal, with ordinary
/// scheduling, default signals, no exemption from the OOM killer, and only the first three
/// descriptors. A child that does not register itself is killed when this process ends: otherwise
/// it could start something that another node is about to start. `entrance` is the entrance of the
/// child's control group. The `confines` are applied after all of that.
pub fn make_independent(
    command: &mut Command,
    entrance: Option<OwnedFd>,
    register: Option<Register>,
    confines: Confines,
) {
    let prepare = move || {
        if let Some(entrance) = &entrance {
            enter_group(entrance);
        }
        independent()?;
        if let Some(register) = &register {
            enter(register)?;
        }
        confine(&confines)?;
        // The kernel resets this setting with a change of user.
        match &register {
            Some(_) => Ok(()),
            None => end_with_parent(),
        }
    };
    // SAFETY: runs in the forked child of a process with threads, so it may only make
    // async-signal-safe calls and must not allocate. These functions only make system calls, on
    // memory from before the fork.
    unsafe { command.pre_exec(prepare) };
}

fn independent() -> io::Result<()> {
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: no call keeps a pointer; `ordinary` outlives its call.
    unsafe {
        Errno::result(libc::setsid())?;
        Errno::result(libc::sched_setscheduler(
            0,
            libc::SCHED_OTHER,
            &raw const ordinary,
        ))?;
        // A higher nice value is always allowed. A lower one needs a right; without it the value
        // stays.
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        // std has emptied the mask already. The C library refuses the two signals that it uses
        // itself, so this is a system call. The kernel refuses two others, which cannot be set.
        for signal in 1..=LAST_SIGNAL {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT_ACTION.as_ptr(),
                std::ptr::null_mut::<libc::c_void>(),
                SIGSET_SIZE,
            );
        }
        libc::umask(UMASK);
        give_up_exemption();
        // The descriptors are closed by exec, not at once: std reports a failed exec through one of
        // them.
        Errno::result(libc::syscall(
            libc::SYS_close_range,
            FIRST_OTHER_FD,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        ))?;
    }
    Ok(())
}

/// Sets the limits, which may be above root's own, and then, for good, the identity.
fn confine(confines: &Confines) -> io::Result<()> {
    for Limit { resource, value } in &confines.limits {
        let value = value.unwrap_or(libc::RLIM64_INFINITY);
        let limit = libc::rlimit64 {
            rlim_cur: value,
            rlim_max: value,
        };
        let resource = *resource;
        // SAFETY: the limit outlives the call, and the old one is not requested; process 0 is the
        // caller. The first argument of the C library's function differs between libraries, so this
        // is a system call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_prlimit64,
                0,
                resource,
                &raw const limit,
                std::ptr::null_mut::<libc::rlimit64>(),
            )
        };
        step(0, result)?;
    }
    let Some(identity) = &confines.identity else {
        return Ok(());
    };
    // SAFETY: the list outlives its call, and its length is given. There is one thread, so that the
    // system calls change the whole process. The C library would signal the threads that the parent
    // had.
    unsafe {
        step(1, libc::syscall(libc::SYS_setgid, identity.group))?;
        let groups = identity.groups.as_ptr();
        step(
            2,
            libc::syscall(libc::SYS_setgroups, identity.groups.len(), groups),
        )?;
        step(3, libc::syscall(libc::SYS_setuid, identity.user))
    }
}

/// The result of the step with this index in [`STEPS`].
fn step(index: i32, result: libc::c_long) -> io::Result<()> {
    if result >= 0 {
        return Ok(());
    }
    let code = Errno::last_raw() | (index + 1) << STEP_SHIFT;
    Err(io::Error::from_raw_os_error(code))
}

/// Enters the control group. A child that is refused is ended by its process group, as on hosts
/// without control groups.
fn enter_group(entrance: &OwnedFd) {
    // SAFETY: the byte outlives the call.
    unsafe { libc::write(entrance.as_raw_fd(), c"0".as_ptr().cast(), 1) };
}

/// Ends the exemption from the OOM killer, which the agent may have (`OOMScoreAdjust=`) and its
/// programs must not.
fn give_up_exemption() {
    let mut score = [0_u8; 1];
    // SAFETY: the buffers outlive the calls, and their lengths are given. A failure leaves the
    // score as it is; a higher score is always allowed.
    unsafe {
        let file = libc::open(OOM_SCORE_ADJ.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if libc::read(file, score.as_mut_ptr().cast(), 1) == 1 && score == *b"-" {
            libc::pwrite(file, b"0".as_ptr().cast(), 1, 0);
        }
        libc::close(file);
    }
}

fn end_with_parent() -> io::Result<()> {
    // SAFETY: takes no pointer.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    Ok(())
}

fn enter(register: &Register) -> io::Result<()> {
    let mut stat = [0_u8; STAT_ROOM];
    // SAFETY: the buffer and the names outlive the calls; the length is the buffer's, or the number
    // of bytes that were read into it.
    unsafe {
        let own = Errno::result(libc::open(
            c"/proc/self/stat".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        ))?;
        let read = Errno::result(libc::read(own, stat.as_mut_ptr().cast(), stat.len()))?;
        Errno::result(libc::write(
            register.file.as_raw_fd(),
            stat.as_ptr().cast(),
            read.unsigned_abs(),
        ))?;
        Errno::result(libc::rename(register.from.as_ptr(), register.to.as_ptr()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// The output of a shell with these confines.
    fn said(script: &str, confines: Confines) -> io::Result<String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        make_independent(&mut command, None, None, confines);
        let output = command.output().map_err(spawn_error)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    #[test]
    fn child_with_an_identity_has_it_and_no_other() {
        if !is_root() {
            eprintln!("skipped: only root can take on another identity");
            return;
        }
        let identity = Identity {
            user: 65_533,
            group: 65_532,
            groups: vec![65_532, 65_531],
        };
        let confines = Confines {
            identity: Some(identity),
            limits: Vec::new(),
        };
        let script =
            "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm):' /proc/self/status | tr -s ' \t' ' '";
        let status = said(script, confines.clone()).unwrap();
        for line in [
            "Uid: 65533 65533 65533 65533",
            "Gid: 65532 65532 65532 65532",
            "Groups: 65531 65532",
            "CapPrm: 0000000000000000",
            "CapEff: 0000000000000000",
        ] {
            assert!(status.contains(line), "no `{line}` in {status}");
        }
    }

    #[test]
    fn child_with_another_user_still_ends_with_its_parent() {
        if !is_root() {
            eprintln!("skipped: only root can take on another identity");
            return;
        }
        let identity = Identity {
            user: 65_533,
            group: 65_533,
            groups: Vec::new(),
        };
        let confines = Confines {
            identity: Some(identity),
            limits: Vec::new(),
        };
        // The thread that forked is the parent: the kernel kills the child when that thread ends.
        let mut command = Command::new("/bin/sleep");
        command.arg("600");
        make_independent(&mut command, None, None, confines);
        let parent = std::thread::spawn(move || command.spawn().unwrap());
        let status = parent.join().unwrap().wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGKILL));
    }

    #[test]
    fn child_with_limits_has_them_soft_and_hard() {
        let limit = |resource: u32, value| Limit {
            resource: resource as libc::c_int,
            value,
        };
        let confines = Confines {
            identity: None,
            limits: vec![
                limit(libc::RLIMIT_NOFILE, Some(77)),
                limit(libc::RLIMIT_CORE, Some(4096)),
            ],
        };
        let limits = said("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc", confines);
        // The shell shows the core limit in blocks of 512 bytes.
        assert_eq!(limits.unwrap(), "77\n77\n8\n8");
    }

    #[test]
    fn limit_that_the_kernel_refuses_is_told_apart_from_a_program_that_is_not_there() {
        let no_such_limit = Limit {
            resource: 99,
            value: Some(1),
        };
        let confines = Confines {
            identity: None,
            limits: vec![no_such_limit],
        };
        let error = said("true", confines).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        let text = error.to_string();
        assert!(
            text.contains("could not set a limit: Invalid argument"),
            "{text}"
        );
        let missing = spawn_error(io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
