//! Ctrl-C without leftovers: a signal only sets a flag. Every wait of the rig checks it and fails,
//! and the values of its callers clean up as they are dropped.

use std::{
    process::ExitCode,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// The user asked to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// The exit status of a program that SIGINT ended, as shells report it.
const STATUS: u8 = 130;

/// The exit code for `outcome`: `true` is success. `say` gets the message of an error.
pub fn exit_code(what: &str, outcome: Result<bool>, say: impl FnOnce(&str)) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => {
            say("interrupted; everything is cleaned up");
            ExitCode::from(STATUS)
        }
        Err(error) => {
            say(&format!("the {what} failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Installs a handler of SIGINT, SIGTERM and SIGHUP. The second signal of a kind ends the process
/// at once.
pub fn install() {
    INSTALL.call_once(|| {
        let flags = SaFlags::SA_RESTART | SaFlags::SA_RESETHAND;
        let action = SigAction::new(SigHandler::Handler(note), flags, SigSet::empty());
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            // SAFETY: the handler does nothing but store to an atomic. Failure is impossible for
            // these signals, and would only leave the default in place.
            let _ = unsafe { sigaction(signal, &action) };
        }
    });
}

/// Fails after a signal.
pub fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    Ok(())
}

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}
