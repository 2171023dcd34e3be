//! Checks whether this host has all that the configuration names. A missing thing is a warning, not
//! an error: it may come later, or exist on the node but not on the machine of the check.

use std::{
    collections::HashSet,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{Group, User};

use super::addresses;
use crate::{
    config::{
        Config, Exec, Execution, HealthCheck, HealthKind, LoadSource, Ocf, Resource, ResourceKind,
    },
    dataplane,
};

/// Directory of the OCF agents: a subdirectory for each provider.
const OCF_AGENTS: &str = "/usr/lib/ocf/resource.d";

/// Returns a warning for each thing that this host, as the local node, lacks. `here`: this host is
/// the local node.
pub(super) fn warnings(config: &Config, here: bool) -> Vec<String> {
    let mut interfaces = missing_interfaces(config);
    if here {
        interfaces.extend(addresses::missing(config));
        interfaces.extend(addresses::already_there(config));
    }
    let programs = unusable_programs(config, Path::new(OCF_AGENTS));
    let directories = missing_directories(config);
    let accounts = missing_accounts(config);
    [
        interfaces,
        programs,
        directories,
        accounts,
        no_socket_guard(config),
        open_metrics(config),
    ]
    .concat()
}

/// Warns of a listener for metrics that other hosts can reach.
fn open_metrics(config: &Config) -> Vec<String> {
    let open = config.metrics.filter(|address| !address.ip().is_loopback());
    let warn = |address| {
        format!(
            "{}: [metrics]: listen {address} is not a loopback address, and there is no password \
             and no encryption\n  let a firewall admit only the Prometheus server",
            config.path.display()
        )
    };
    open.map(warn).into_iter().collect()
}

/// Warns of users, groups and working directories of resources that this host does not have.
fn missing_accounts(config: &Config) -> Vec<String> {
    let resources = config.served_groups().iter();
    let resources = resources.flat_map(|group| &group.resources);
    let path = config.path.display();
    let complain = |resource: &Resource, lack: String, remedy: String| {
        format!(
            "{path}: resource \"{}\": this host has no {lack} now\n  {remedy}; its programs cannot \
             be started without it",
            resource.name
        )
    };
    let mut found = Vec::new();
    for resource in resources {
        let Execution {
            user,
            group,
            directory,
            ..
        } = &resource.execution;
        // A failed lookup is reported when the name is needed.
        let lacks_user = |name: &&String| matches!(User::from_name(name), Ok(None));
        let lacks_group = |name: &&String| matches!(Group::from_name(name), Ok(None));
        let create = |what: &str| format!("create it, or correct {what}");
        found.extend(
            user.as_ref()
                .filter(lacks_user)
                .map(|name| complain(resource, format!("user \"{name}\""), create("user"))),
        );
        found.extend(
            group
                .as_ref()
                .filter(lacks_group)
                .map(|name| complain(resource, format!("group \"{name}\""), create("group"))),
        );
        let missing = directory.as_ref().filter(|directory| !directory.is_dir());
        found.extend(missing.map(|directory| {
            let lack = format!("directory {}", directory.display());
            complain(resource, lack, "make it, or correct directory".to_owned())
        }));
    }
    found
}

/// Warns if the guard does not bind local processes and containers.
fn no_socket_guard(config: &Config) -> Vec<String> {
    let lack = dataplane::sockets_lack().filter(|_| !config.served().is_empty());
    let warning = lack.map(|why| {
        format!(
            "{}: no guard at the sockets: {why}\n  local processes and containers of a node that \
             has lost its lease continue to reach its addresses there until they are removed",
            config.path.display()
        )
    });
    warning.into_iter().collect()
}

fn missing_interfaces(config: &Config) -> Vec<String> {
    let of_links = config
        .local_links()
        .map(|link| (format!("link {}", link.id.0), link.interface));
    // A witness needs no interface of a vip, since it serves none.
    let of_vips = config
        .served()
        .iter()
        .map(|vip| (format!("vip \"{}\"", vip.name), &*vip.interface));
    let of_checks = config.health.iter().filter_map(|check| match &check.kind {
        HealthKind::Interface(interface) => Some((named(check), &**interface)),
        _ => None,
    });
    let mut seen = HashSet::new();
    of_links
        .chain(of_vips)
        .chain(of_checks)
        .filter(|(_, interface)| seen.insert(*interface))
        .filter(|(_, interface)| nix::net::if_::if_nametoindex(*interface).is_err())
        .map(|(what, interface)| {
            format!(
                "{}: {what}: this host has no interface \"{interface}\" now\n  \
                 `ip link` shows those it has; node \"{}\" cannot run without it",
                config.path.display(),
                config.local().name
            )
        })
        .collect()
}

/// Warns of unusable programs of hooks, health checks, the load and the served resources. OCF
/// agents are below `agents`.
fn unusable_programs(config: &Config, agents: &Path) -> Vec<String> {
    let complain = |what: &str, program: &Path, correct: &str| {
        let reason = unusable(program)?;
        Some(format!(
            "{}: {what}: {} cannot be run: {reason}\n  \
             install it, make it executable, or correct {correct}",
            config.path.display(),
            program.display()
        ))
    };
    let resources = config
        .served_groups()
        .iter()
        .flat_map(|group| &group.resources)
        .flat_map(|resource| {
            let what = format!("resource \"{}\"", resource.name);
            programs(resource, agents)
                .into_iter()
                .filter_map(move |(field, program)| complain(&what, &program, field))
        });
    let hooks = (1..).zip(&config.hooks).filter_map(|(number, hook)| {
        complain(&format!("hook number {number}"), &hook.program, "exec")
    });
    let checks = config.health.iter().filter_map(|check| match &check.kind {
        HealthKind::Exec(command) => complain(&named(check), Path::new(command.first()?), "exec"),
        _ => None,
    });
    let load = match &config.load.source {
        LoadSource::Command(command) => command
            .first()
            .and_then(|program| complain("[load]", Path::new(program), "command")),
        _ => None,
    };
    resources.chain(hooks).chain(checks).chain(load).collect()
}

/// Warns of missing directories: those that health checks write to, and the load's control group.
fn missing_directories(config: &Config) -> Vec<String> {
    let path = config.path.display();
    let disks = config.health.iter().filter_map(|check| match &check.kind {
        HealthKind::Disk(directory) if !directory.is_dir() => Some(format!(
            "{path}: {}: this host has no directory {} now\n  make it, or correct path; the check \
             fails without it",
            named(check),
            directory.display()
        )),
        _ => None,
    });
    let cgroup = match &config.load.source {
        LoadSource::Cgroup(directory) if !directory.join("cpu.pressure").is_file() => {
            Some(format!(
                "{path}: [load]: this host has no {}/cpu.pressure now\n  correct cgroup, which is \
                 the directory of a cgroup of version 2; the load stays 0 without it",
                directory.display()
            ))
        }
        _ => None,
    };
    disks.chain(cgroup).collect()
}

fn named(check: &HealthCheck) -> String {
    format!("health check \"{}\"", check.name)
}

/// Returns the programs of a resource, each once and with its field. The programs of a systemd unit
/// are known to systemd only.
fn programs(resource: &Resource, agents: &Path) -> Vec<(&'static str, PathBuf)> {
    let commands = match &resource.kind {
        ResourceKind::Vip(_) | ResourceKind::Systemd(_) => return Vec::new(),
        ResourceKind::Ocf(Ocf {
            provider, agent, ..
        }) => return vec![("type", agents.join(provider).join(agent))],
        ResourceKind::Exec(Exec::Service { run, check }) => {
            vec![("run", Some(run)), ("check", check.as_ref())]
        }
        ResourceKind::Exec(Exec::Commands { start, stop, check }) => vec![
            ("start", Some(start)),
            ("stop", Some(stop)),
            ("check", Some(check)),
        ],
    };
    let mut seen = HashSet::new();
    commands
        .into_iter()
        .filter_map(|(field, command)| Some((field, PathBuf::from(command?.first()?))))
        .filter(|(_, program)| seen.insert(program.clone()))
        .collect()
}

/// Returns why `program` cannot be run.
fn unusable(program: &Path) -> Option<String> {
    match program.metadata() {
        Err(error) => Some(error.to_string()),
        Ok(metadata) if !metadata.is_file() => Some("it is not a file".to_owned()),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Some("it is not executable".to_owned())
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory with one agent in it.
    struct Agents(PathBuf);

    impl Agents {
        fn new() -> Self {
            let directory =
                std::env::temp_dir().join(format!("heartbeat-agents-{}", std::process::id()));
            let agents = Self(directory);
            fs::create_dir_all(agents.0.join("heartbeat")).unwrap();
            fs::write(agents.apache(), "#!/bin/sh\n").unwrap();
            agents
        }

        fn apache(&self) -> PathBuf {
            self.0.join("heartbeat/apache")
        }

        fn make_executable(&self) {
            fs::set_permissions(self.apache(), fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// Returns what node `a` lacks of the resource.
        fn lacking(&self, resource: &str, role: &str) -> Vec<String> {
            let text = format!(
                "[cluster]\nname = \"w\"\n[[link]]\ninterface = \"lo\"\n\
                 [[node]]\nname = \"a\"\nid = 1\nrole = \"{role}\"\naddresses = [\"10.0.0.1\"]\n\
                 [[node]]\nname = \"b\"\nid = 2\naddresses = [\"10.0.0.2\"]\n\
                 [[node]]\nname = \"c\"\nid = 3\naddresses = [\"10.0.0.3\"]\n\
                 [[group]]\nname = \"web\"\n[[group.resource]]\nname = \"x\"\n{resource}\n"
            );
            let config = Config::parse(&text, Path::new("hb.toml"), Some("a"), "").unwrap();
            unusable_programs(&config, &self.0)
        }
    }

    impl Drop for Agents {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn missing_accounts_and_directories_warn_with_a_remedy() {
        let lacking = |settings: &str| {
            let text = format!(
                "[cluster]\nname = \"w\"\n[[link]]\ninterface = \"lo\"\n\
                 [[node]]\nname = \"a\"\nid = 1\naddresses = [\"10.0.0.1\"]\n\
                 [[node]]\nname = \"b\"\nid = 2\naddresses = [\"10.0.0.2\"]\n\
                 [[node]]\nname = \"c\"\nid = 3\naddresses = [\"10.0.0.3\"]\n\
                 [[group]]\nname = \"web\"\n[[group.resource]]\nname = \"x\"\ntype = \"exec\"\n\
                 run = [\"/bin/sh\"]\n{settings}\n"
            );
            let config = Config::parse(&text, Path::new("hb.toml"), Some("a"), "").unwrap();
            missing_accounts(&config)
        };
        let good = "user = \"daemon\"\ngroup = \"daemon\"\ndirectory = \"/tmp\"";
        assert_eq!(lacking(good), Vec::<String>::new());
        let bad = "user = \"hb-none\"\ngroup = \"hb-none\"\ndirectory = \"/none/x\"";
        let said = lacking(bad);
        let starts = [
            "hb.toml: resource \"x\": this host has no user \"hb-none\" now\n  create it, or \
             correct user",
            "hb.toml: resource \"x\": this host has no group \"hb-none\" now\n  create it",
            "hb.toml: resource \"x\": this host has no directory /none/x now\n  make it",
        ];
        assert_eq!(said.len(), starts.len(), "{said:?}");
        for (said, start) in said.iter().zip(starts) {
            assert!(said.starts_with(start), "{said}");
        }
    }

    #[test]
    fn missing_resource_programs_warn_on_members() {
        let agents = Agents::new();
        let apache = "type = \"ocf:heartbeat:apache\"";
        assert_eq!(
            agents.lacking(apache, "member"),
            [format!(
                "hb.toml: resource \"x\": {} cannot be run: it is not executable\n  install it, \
                 make it executable, or correct type",
                agents.apache().display()
            )]
        );
        assert!(agents.lacking(apache, "witness").is_empty());
        agents.make_executable();
        assert!(agents.lacking(apache, "member").is_empty());
        let absent = agents.lacking("type = \"ocf:heartbeat:nginx\"", "member");
        assert!(absent[0].contains("/heartbeat/nginx cannot be run: No such file"));
        let provider = agents.lacking("type = \"ocf:none:heartbeat\"", "member");
        assert!(provider[0].contains("/none/heartbeat cannot be run: No such file"));

        let good = "type = \"exec\"\nrun = [\"/bin/sh\"]\ncheck = [\"/bin/sh\"]";
        assert!(agents.lacking(good, "member").is_empty());
        let bad = "type = \"exec\"\nstart = [\"/none/a\"]\nstop = [\"/none/a\"]\ncheck = [\"/\"]";
        let said = agents.lacking(bad, "member");
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].contains("/none/a cannot be run: No such file") && said[0].ends_with("start")
        );
        assert!(
            said[1].contains(": / cannot be run: it is not a file") && said[1].ends_with("check")
        );
        assert!(
            agents
                .lacking("type = \"systemd:none\"", "member")
                .is_empty()
        );
    }
}
