//! What a child does between fork and exec, by system calls that neither std nor nix offer.
//!
//! Everything unsafe about running programs is here.

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

/// The descriptors from this one on are not standard input, output and error.
const FIRST_OTHER_FD: libc::c_uint = 3;
/// The highest signal number.
const LAST_SIGNAL: libc::c_int = 64;
/// The kernel's `struct sigaction` that says SIG_DFL: nothing but zeros, and no longer than this.
const DEFAULT_ACTION: [u64; 4] = [0; 4];
/// The kernel's `sigset_t`, in bytes.
const SIGSET_SIZE: usize = 8;
const UMASK: libc::mode_t = 0o022;
/// What the kernel adds to a process' share of memory when it looks for one to kill, in text.
const OOM_SCORE_ADJ: &std::ffi::CStr = c"/proc/self/oom_score_adj";
/// Room for a line of /proc/PID/stat.
const STAT_ROOM: usize = 1024;

/// A file in which a child registers itself before it becomes the program: its /proc/self/stat is
/// added to what the file holds, then the file is given its name.
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

/// Lets `command` start as a daemon does: in a session of its own, which has no terminal; with
/// ordinary scheduling, default signals, no exemption from the kernel's search for memory, and no
/// descriptors but the first three. One that does not register itself is killed when we are: it
/// must not go on starting what another node is about to start. `entrance` is that of the control
/// group that it is to be in.
pub fn make_independent(
    command: &mut Command,
    entrance: Option<OwnedFd>,
    register: Option<Register>,
) {
    let prepare = move || {
        if let Some(entrance) = &entrance {
            enter_group(entrance);
        }
        independent()?;
        match &register {
            Some(register) => enter(register),
            None => end_with_parent(),
        }
    };
    // SAFETY: runs in the forked child of a process with threads, so it may only make
    // async-signal-safe calls and must not allocate: these functions make nothing but system calls,
    // on memory that was there before the fork.
    unsafe { command.pre_exec(prepare) };
}

fn independent() -> io::Result<()> {
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: none keeps a pointer; `ordinary` outlives its call.
    unsafe {
        Errno::result(libc::setsid())?;
        Errno::result(libc::sched_setscheduler(
            0,
            libc::SCHED_OTHER,
            &raw const ordinary,
        ))?;
        // To be nicer than before is always allowed; the other way needs a right, without which it
        // stays as it was.
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        // std has emptied the mask already. Not by the C library, which refuses the two that it
        // uses itself; two others the kernel refuses, and they cannot be set.
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
        // Closed by exec, not at once: std reports a failed exec through one of them.
        Errno::result(libc::syscall(
            libc::SYS_close_range,
            FIRST_OTHER_FD,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        ))?;
    }
    Ok(())
}

/// One that is refused is ended by its process group, as where there are no control groups.
fn enter_group(entrance: &OwnedFd) {
    // SAFETY: the byte outlives the call.
    unsafe { libc::write(entrance.as_raw_fd(), c"0".as_ptr().cast(), 1) };
}

/// The agent may be exempt from being killed for want of memory (`OOMScoreAdjust=`). What it runs
/// is not.
fn give_up_exemption() {
    let mut score = [0_u8; 1];
    // SAFETY: the buffers outlive the calls, and their lengths are given. Whatever fails leaves the
    // score as it is; to raise it is always allowed.
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
    // SAFETY: the buffer and the names outlive the calls; the length is the buffer's, or what was
    // read into it.
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
