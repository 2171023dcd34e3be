//! `heartbeat check`: says whether a configuration can be used, and all that is wrong with it.
//!
//! Looks at the file, the key file and the names of local interfaces; changes nothing.

use std::{
    collections::HashSet,
    fmt::Write as _,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;

use crate::config::{Config, Node, Role, duration::Show, key::Keys};

/// What an examination of a configuration found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
    summary: String,
}

/// Examines the configuration at `path`, as `node` if given. Prints what is wrong to stderr, a
/// summary to stdout, and fails if there is an error.
pub fn check(path: &Path, node: Option<&str>) -> anyhow::Result<ExitCode> {
    let found = examine(path, node);
    let mut report = String::new();
    for warning in &found.warnings {
        let _ = writeln!(report, "warning: {warning}");
    }
    for error in &found.errors {
        let _ = writeln!(report, "error: {error}");
    }
    io::stderr()
        .write_all(report.as_bytes())
        .or_else(unread)
        .context("writing to stderr")?;
    if !found.errors.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    io::stdout()
        .write_all(found.summary.as_bytes())
        .or_else(unread)
        .context("writing to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// A reader that went away is no failure of ours.
fn unread(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(error)
    }
}

fn examine(path: &Path, node: Option<&str>) -> Findings {
    let config = match Config::load(path, node) {
        Ok(config) => config,
        Err(error) => {
            return Findings {
                errors: error.each(),
                ..Findings::default()
            };
        }
    };
    let mut warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(missing_interfaces(&config));
    warnings.extend(unusable_hooks(&config));
    let errors = Keys::load(&config.key)
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect();
    Findings {
        errors,
        warnings,
        summary: summary(&config),
    }
}

/// Interfaces may come later, or be on the node and not on the machine that checks: no error.
fn missing_interfaces(config: &Config) -> Vec<String> {
    let local = config.local();
    let of_links = config
        .local_links()
        .map(|link| (format!("link {}", link.id.0), link.interface));
    // A witness needs nothing for what it does not serve.
    let served = match local.role {
        Role::Member => config.vips.as_slice(),
        Role::Witness => &[],
    };
    let of_vips = served
        .iter()
        .map(|vip| (format!("vip \"{}\"", vip.name), &*vip.interface));
    let mut seen = HashSet::new();
    of_links
        .chain(of_vips)
        .filter(|(_, interface)| seen.insert(*interface))
        .filter(|(_, interface)| nix::net::if_::if_nametoindex(*interface).is_err())
        .map(|(what, interface)| {
            format!(
                "{}: {what}: this host has no interface \"{interface}\" now\n  \
                 `ip link` shows those it has; node \"{}\" cannot run without it",
                config.path.display(),
                local.name
            )
        })
        .collect()
}

fn unusable_hooks(config: &Config) -> Vec<String> {
    let unusable = |program: &Path| match program.metadata() {
        Err(error) => Some(error.to_string()),
        Ok(metadata) if !metadata.is_file() => Some("it is not a file".to_owned()),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Some("it is not executable".to_owned())
        }
        Ok(_) => None,
    };
    let complain = |(number, program): (usize, &Path)| {
        let reason = unusable(program)?;
        Some(format!(
            "{}: hook number {number}: {} cannot be run: {reason}\n  \
             install it, make it executable, or correct exec",
            config.path.display(),
            program.display()
        ))
    };
    (1..)
        .zip(config.hooks.iter().map(|hook| &*hook.program))
        .filter_map(complain)
        .collect()
}

fn summary(config: &Config) -> String {
    let mut out = format!("{}: ok\n", config.path.display());
    let local = config.local();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  cluster  {} (id {:#010x}), {} nodes, instance {}",
        config.cluster,
        config.cluster_id.0,
        config.nodes.len(),
        config.instance
    );
    let role = match local.role {
        Role::Member => "",
        Role::Witness => ", witness",
    };
    let _ = writeln!(out, "  node     {} (id {}){role}", local.name, local.id.0);
    let voters = config.nodes.len();
    let _ = writeln!(
        out,
        "  voters   {voters}, of which {} may fail; witnesses: {}",
        (voters - 1) / 2,
        names(config.witnesses())
    );
    let _ = writeln!(
        out,
        "  timing   interval {}, timeout {}, agent stall {}",
        Show(config.interval),
        Show(config.timeout),
        Show(config.agent_stall)
    );
    let _ = writeln!(
        out,
        "  leases   lease {}, max lease {}, drift {} ppm, auto failback {}",
        Show(config.lease),
        Show(config.max_lease),
        config.drift_ppm,
        if config.auto_failback { "on" } else { "off" }
    );
    for link in config.local_links() {
        let _ = writeln!(
            out,
            "  link {}   {} on {}, port {}, xdp {}",
            link.id.0, link.address, link.interface, config.port, link.mode
        );
    }
    for (vip, group) in config.vips.iter().zip(&config.groups) {
        let _ = writeln!(
            out,
            "  vip      {}: {} on {}, rank {}, group {}",
            vip.name,
            vip.address,
            vip.interface,
            names(group.rank.iter().filter_map(|id| config.node(*id))),
            vip.group.0
        );
    }
    for hook in &config.hooks {
        let on: Vec<_> = hook.on.iter().map(|event| event.as_str()).collect();
        let _ = writeln!(
            out,
            "  hook     {}: {}",
            on.join(", "),
            hook.program.display()
        );
    }
    out
}

/// The names of `nodes`, or of the first of many.
fn names<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = nodes.map(|node| node.name.as_str()).collect();
    let (shown, rest) = names.split_at(names.len().min(SHOWN));
    match (shown, rest) {
        ([], _) => "none".to_owned(),
        (shown, []) => shown.join(", "),
        (shown, rest) => format!("{}, {} more", shown.join(", "), rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::file_text;
    use std::{fs, path::PathBuf};

    /// A directory with a configuration and a key in it.
    struct Files(PathBuf);

    impl Files {
        fn new(test: &str, nodes: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("heartbeat-check-{test}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let files = Self(directory);
            fs::write(files.key(), file_text(1, [9; 16])).unwrap();
            fs::set_permissions(files.key(), fs::Permissions::from_mode(0o600)).unwrap();
            let text = format!(
                "[cluster]\nname = \"web\"\nkey = \"{}\"\n[[link]]\ninterface = \"lo\"\n{nodes}",
                files.key().display()
            );
            fs::write(files.config(), text).unwrap();
            files
        }

        fn config(&self) -> PathBuf {
            self.0.join("heartbeat.toml")
        }

        fn key(&self) -> PathBuf {
            self.0.join("key")
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const NODES: &str = r#"
[[node]]
name = "a"
id = 1
addresses = ["10.0.0.1"]
[[node]]
name = "b"
id = 2
addresses = ["10.0.0.2"]
[[node]]
name = "c"
id = 3
addresses = ["10.0.0.3"]
[[vip]]
name = "site"
address = "10.0.0.100/24"
prefer = ["c", "b"]
"#;

    #[test]
    fn a_good_configuration_is_summed_up() {
        let files = Files::new("good", NODES);
        let found = examine(&files.config(), Some("b"));
        assert_eq!((&found.errors, &found.warnings), (&vec![], &vec![]));
        for part in [
            "heartbeat.toml: ok\n",
            "cluster  web (id 0x",
            "3 nodes, instance default",
            "node     b (id 2)",
            "voters   3, of which 1 may fail; witnesses: none\n",
            "interval 10ms, timeout 30ms, agent stall 500ms\n",
            "leases   lease 60ms, max lease 1s, drift 1000 ppm, auto failback on\n",
            "link 0   10.0.0.2 on lo, port 694, xdp auto",
            "vip      site: 10.0.0.100/24 on lo, rank c, b, a, group ",
        ] {
            assert!(found.summary.contains(part), "{part} in {}", found.summary);
        }
    }

    #[test]
    fn witnesses_are_named_and_need_no_interface_for_vips() {
        let nodes = NODES
            .replace("id = 1\n", "id = 1\nrole = \"witness\"\n")
            .replace(
                "10.0.0.100/24\"",
                "10.0.0.100/24\"\ninterface = \"hb-none0\"",
            );
        let files = Files::new("witness", &nodes);
        let found = examine(&files.config(), Some("a"));
        assert_eq!((&found.errors, &found.warnings), (&vec![], &vec![]));
        for part in [
            "node     a (id 1), witness\n",
            "voters   3, of which 1 may fail; witnesses: a\n",
            "rank c, b, group ",
        ] {
            assert!(found.summary.contains(part), "{part} in {}", found.summary);
        }
        assert_eq!(examine(&files.config(), Some("b")).warnings.len(), 1);
    }

    #[test]
    fn of_many_nodes_the_first_are_named() {
        let many = |count: usize| -> String {
            let witness = |n| {
                format!(
                    "[[node]]\nname = \"w{n}\"\nid = {n}\nrole = \"witness\"\n\
                     addresses = [\"10.0.1.{n}\"]\n"
                )
            };
            (10..10 + count).map(witness).collect()
        };
        let summary = |count| {
            let files = Files::new("many", &format!("{}{NODES}", many(count)));
            examine(&files.config(), Some("a")).summary
        };
        let said = summary(4);
        assert!(
            said.contains("voters   7, of which 3 may fail; witnesses: w10, w11, w12, w13\n"),
            "{said}"
        );
        let said = summary(7);
        assert!(said.contains("w13, w14, 2 more\n"), "{said}");
    }

    #[test]
    fn an_open_key_file_is_an_error_and_a_missing_interface_a_warning() {
        let nodes = NODES.replace("id = 2", "id = 2\ninterfaces = [\"hb-none0\"]")
            + "[[hook]]\non = \"takeover\"\nexec = [\"/nonexistent/notify\"]\n";
        let files = Files::new("warn", &nodes);
        fs::set_permissions(files.key(), fs::Permissions::from_mode(0o644)).unwrap();
        let found = examine(&files.config(), Some("b"));
        assert_eq!(found.errors.len(), 1);
        assert!(found.errors[0].contains("mode 0644"), "{found:?}");
        assert_eq!(found.warnings.len(), 2);
        assert!(found.warnings[0].contains("link 0: this host has no interface \"hb-none0\""));
        assert!(found.warnings[1].contains("hook number 1: /nonexistent/notify cannot be run"));
    }

    #[test]
    fn each_problem_is_an_error_of_its_own() {
        let files = Files::new(
            "bad",
            &NODES
                .replace("id = 3", "id = 2")
                .replace("\"c\", \"b\"", "\"x\""),
        );
        let found = examine(&files.config(), Some("a"));
        assert_eq!((found.errors.len(), found.summary.as_str()), (2, ""));
        let absent = examine(Path::new("/nonexistent.toml"), None);
        assert!(
            absent.errors[0].contains("/nonexistent.toml: No such file"),
            "{absent:?}"
        );
    }
}
