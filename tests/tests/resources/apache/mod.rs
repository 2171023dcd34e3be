//! The web server of the tutorial, imported from its Pacemaker configuration, with the Apache and
//! the resource agent of the distribution. One node serves it, whatever happens to the node or to
//! Apache.

mod failures;
mod takeovers;

use anyhow::Result;
use heartbeat_tests::{Cluster, e2e::web::PATIENCE, sandbox::SandboxProcess, wait_until};

/// The output of `heartbeat WORDS` on `node`, if it succeeds.
pub(crate) fn output_of(cluster: &Cluster, node: &str, words: &[&str]) -> Result<String> {
    cluster.node(node)?.heartbeat(words)?.success()
}

/// Waits until none of `processes` is left on `node`.
pub(crate) fn wait_gone(cluster: &Cluster, node: &str, processes: &[SandboxProcess]) -> Result<()> {
    let what = format!("the Apache of {node} is stopped");
    wait_until(PATIENCE, &what, || {
        let now = cluster.node(node)?.apache()?;
        Ok(!now.iter().any(|one| processes.contains(one)))
    })
}
