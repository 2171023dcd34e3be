//! The environment of a resource agent, by the resource agent API 1.1 and Pacemaker's executor.

use std::{ffi::OsString, path::Path, time::Duration};

use crate::config::Ocf;

/// One call of an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// The resource's name.
    pub instance: &'a str,
    pub agent: &'a Ocf,
    /// The agent's name of the action.
    pub action: &'static str,
    pub timeout: Duration,
    /// The interval of a monitor; zero for all actions that do not recur, and so for a probe.
    pub interval: Duration,
    pub check_level: u32,
    /// The operator's variables, which the agent's own override.
    pub environment: &'a [(String, String)],
}

/// The directories and the node for a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub root: &'a Path,
    /// Directory of files that agents keep while the host is up.
    pub scratch: &'a Path,
    /// The local node's name.
    pub node: &'a str,
}

/// Returns all variables of a call: the operator's, then those of `OCF_…`.
pub(super) fn variables(call: &Call<'_>, around: Surroundings<'_>) -> Vec<(OsString, OsString)> {
    let text = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let own = call.environment.iter();
    let mut all: Vec<_> = own.map(|(name, value)| text(name, value)).collect();
    all.extend([
        ("OCF_ROOT".into(), around.root.into()),
        ("HA_RSCTMP".into(), around.scratch.into()),
        text("OCF_RA_VERSION_MAJOR", "1"),
        text("OCF_RA_VERSION_MINOR", "1"),
        text("OCF_RESOURCE_INSTANCE", call.instance),
        text("OCF_RESOURCE_TYPE", &call.agent.agent),
        text("OCF_RESOURCE_PROVIDER", &call.agent.provider),
        text("OCF_CHECK_LEVEL", &call.check_level.to_string()),
        text("OCF_RESKEY_CRM_meta_name", call.action),
        text(
            "OCF_RESKEY_CRM_meta_timeout",
            &call.timeout.as_millis().to_string(),
        ),
        text(
            "OCF_RESKEY_CRM_meta_interval",
            &call.interval.as_millis().to_string(),
        ),
        text("OCF_RESKEY_CRM_meta_on_node", around.node),
    ]);
    let parameter = |(name, value): &(String, String)| text(&format!("OCF_RESKEY_{name}"), value);
    all.extend(call.agent.params.iter().map(parameter));
    all
}
