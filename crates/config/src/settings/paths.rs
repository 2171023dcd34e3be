//! `[paths]`: the directories that the agent writes to.

use std::path::PathBuf;

use super::{Check::IfSet, Fallback::Is, Reload::Restart, settings};
use crate::{
    readers::{Text, text},
    values,
};

/// The directory of control sockets and locks.
pub const DEFAULT_RUN: &str = "/run/heartbeat";
/// The directory of the state. Debian's Linux-HA packages own `/var/lib/heartbeat`.
pub const DEFAULT_STATE: &str = "/var/lib/heartbeat-xdp";

settings! {
    /// Directories that the agent writes to.
    "[paths]" of ();

    /// The control socket and the lock.
    RUN: Text<PathBuf> = text(values::absolute_path, values::PATH) => {
        name: "run", default: Is(|| PathBuf::from(DEFAULT_RUN)),
        reload: Restart, digest: false, check: IfSet;
        |config, _| config.run.clone()
    }

    /// The files that must outlive a restart.
    STATE: Text<PathBuf> = text(values::absolute_path, values::PATH) => {
        name: "state", default: Is(|| PathBuf::from(DEFAULT_STATE)),
        reload: Restart, digest: false, check: IfSet;
        |config, _| config.state.clone()
    }
}
