//! Tells that a watched process ends, in the context of its own last thread.
//!
//! That is when its end begins: it still has its files, and on newer kernels its memory. Every thread that
//! ends on this host comes by here, so a process that nobody watches must cost no more than one look-up.

use aya_ebpf::{
    btf_maps::{HashMap, RingBuf},
    helpers::bpf_get_current_pid_tgid,
    macros::btf_map,
};
use heartbeat_common::exits::{ExitEvent, MAX_WATCHED, WatchedProcess};

use crate::tables::{add_health, now};

/// Room for the ends of all watched processes at once, each with the ring's own 8 bytes.
const EXIT_BYTES: usize = 64 * 1024;
const _: () = assert!(EXIT_BYTES >= MAX_WATCHED * (size_of::<ExitEvent>() + 8));

#[btf_map(name = "processes")]
static PROCESSES: HashMap<u32, WatchedProcess, MAX_WATCHED> = HashMap::new();
#[btf_map(name = "exits")]
static EXITS: RingBuf<ExitEvent, EXIT_BYTES> = RingBuf::new();

/// Whether the current thread is the first one of its process.
#[inline(always)]
pub(crate) fn is_leader() -> bool {
    let ids = bpf_get_current_pid_tgid();
    (ids >> 32) as u32 == ids as u32
}

/// The current process ends: says so if it is watched, once; and at once in every heartbeat from here on, if the
/// node is not well without it.
#[inline(always)]
pub(crate) fn tell() {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the entry may be removed and used anew meanwhile, by an agent that changes its mind: then
    // the token is another's, which that agent does not go by alone.
    let Some(watched) = (unsafe { PROCESSES.get(pid) }) else {
        return;
    };
    let (token, health) = (watched.token, watched.health);
    let at = now();
    if PROCESSES.remove(pid).is_err() {
        // Who removed it did not want to hear any more.
        return;
    }
    if health != 0 {
        add_health(health);
    }
    // Without room it goes unsaid here; the agent has other ways to notice, later.
    if let Some(mut event) = EXITS.reserve(0) {
        event.write(ExitEvent { pid, token, at });
        event.submit(0);
    }
}
