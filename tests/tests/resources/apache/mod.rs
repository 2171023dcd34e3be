//! The tutorial's web server, imported from its old configuration, with the distribution's own Apache and
//! resource agent: one node serves it, whatever happens to the node or to Apache.

mod failures;
mod takeovers;

use anyhow::Result;
use heartbeat_tests::{Cluster, e2e::web::PATIENCE, sandbox::SandboxProcess, wait_until};

/// What `heartbeat WORDS` says on `node`, if it does well.
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
