//! The user, group, directory and limits of a resource's programs, and the errors about them.

use std::path::Path;

use heartbeat_common::siphash::SipKey;
use heartbeat_core::index::{GroupIndex, ResourceIndex};

use super::{
    super::{Change, Config, Execution, Limit, LimitKind, Resource, ResourceChange, StopSignal},
    GROUPS,
    bad::{Case, assert_said},
    parse, with_groups,
};

const WORKER: &str = "name = \"worker\"\n";

fn worker(more: &str) -> Resource {
    let config = parse(&with_groups(WORKER, &format!("{WORKER}{more}"))).unwrap();
    let mut resources = config.groups.into_iter().flat_map(|group| group.resources);
    resources
        .find(|resource| resource.name == "worker")
        .unwrap()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn execution_without_settings_is_the_default() {
    assert!(GROUPS.contains(WORKER));
    assert!(worker("").execution.is_default());
    assert_eq!(Execution::default().stop_signal.as_str(), "SIGTERM");
}

#[test]
fn execution_with_all_settings_has_them_sorted() {
    let all = "user = \"postgres\"\ngroup = \"ssl-cert\"\ndirectory = \"/srv/pg\"\n\
               environment = { PGPORT = 5433, LANG = \"C\", _x = true }\n\
               stop_signal = \"int\"\n\
               limits = { nofile = 0x10000, core = \"unlimited\", memlock = 0 }\n";
    let limit = |kind, value| Limit { kind, value };
    let wanted = Execution {
        user: Some("postgres".to_owned()),
        group: Some("ssl-cert".to_owned()),
        environment: vec![
            pair("LANG", "C"),
            pair("PGPORT", "5433"),
            pair("_x", "true"),
        ],
        directory: Some(Path::new("/srv/pg").to_owned()),
        stop_signal: StopSignal::Int,
        limits: vec![
            limit(LimitKind::Core, None),
            limit(LimitKind::Memlock, Some(0)),
            limit(LimitKind::Nofile, Some(65536)),
        ],
    };
    assert_eq!(worker(all).execution, wanted);
}

#[test]
fn stop_signal_is_known_with_and_without_its_prefix() {
    for signal in StopSignal::ALL {
        let bare = signal.as_str().strip_prefix("SIG").unwrap();
        for name in [signal.as_str(), bare, &bare.to_lowercase()] {
            let read = worker(&format!("stop_signal = \"{name}\"\n")).execution;
            assert_eq!(read.stop_signal, signal, "{name}");
        }
    }
}

#[test]
fn agent_gets_an_environment_beside_its_parameters() {
    let text = with_groups(
        "name = \"apache\"\n",
        "name = \"apache\"\nenvironment = { LANG = \"C\" }\n",
    );
    let apache = &parse(&text).unwrap().groups[GroupIndex(1)].resources[ResourceIndex(1)];
    assert_eq!(apache.execution.environment, [pair("LANG", "C")]);
}

#[test]
fn bad_execution_is_named_with_its_remedy() {
    const APACHE: &str = "name = \"apache\"\n";
    const IP: &str = "name = \"webip\"\n";
    let cases: &[Case] = &[
        (
            WORKER,
            "user = \"\"",
            &["user \"\" is not the name of a user or a group", "getent"],
        ),
        (
            WORKER,
            "group = \"70\"",
            &[
                "group \"70\" is not the name of a user or a group",
                "numbers are not taken",
            ],
        ),
        (
            WORKER,
            "directory = \"srv\"",
            &[
                "directory \"srv\" is not an absolute path",
                "begin it with `/`",
            ],
        ),
        (
            WORKER,
            "stop_signal = \"SIGTREM\"",
            &[
                "stop_signal \"SIGTREM\" is no signal that asks a program to end",
                "did you mean \"SIGTERM\"?",
            ],
        ),
        (
            WORKER,
            "environment = { \"1A\" = \"x\" }",
            &[
                "variable \"1A\" is not a usable name",
                "no digit at the start",
            ],
        ),
        (
            WORKER,
            "environment = { A = 1.5 }",
            &[
                "variable \"A\" is a float, not a string, an integer or a boolean",
                "write it in quotes",
            ],
        ),
        (
            APACHE,
            "environment = { OCF_ROOT = \"/x\" }",
            &[
                "variable \"OCF_ROOT\" is one that heartbeat sets for the agent",
                "`params`",
            ],
        ),
        (
            WORKER,
            "limits = { nofiles = 1 }",
            &["there is no limit \"nofiles\"", "did you mean `nofile`?"],
        ),
        (
            WORKER,
            "limits = { core = \"1G\" }",
            &[
                "limit core is neither a whole number from 0 nor \"unlimited\"",
                "without a unit",
            ],
        ),
        (
            WORKER,
            "limits = { core = -1 }",
            &["limit core is neither a whole number", "setrlimit(2)"],
        ),
        (
            APACHE,
            "user = \"www-data\"",
            &[
                "user belongs to exec resources, not to one of type ocf",
                "remove it, or correct type",
            ],
        ),
        (
            IP,
            "environment = { A = \"b\" }",
            &[
                "environment belongs to ocf and exec resources, not to one of type vip",
                "remove it, or correct type",
            ],
        ),
    ];
    assert_said(cases, |from, to| {
        with_groups(from, &format!("{from}{to}\n"))
    });
}

#[test]
fn stop_signal_beside_a_stop_program_is_refused() {
    let run = "run = [\"/bin/sleep\", \"inf\"]\n";
    let three = "start = [\"/a\"]\nstop = [\"/b\"]\ncheck = [\"/c\"]\nstop_signal = \"INT\"\n";
    let said = super::complaint(&with_groups(run, three));
    assert!(
        said.contains("stop_signal is for a program of `run`"),
        "{said}"
    );
}

#[test]
fn sigkill_as_stop_signal_is_a_warning() {
    let text = with_groups(WORKER, &format!("{WORKER}stop_signal = \"SIGKILL\"\n"));
    let warnings = parse(&text).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("no time to end in order"));
}

#[test]
fn each_setting_of_execution_changes_digest_and_replaces_the_resource() {
    let key = SipKey { k0: 1, k1: 2 };
    let config = |more: &str| parse(&with_groups(WORKER, &format!("{WORKER}{more}"))).unwrap();
    let old = config("");
    let mut digests = vec![old.digest(key)];
    for setting in [
        "user = \"daemon\"",
        "group = \"daemon\"",
        "environment = { A = \"b\" }",
        "directory = \"/tmp\"",
        "stop_signal = \"INT\"",
        "limits = { nofile = 1 }",
    ] {
        let new = config(&format!("{setting}\n"));
        digests.push(new.digest(key));
        let [Change::GroupChanged(change)] = &old.difference(&new)[..] else {
            panic!("{setting}");
        };
        let replaced = ResourceChange::Replaced("worker".to_owned());
        assert_eq!(change.resources, [replaced], "{setting}");
        let worker =
            |config: &Config| config.groups[GroupIndex(1)].resources[ResourceIndex(2)].clone();
        let (was, is) = (worker(&old), worker(&new));
        assert!(!was.is_same(&is), "{setting}");
    }
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
