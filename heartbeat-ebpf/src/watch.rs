//! One deadline per peer and link.
//!
//! The packet path arms a timer once, at the first fresh reply. From then on the timer's own
//! callback decides. After a further reply it sleeps until the new deadline. Otherwise it reports
//! the passed deadline, once, and checks again every timeout. A packet therefore costs no timer
//! call. A reply during the callback is never missed: the next check finds it, before the deadline
//! that it sets.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_timer_init, bpf_timer_set_callback, bpf_timer_start};
use heartbeat_common::maps::{DeadlineEvent, PeerRow};

use crate::{
    clock,
    maps::{CONFIG, EVENTS, WATCH, Watch, peer_row},
};

/// `CLOCK_BOOTTIME`, include/uapi/linux/time.h.
const BOOTTIME: u64 = 7;

/// Starts the timer of `row` if it does not run.
#[inline(always)]
pub(crate) fn arm(row: u32) {
    let Some(watch) = WATCH.get_ptr_mut(row) else {
        return;
    };
    // SAFETY: the pointer is to a live map value; the timer helpers receive the timer inside it and
    // the map that contains it. Two CPUs that arm at once start the same timer twice, which is
    // harmless.
    unsafe {
        if (*watch).armed != 0 {
            return;
        }
        let Some(timeout) = timeout_ns() else { return };
        (*watch).armed = 1;
        (*watch).row = row;
        let timer = &raw mut (*watch).timer;
        // The call fails with EBUSY on every start but the first. It may also fail with ENOMEM,
        // because it must not wait for memory. Then the start fails, and the next reply repeats it.
        bpf_timer_init(timer, (&raw const WATCH).cast_mut().cast(), BOOTTIME);
        bpf_timer_set_callback(timer, expired as *mut c_void);
        if bpf_timer_start(timer, timeout, 0) != 0 {
            (*watch).armed = 0;
        }
    }
}

/// The timer's callback, in softirq, at or after the deadline at the last arming.
#[inline(never)]
extern "C" fn expired(_map: *mut c_void, _key: *mut u32, watch: *mut Watch) -> i32 {
    // SAFETY: the kernel passes the map value that holds the timer.
    let number = unsafe { (*watch).row };
    let (Some(row), Some(timeout)) = (peer_row(number), timeout_ns()) else {
        // The row is no longer configured. After a new configuration, a reply arms the timer.
        // SAFETY: as above.
        unsafe { (*watch).armed = 0 };
        return 0;
    };
    let fired_at = clock::now();
    let last_reply_at = row.last_reply_at;
    let deadline_at = last_reply_at + timeout;
    let pause = if deadline_at > fired_at {
        deadline_at - fired_at
    } else {
        report(watch, row, last_reply_at, deadline_at, fired_at);
        timeout
    };
    // SAFETY: as above; restarting a timer from its own callback is allowed.
    unsafe { bpf_timer_start(&raw mut (*watch).timer, pause, 0) };
    0
}

/// Reports a passed deadline, unless it was reported before.
#[inline(always)]
fn report(
    watch: *mut Watch,
    row: &mut PeerRow,
    last_reply_at: u64,
    deadline_at: u64,
    fired_at: u64,
) {
    // SAFETY: this code is part of the callback of the timer that the map value contains.
    let watch = unsafe { &mut *watch };
    if watch.reported == last_reply_at {
        return;
    }
    watch.reported = last_reply_at;
    row.deadline_fired_at = fired_at;
    row.deadlines += 1;
    match EVENTS.reserve(0) {
        Some(mut event) => {
            event.write(DeadlineEvent {
                row: watch.row,
                reserved: 0,
                last_reply_at,
                deadline_at,
                fired_at,
            });
            event.submit(0);
        }
        None => row.events_lost += 1,
    }
}

#[inline(always)]
fn timeout_ns() -> Option<u64> {
    match CONFIG.get(0) {
        Some(config) if config.timeout_ns != 0 => Some(config.timeout_ns),
        _ => None,
    }
}
