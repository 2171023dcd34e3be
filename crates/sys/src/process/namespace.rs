//! The pid namespace of this process.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::{Context as _, Result};

/// `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Whether process 1 is the host's, so that this process has no pid namespace of its own.
pub fn sees_all_processes() -> Result<bool> {
    let namespace = fs::metadata("/proc/self/ns/pid").context("could not read /proc/self/ns")?;
    Ok(namespace.ino() == INITIAL_PID_NAMESPACE)
}
