//! The signals that the control task waits for.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the task waits for, beside reports and requests.
pub(super) struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hangup: Signal,
    pub(super) graceful_restart: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            graceful_restart: signal(SignalKind::user_defined2())?,
        })
    }
}
