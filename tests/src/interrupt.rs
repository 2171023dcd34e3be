//! Ctrl-C without leftovers: a signal only sets a flag, every wait of the rig looks at it, and the
//! error it returns unwinds the caller, whose values clean up as they drop.

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

/// Exit status of a program that SIGINT ended, as shells report it.
const STATUS: u8 = 130;

/// How a program ends whose work came to `outcome`: true if all was good. `say` gets what is to be said of an error.
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

/// Takes SIGINT, SIGTERM and SIGHUP over. The second one of a kind ends the process at once.
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

/// Fails once a signal has come.
pub fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    Ok(())
}

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}
