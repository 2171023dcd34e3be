//! Whether the parameters of OCF resources are those that their agents know. Each agent that is
//! installed here is asked for its meta-data, once, which starts nothing.

use crate::{
    config::{Config, ResourceKind},
    resources::{Agents, Places},
};

/// What the agents of the resources that the local node may serve do not know, or lack.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let is_ocf = |kind: &ResourceKind| matches!(kind, ResourceKind::Ocf(_));
    let groups = config.served_groups().iter();
    let mut resources = groups
        .flat_map(|group| &group.resources)
        .filter(|resource| is_ocf(&resource.kind))
        .peekable();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (true, Ok(runtime)) = (resources.peek().is_some(), runtime) else {
        return Vec::new();
    };
    let agents = Agents::new(Places::of(config));
    let mut said = Vec::new();
    for resource in resources {
        for finding in runtime.block_on(agents.account(resource)) {
            said.push(format!(
                "{}: resource \"{}\": by the meta-data of {}, {finding}\n  correct its params; `heartbeat verify` \
                 lets the agent itself judge them",
                config.path.display(),
                resource.name,
                resource.kind
            ));
        }
    }
    said
}
