//! Reports the end of a watched process, in the context of its own last thread.
//!
//! At that time the end begins: the process still has its files, and on newer kernels its memory.
//! Every thread that ends on this host runs this code, so an unwatched process must cost no more
//! than one lookup.

use core::{arch::asm, mem::offset_of};

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use heartbeat_common::{exits::ExitEvent, maps::Local};

use crate::{
    clock,
    maps::{EXITS, LOCAL, PROCESSES},
};

/// Whether the current thread is the first one of its process.
#[inline(always)]
pub(crate) fn is_leader() -> bool {
    let ids = bpf_get_current_pid_tgid();
    (ids >> 32) as u32 == ids as u32
}

/// Reports the end of the current process, once, if it is watched. If the end makes the node
/// unhealthy, every heartbeat from here on carries that as well.
#[inline(always)]
pub(crate) fn tell() {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the agent may remove the entry and reuse it meanwhile. The token then belongs to
    // another process, and the agent does not rely on the token alone.
    let Some(watched) = (unsafe { PROCESSES.get(pid) }) else {
        return;
    };
    let (token, health) = (watched.token, watched.health);
    let at = clock::now();
    if PROCESSES.remove(pid).is_err() {
        // The agent removed the entry and no longer needs the report.
        return;
    }
    if health != 0 {
        add_health(health);
    }
    // Without room there is no report. The agent notices the end in other ways, later.
    if let Some(mut event) = EXITS.reserve(0) {
        event.write(ExitEvent { pid, token, at });
        event.submit(0);
    }
}

/// Adds to the kernel's part of this node's health.
#[inline(always)]
fn add_health(health: u32) {
    // The operation includes the reserved word behind the field: this target has no 32-bit
    // registers.
    const AT: usize = offset_of!(Local, kernel_health);
    const _: () = assert!(AT.is_multiple_of(8) && AT + 4 == offset_of!(Local, reserved));
    let [a, b, c, d] = health.to_ne_bytes();
    let bits = u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]);
    if let Some(local) = LOCAL.get_ptr_mut(0) {
        // SAFETY: map values live as long as the program, and the word is aligned and inside the
        // value. The agent may remove bits at the same time, so this must be one atomic
        // instruction. The core library has none for this target.
        unsafe {
            asm!(
                "lock *(u64 *)({word} + 0) |= {bits}",
                word = in(reg) local.byte_add(AT),
                bits = in(reg) bits,
                options(nostack),
            );
        }
    }
}
