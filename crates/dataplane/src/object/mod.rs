//! The kernel programs in this binary.

pub(crate) mod kernel;
pub(crate) mod programs;

use anyhow::{Result, bail};

/// The object with the alignment for the ELF parser; empty if the build found none (see
/// `build.rs`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/heartbeat.bpf"));

/// The BPF object with the responder, the stamp and the deadline timers.
pub(crate) fn object() -> Result<&'static [u8]> {
    if OBJECT.is_empty() {
        bail!("this binary was built without the kernel programs: run `cargo xtask build`");
    }
    Ok(OBJECT)
}
