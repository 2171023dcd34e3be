//! The filter of system calls (seccomp(2)).
//!
//! The filter is a deny list. An allow list would have to name each call that the C library, tokio
//! or a later release of either makes, and a missing call would cause a failover.

use std::io;

use nix::errno::Errno;

/// `AUDIT_ARCH_…` of include/uapi/linux/audit.h for the architectures where `clone` takes its flags
/// first.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// The bit that marks a call of the x32 interface on x86_64: such a call has another number.
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data` of include/uapi/linux/seccomp.h, all three 32 bits long. The
/// offset of the first argument is that of its lower half on a little-endian machine.
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCHITECTURE: u32 = 4;
    pub(super) const FIRST_ARGUMENT: u32 = 16;
}

/// The calls that no thread of the agent makes once its programs are loaded.
const DENIED: &[libc::c_long] = &[
    // Starts of programs: the helper starts them.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Access to other processes: their memory, their files.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Changes of mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    // Access to files without a path, which Landlock would not check.
    libc::SYS_open_by_handle_at,
    // Changes of the host as a whole.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Parts of the kernel that exploits often use, and that the agent does not need.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    // Calls that the kernel carries out without the filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Denied calls that only one architecture has.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

/// The flags of `clone` that make a namespace.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const IF_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;

/// Denies the calls to the calling thread, and to all threads that it starts from now on. The
/// thread must have `no_new_privs` or CAP_SYS_ADMIN.
pub(super) fn deny(audit: bool) -> Result<(), String> {
    let architecture = ARCHITECTURE.ok_or("there is no filter for this architecture".to_owned())?;
    let mut filter = filter(architecture);
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|error| error.to_string())?,
        filter: filter.as_mut_ptr(),
    };
    let flags = if audit {
        libc::SECCOMP_FILTER_FLAG_LOG
    } else {
        0
    };
    // SAFETY: the kernel copies the program, of the given length, before the call returns.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })
    .map(drop)
    .map_err(|errno| io::Error::from(errno).to_string())
}

fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

fn answer(with: u32) -> libc::sock_filter {
    step(libc::BPF_RET | libc::BPF_K, 0, 0, with)
}

/// The classic BPF program that the kernel runs for each call.
fn filter(architecture: u32) -> Vec<libc::sock_filter> {
    let fail = |errno: libc::c_int| answer(libc::SECCOMP_RET_ERRNO | errno as u32);
    let refused = || fail(libc::EPERM);
    let mut program = vec![
        step(LOAD, 0, 0, offset::ARCHITECTURE),
        step(IF_EQUAL, 1, 0, architecture),
        refused(),
        step(LOAD, 0, 0, offset::NUMBER),
    ];
    if cfg!(target_arch = "x86_64") {
        program.extend([step(IF_AT_LEAST, 0, 1, X32), refused()]);
    }
    for number in DENIED.iter().chain(DENIED_HERE) {
        program.extend([step(IF_EQUAL, 0, 1, *number as u32), refused()]);
    }
    program.extend([
        // The flags of `clone3` are in memory, which a filter cannot read. The C library falls back
        // to `clone`.
        step(IF_EQUAL, 0, 1, libc::SYS_clone3 as u32),
        fail(libc::ENOSYS),
        step(IF_EQUAL, 1, 0, libc::SYS_clone as u32),
        answer(libc::SECCOMP_RET_ALLOW),
        step(LOAD, 0, 0, offset::FIRST_ARGUMENT),
        step(IF_ANY_BIT, 0, 1, NAMESPACES as u32),
        refused(),
        // The call starts a thread, not a process.
        step(IF_ANY_BIT, 0, 1, libc::CLONE_THREAD as u32),
        answer(libc::SECCOMP_RET_ALLOW),
        refused(),
    ]);
    program
}

#[cfg(test)]
mod tests {
    use std::{process::Command, ptr, thread};

    use nix::{
        sched::{CloneFlags, unshare},
        sys::prctl,
    };

    use super::*;

    /// Runs `work` in a filtered thread. No other thread is filtered.
    fn filtered<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(|| {
            prctl::set_no_new_privs().unwrap();
            deny(false).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    fn call(number: libc::c_long) -> Errno {
        let [no, zero]: [libc::c_ulong; 2] = [0; 2];
        // SAFETY: with a null pointer, each call of the list can only fail.
        let result = unsafe { libc::syscall(number, no, zero, zero, zero, zero, zero) };
        Errno::result(result).unwrap_err()
    }

    #[test]
    fn thread_that_is_filtered_starts_no_program_and_no_process() {
        filtered(|| {
            let nowhere = c"/nowhere/at-all";
            let none: [*const libc::c_char; 1] = [ptr::null()];
            // SAFETY: the path ends in a zero byte, the lists in a null pointer.
            let result = unsafe { libc::execve(nowhere.as_ptr(), none.as_ptr(), none.as_ptr()) };
            // Without the filter the error would be ENOENT.
            assert_eq!(Errno::result(result), Err(Errno::EPERM));
            let error = Command::new("true").spawn().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        });
    }

    #[test]
    fn thread_that_is_filtered_starts_threads_which_are_filtered_too() {
        let seen = filtered(|| thread::spawn(|| call(libc::SYS_mount)).join().unwrap());
        assert_eq!(seen, Errno::EPERM);
    }

    #[test]
    fn namespace_is_denied_whichever_call_asks_for_it() {
        filtered(|| {
            for flag in [CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWNS] {
                assert_eq!(unshare(flag), Err(Errno::EPERM));
            }
            let none: libc::c_ulong = 0;
            for flag in [libc::CLONE_NEWUSER, 0] {
                let flags = (flag | libc::SIGCHLD) as libc::c_ulong;
                // SAFETY: the call is denied; otherwise the child shares nothing with this process,
                // and ends at once.
                let made = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
                if made == 0 {
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(0) };
                }
                assert_eq!(Errno::result(made), Err(Errno::EPERM), "{flag:#x}");
            }
            assert_eq!(call(libc::SYS_clone3), Errno::ENOSYS);
        });
    }

    #[test]
    fn every_call_of_the_list_is_refused_by_the_kernel() {
        filtered(|| {
            for number in DENIED.iter().chain(DENIED_HERE) {
                assert_eq!(call(*number), Errno::EPERM, "{number}");
            }
        });
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn call_of_the_x32_interface_is_refused() {
        filtered(|| assert_eq!(call(libc::c_long::from(X32) | 520), Errno::EPERM));
    }

    /// The kernel's result of the program for a call.
    fn judge(program: &[libc::sock_filter], (arch, number, first): (u32, u32, u32)) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = program[at];
            let jump = |holds| usize::from(if holds { step.jt } else { step.jf });
            at += 1;
            match u32::from(step.code) {
                LOAD => {
                    value = match step.k {
                        offset::NUMBER => number,
                        offset::ARCHITECTURE => arch,
                        offset::FIRST_ARGUMENT => first,
                        other => panic!("{other} is not at the beginning of a field"),
                    }
                }
                IF_EQUAL => at += jump(value == step.k),
                IF_AT_LEAST => at += jump(value >= step.k),
                IF_ANY_BIT => at += jump(value & step.k != 0),
                _ => return step.k,
            }
        }
    }

    #[test]
    fn call_is_judged_by_its_architecture_its_number_and_the_flags_of_clone() {
        const OURS: u32 = 0xc000_00b7;
        let program = filter(OURS);
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD) as u32;
        let (allow, fail) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_ERRNO);
        let (refused, unknown) = (fail | libc::EPERM as u32, fail | libc::ENOSYS as u32);
        let clone = libc::SYS_clone as u32;
        for (call, verdict) in [
            ((OURS, libc::SYS_read as u32, 0), allow),
            ((OURS, libc::SYS_bpf as u32, 0), allow),
            ((0x4000_0028, libc::SYS_read as u32, 0), refused),
            ((OURS, libc::SYS_execve as u32, 0), refused),
            ((OURS, libc::SYS_clone3 as u32, 0), unknown),
            ((OURS, clone, thread), allow),
            ((OURS, clone, libc::SIGCHLD as u32), refused),
            ((OURS, clone, thread | libc::CLONE_NEWUSER as u32), refused),
        ] {
            assert_eq!(judge(&program, call), verdict, "{call:x?}");
        }
    }
}
