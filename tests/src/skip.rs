//! Tests that cannot run here say so in the form that `cargo xtask test` counts.

use std::{env, io::Write as _};

use crate::cluster::{BINARY, OBJECT};

/// Whether a cluster can be built here. If not, says that `test` is skipped, and why.
pub fn rig_runs(test: &str) -> bool {
    let reason = if !nix::unistd::geteuid().is_root() {
        "needs root; run it through `cargo xtask test`".to_owned()
    } else if let Some(missing) = [BINARY, OBJECT]
        .into_iter()
        .find(|v| env::var_os(v).is_none())
    {
        format!("{missing} is not set; run it through `cargo xtask test`")
    } else {
        return true;
    };
    skip(test, &reason);
    false
}

/// Says that `test` is skipped, and why.
pub fn skip(test: &str, reason: &str) {
    // Straight to the stream: libtest holds back what the print macros say in a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {reason}");
}
