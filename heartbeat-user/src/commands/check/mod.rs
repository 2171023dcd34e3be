//! `heartbeat check`: reports whether a configuration is usable, and every fault of it.
//!
//! The command reads the file and the key file, and checks whether this host has all that the file
//! names. The command changes nothing.

mod addresses;
mod agents;
mod host;
mod summary;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{
    config::{Config, key::Keys},
    control::server,
    servable,
};

/// The findings of an examination.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: Vec<String>,
    summary: String,
}

/// Examines the configuration at `path`, for `node` if given. Prints faults to stderr and a summary
/// to stdout, and fails if there is an error.
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

/// Turns a closed pipe into success.
fn unread(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(error)
    }
}

/// Whether this host is the local node: by the file, or because the given name is the host's.
fn is_here(config: &Config, node: Option<&str>) -> bool {
    let Some(node) = node else { return true };
    let Ok(host) = nix::unistd::gethostname() else {
        return false;
    };
    let host = host.to_string_lossy();
    host == node || host.split('.').next() == Some(&config.local().name)
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
    findings(&config, is_here(&config, node))
}

/// Returns the findings about a configuration that could be read. `here` means that its local node
/// is this host.
pub(crate) fn findings(config: &Config, here: bool) -> Findings {
    let mut warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(host::warnings(config, here));
    warnings.extend(servable::oddities(config));
    warnings.extend(agents::warnings(config));
    let keys = Keys::load(&config.key).err();
    let keys = keys.map(|error| error.to_string()).into_iter();
    let readers = server::readers(config).err();
    // The group of another host says nothing about this one.
    let readers = readers.filter(|_| here).map(|error| format!("{error:#}"));
    let errors = servable::refused(config).into_iter().chain(keys);
    let errors = errors.chain(readers).collect();
    Findings {
        errors,
        warnings,
        summary: summary::summary(config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::file_text;
    use heartbeat_common::siphash::SipKey;
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    /// A directory with a configuration and a key in it.
    struct Files(PathBuf);

    impl Files {
        fn new(test: &str, nodes: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("heartbeat-check-{test}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let files = Self(directory);
            fs::write(files.key(), file_text(&[(1, SipKey::from_bytes([9; 16]))])).unwrap();
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

    /// Returns `nodes` with the address on an interface that could be an Ethernet interface.
    fn on_a_wire(nodes: &str) -> String {
        let address = "address = \"10.0.0.100/24\"";
        nodes.replace(address, &format!("{address}\ninterface = \"hb-none0\""))
    }

    fn only_lacks_the_wire(found: &Findings) {
        assert_eq!(found.errors, Vec::<String>::new());
        assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
        assert!(found.warnings[0].contains("this host has no interface \"hb-none0\" now"));
    }

    #[test]
    fn vip_on_loopback_is_an_error() {
        let files = Files::new("loopback", NODES);
        let found = examine(&files.config(), Some("b"));
        let [error] = found.errors.as_slice() else {
            panic!("{:?}", found.errors);
        };
        assert!(
            error.contains("vip \"site\": \"lo\" is no Ethernet interface"),
            "{error}"
        );
    }

    #[test]
    fn good_configuration_is_summarized() {
        let files = Files::new("good", &on_a_wire(NODES));
        let found = examine(&files.config(), Some("b"));
        only_lacks_the_wire(&found);
        for part in [
            "heartbeat.toml: ok\n",
            "cluster  web (id 0x",
            "3 nodes, instance default",
            "node     b (id 2)",
            "voters   3, of which 1 may fail; witnesses: none\n",
            "interval 10ms, timeout 30ms, agent stall 2s\n",
            "leases   lease 60ms, max lease 1s, drift 1000 ppm, auto failback on\n",
            "link 0   10.0.0.2 on lo, port 694, xdp auto",
            "group    site: rank c, b, a, stickiness 0, id ",
            "\n           site: vip 10.0.0.100/24 on hb-none0\n",
        ] {
            assert!(found.summary.contains(part), "{part} in {}", found.summary);
        }
        let key = format!("\n  setting  [cluster] key {}\n", files.key().display());
        assert!(found.summary.ends_with(&key), "{}", found.summary);
    }

    #[test]
    fn settings_without_a_place_in_the_summary_end_their_line_if_set() {
        let more = r#"
[[group]]
name = "db"
[[group.resource]]
name = "store"
type = "ocf:heartbeat:apache"
check_level = 10
stop_timeout = "50s"
[[hook]]
on = "takeover"
exec = ["/bin/true"]
timeout = "5s"
"#;
        let files = Files::new("tail", &format!("{NODES}{more}"));
        let said = examine(&files.config(), Some("b")).summary;
        for part in [
            "           store: ocf:heartbeat:apache, stop timeout 50s, check level 10\n",
            "  hook     takeover: /bin/true, timeout 5s\n",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn groups_and_constraints_are_summarized_without_secrets() {
        let groups = r#"
[[group]]
name = "web"
maintenance = true
stickiness = "inf"
[[group.resource]]
name = "apache"
type = "ocf:heartbeat:apache"
params = { user = "www", password = "hunter2" }
[[group.resource]]
name = "worker"
type = "exec"
run = ["/bin/true", "hunter2"]
[[group]]
name = "db"
[[group.resource]]
name = "store"
type = "systemd:haproxy"
[[group.resource]]
name = "cache"
type = "exec"
start = ["/bin/true"]
stop = ["/bin/true"]
check = ["/bin/true"]
[[location]]
group = "web"
node = "b"
score = -5
[[colocation]]
group = "db"
with = "web"
[[order]]
first = "web"
then = "db"
"#;
        let files = Files::new("groups", &format!("{NODES}{groups}"));
        let said = examine(&files.config(), Some("b")).summary;
        for part in [
            "\n  group    web: rank a, b, c, stickiness INFINITY, id ",
            ", in maintenance\n           apache: ocf:heartbeat:apache, params password, user\n",
            "\n           worker: exec, runs /bin/true\n",
            "\n  group    db: rank a, b, c, stickiness 999999, id ",
            "\n           store: systemd:haproxy.service\n",
            "\n           cache: exec, started by /bin/true\n",
            "\n  location web on b: -5\n",
            "\n  colocate db with web: INFINITY\n",
            "\n  order    web, then db: mandatory\n",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn health_load_and_placement_are_summarized_without_secrets() {
        let more = r#"
demand = { cpu = 2 }
[[health]]
name = "api"
type = "http"
url = "http://localhost:8080/healthz?token=hunter2"
[[health]]
name = "licence"
type = "exec"
failure = "degraded"
exec = ["/bin/true", "hunter2"]
fall = 3
[load]
source = "command"
command = ["/bin/true", "hunter2"]
[placement]
strategy = "utilization"
[rebalance]
cooldown = "10min"
"#;
        let nodes = NODES.replace("id = 2\n", "id = 2\ncapacity = { cpu = 4, memory = 16 }\n");
        let nodes = on_a_wire(nodes.trim_end());
        let files = Files::new("vitals", &format!("{nodes}{more}"));
        let found = examine(&files.config(), Some("b"));
        only_lacks_the_wire(&found);
        for part in [
            ", needs cpu 2\n",
            "\n  health   api: http http://localhost:8080/healthz, every 1s for up to 1s, fails \
             after 2, well after 2, fatal\n",
            "\n  health   licence: exec /bin/true, every 1s for up to 1s, fails after 3, well \
             after 2, degraded\n",
            "\n  load     command /bin/true, every 1s, half-life 5s\n",
            "\n  placement utilization, a degraded check costs 100 points, this node has cpu 4, \
             memory 16\n",
            "\n  rebalance from 800 per mille for 30s to nodes with up to 500, at most every \
             10min, 1 of 1 groups\n",
        ] {
            assert!(found.summary.contains(part), "{part} in {}", found.summary);
        }
        assert!(!found.summary.contains("hunter2"), "{}", found.summary);
    }

    #[test]
    fn missing_health_and_load_sources_are_warnings() {
        let more = r#"
[[health]]
name = "a"
type = "exec"
exec = ["/none/a"]
[[health]]
name = "b"
type = "disk"
path = "/none/b"
[[health]]
name = "c"
type = "interface"
interface = "hb-none0"
[load]
source = "cgroup"
cgroup = "/none/d"
"#;
        let files = Files::new("lacking", &format!("{NODES}{more}"));
        let warnings = examine(&files.config(), Some("b")).warnings.join("\n");
        for part in [
            "health check \"a\": /none/a cannot be run: No such file",
            "health check \"b\": this host has no directory /none/b now",
            "health check \"c\": this host has no interface \"hb-none0\" now",
            "[load]: this host has no /none/d/cpu.pressure now",
        ] {
            assert!(warnings.contains(part), "{part} in {warnings}");
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
            "rank c, b, stickiness 0, id ",
        ] {
            assert!(found.summary.contains(part), "{part} in {}", found.summary);
        }
        assert_eq!(examine(&files.config(), Some("b")).warnings.len(), 1);
    }

    #[test]
    fn long_node_list_is_cut() {
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
    fn readable_key_file_is_an_error_and_missing_interface_a_warning() {
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
    fn group_that_this_host_lacks_is_an_error_here_and_not_on_another_host() {
        let nodes = on_a_wire(NODES) + "[control]\ngroup = \"hb-none\"\n";
        let files = Files::new("control", &nodes);
        let config = Config::load(&files.config(), Some("b")).unwrap();
        let [error] = &findings(&config, true).errors[..] else {
            panic!("not one error");
        };
        assert!(
            error.contains("[control]: this host has no group \"hb-none\""),
            "{error}"
        );
        assert!(findings(&config, false).errors.is_empty());
        let nodes = nodes.replace("hb-none\"\n", "root\"\n");
        let files = Files::new("control-root", &nodes);
        let config = Config::load(&files.config(), Some("b")).unwrap();
        assert!(findings(&config, true).errors.is_empty());
        let summary = findings(&config, true).summary;
        assert!(summary.contains("[control] group root\n"), "{summary}");
    }

    #[test]
    fn each_fault_is_a_separate_error() {
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
