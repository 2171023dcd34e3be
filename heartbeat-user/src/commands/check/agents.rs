//! Checks the parameters of OCF resources against their agents' meta-data. Each installed agent is
//! run once for its meta-data, which starts nothing.

use crate::{
    config::{Config, ResourceKind},
    resources::{Agents, Places},
};

/// Returns unknown and missing parameters of the resources that the local node may serve.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    by(config, Places::of(config))
}

fn by(config: &Config, places: Places) -> Vec<String> {
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
    let agents = Agents::new(places);
    let mut said = Vec::new();
    for resource in resources {
        for finding in runtime.block_on(agents.account(resource)) {
            said.push(format!(
                "{}: resource \"{}\": by the meta-data of {}, {finding}\n  correct its params; \
                 `heartbeat verify` validates them with the agent itself",
                config.path.display(),
                resource.name,
                resource.kind
            ));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    /// An agent with one parameter, which is required.
    const AGENT: &str = r#"#!/bin/sh
[ "$1" = meta-data ] || exit 1
cat <<END
<?xml version="1.0"?>
<resource-agent name="shop">
<parameters><parameter name="config" required="1"><shortdesc>a file</shortdesc><content type="string"/></parameter></parameters>
<actions><action name="start" timeout="20s"/></actions>
</resource-agent>
END
"#;

    #[test]
    fn unknown_and_missing_agent_parameters_are_warnings() {
        let name = format!("heartbeat-check-agents-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let provider = root.join("resource.d/acme");
        fs::create_dir_all(&provider).unwrap();
        let agent = provider.join("shop");
        fs::write(&agent, AGENT).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        let said = |params: &str| {
            let text = format!(
                "[cluster]\nname = \"x\"\n[[link]]\ninterface = \"lo\"\n\
                 [[node]]\nname = \"a\"\nid = 1\naddresses = [\"192.0.2.1\"]\n\
                 [[node]]\nname = \"b\"\nid = 2\naddresses = [\"192.0.2.2\"]\n\
                 [[node]]\nname = \"c\"\nid = 3\naddresses = [\"192.0.2.3\"]\n\
                 [[group]]\nname = \"g\"\n[[group.resource]]\nname = \"r\"\n\
                 type = \"ocf:acme:shop\"\nparams = {{ {params} }}\n"
            );
            let config = Config::parse(&text, "hb.toml".as_ref(), Some("a"), "").unwrap();
            let places = Places {
                ocf_root: root.clone(),
                scratch: root.join("scratch"),
                state: root.join("state"),
                output: root.join("output"),
                ..Places::of(&config)
            };
            by(&config, places)
        };
        assert_eq!(said("config = \"/a\""), Vec::<String>::new());
        let wrong = said("confg = \"/a\"");
        let begin = "hb.toml: resource \"r\": by the meta-data of ocf:acme:shop, it ";
        let ends = [
            "has no parameter `confg`; did you mean `config`?\n",
            "needs the parameter `config` (a file)\n",
        ];
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        for (found, end) in wrong.iter().zip(ends) {
            assert!(found.starts_with(&format!("{begin}{end}")), "{found}");
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
